"""Values of axes: what is allowed, and how they are written as plain data and read again."""

import contextlib
import math
from collections.abc import Mapping

import numpy as np
from flax.core import FrozenDict

from jaxgen import FieldError, components
from jaxgen.components.build import is_run
from jaxgen.components.names import MODULES, RUN
from jaxgen.kinds import Plain

VALUES = "values are single numbers, texts or components"


def checked(path: str, value: object) -> object:
    """A value as an axis holds it.

    Raises:
      FieldError: it is no finite number, text, truth value, None, tuple of these or component.
    """
    if getattr(value, "ndim", 0):
        raise FieldError(path, value, VALUES)
    value = tuple(value) if isinstance(value, list) else value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        raise FieldError(path, value, "must be finite")
    try:
        hash(value)
    except Exception:
        raise FieldError(path, value, VALUES) from None
    return value


def written(path: str, value: object) -> Plain:
    """A value as plain data: components as `jaxgen.components.to_dict` has them, tuples as lists.

    Raises:
      FieldError: it has no such form.
    """
    if components.is_component(value) or is_run(value):
        value = components.to_dict(value)
    if isinstance(value, Mapping):
        return {name: written(path, part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [written(path, part) for part in value]
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (bool, int, float, str, type(None))):
        raise FieldError(path, value, VALUES)
    return value


def read(path: str, data: object) -> object:
    """The value that `written` wrote.

    Raises:
      FieldError: a component is unknown, or has fields that are not allowed.
    """
    if isinstance(data, list):
        return tuple(read(path, part) for part in data)
    if not isinstance(data, Mapping):
        return data
    if "type" in data or isinstance(data.get("schema"), int):
        return _component(path, data)
    return FrozenDict({name: read(path, part) for name, part in data.items()})


def _component(path: str, data: Mapping[str, object]) -> object:
    """The component of plain data; of which kind it is, the names in its path tell, the last first."""
    if "type" not in data:
        return components.from_dict(data, path, RUN)
    named = [name.removesuffix("s") if name not in MODULES else name for name in reversed(path.split("."))]
    first, *others = dict.fromkeys(kind for kind in (*named, *MODULES) if kind in MODULES)
    try:
        return components.from_dict(data, path, first)
    except FieldError:
        for kind in others:
            with contextlib.suppress(FieldError):
                return components.from_dict(data, path, kind)
        raise
