"""What the programs in `scripts/` share: clear errors, and finding the recipe that was asked for."""

import dataclasses
import importlib.machinery
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import jax
from absl import app, flags

from jaxgen import FieldError
from sweeps.recipes import RECIPES, Recipe
from sweeps.store import StoreError


def main(program: Callable[[], None]) -> None:
    """Runs a program with absl flags. Input that is not allowed ends it with one line on stderr and exit code 2."""

    def parse(arguments: list[str]) -> list[str]:
        try:
            return app.parse_flags_with_usage(arguments) if "--help" in arguments else flags.FLAGS(arguments)
        except flags.Error as error:
            refuse(error)

    def run(arguments: list[str]) -> None:
        if len(arguments) > 1:
            refuse(f"unexpected argument {arguments[1]!r}: flags look like --name=value")
        try:
            program()
        except (FieldError, StoreError, OSError) as error:
            refuse(error)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            refuse(f"not enough memory on the device for one block: {str(error).splitlines()[0]}")
        except KeyboardInterrupt:
            print("interrupted: the same command continues", file=sys.stderr)
            sys.exit(130)

    logging.getLogger("jax").setLevel(logging.WARNING)  # absl shows INFO, and jax says there which backends are missing
    app.run(run, flags_parser=parse)


def refuse(error: Any) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(" ".join(f"error: {error}".split()), file=sys.stderr)
    sys.exit(2)


def find_recipe(name: str | None, file: str | None) -> Recipe:
    """The recipe called `name`, or the one that the Python file defines as `recipe`.

    Raises:
      FieldError: neither or both are given, or there is none.
    """
    if (name is None) == (file is None):
        raise FieldError("recipe", name, f"give --recipe=NAME ({', '.join(RECIPES)}) or --sweep=FILE")
    if file is None:
        if name not in RECIPES:
            raise FieldError("recipe", name, f"must be one of {', '.join(RECIPES)}")
        return RECIPES[name]
    recipe = getattr(load_file(file), "recipe", None)
    if not isinstance(recipe, Recipe):
        raise FieldError("sweep", file, "must define recipe = sweeps.Recipe(base=…, sweep=…)")
    return recipe if recipe.name else dataclasses.replace(recipe, name=Path(file).stem)


def load_file(file: str) -> ModuleType:
    """Runs a Python file that defines components or a recipe, and returns it as a module.

    Raises:
      FieldError: there is no such file, or it is no Python file.
    """
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise FieldError("sweep", file, "must be a Python file")
    name = f"sweep_file_{path.stem}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    loader.exec_module(module)
    return module
