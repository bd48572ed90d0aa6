"""Which arguments a user's function asks for."""

import functools
import inspect
from collections.abc import Callable


def takes(function: Callable, name: str) -> bool:
    """Whether a function has an argument of that name."""
    return name in _names(getattr(function, "__func__", function))


@functools.cache
def _names(function: Callable) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
