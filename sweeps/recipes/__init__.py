"""Ready studies, a file each, called like the file; imported when one is asked for."""

import importlib
import pkgutil

from jaxgen import FieldError
from sweeps.studies.study import Study


def names() -> list[str]:
    """What recipes there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Study:
    """The study of that name.

    Raises:
      FieldError: there is none, or its file is not called so.
    """
    if name not in names():
        raise FieldError("recipe", name, f"must be one of {', '.join(names())}")
    study = importlib.import_module(f"{__name__}.{name}").STUDY
    if study.name != name:
        raise FieldError("study.name", study.name, f"must be {name}, as its file is called")
    return study
