"""Ready sweeps, a file each, called like the file; imported when one is asked for."""

import importlib
import pkgutil

from jaxgen import FieldError
from sweeps.studies.recipe import Recipe


def names() -> list[str]:
    """What recipes there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
      FieldError: there is none, or its file is not called so.
    """
    if name not in names():
        raise FieldError("recipe", name, f"must be one of {', '.join(names())}")
    recipe = importlib.import_module(f"{__name__}.{name}").RECIPE
    if recipe.name != name:
        raise FieldError("recipe.name", recipe.name, f"must be {name}, as its file is called")
    return recipe
