"""The examples as modules, for the tests of what they show."""

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parents[2] / "examples"


@functools.cache
def example(name: str) -> ModuleType:
    """The module of `examples/<name>.py`."""
    spec: Any = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
