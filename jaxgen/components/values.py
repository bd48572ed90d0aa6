"""What values fields may have: types, intervals and choices."""

import functools
import math
import re
import sys
import typing
from collections.abc import Iterable

import numpy as np

from jaxgen.components.declare import options
from jaxgen.errors import FieldError
from jaxgen.kinds import Plain

FLOAT32_MAX = 3.4028234663852886e38
DEEPEST = 20  # lists in lists in a field


def coerced(value: object, hint: object, name: str, leaf: bool, doc: str = "") -> Plain:
    """`value` in the type that its field declares; FieldError, with what the field is, where that is not possible."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    admitted = options(hint)
    if value is None and type(None) in admitted:
        return None
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if isinstance(number, float) and not math.isfinite(number):
        raise FieldError(name, value, "must be finite")
    if number is not None and abs(number) > (FLOAT32_MAX if leaf else sys.float_info.max):
        which = f"{FLOAT32_MAX:.2g}, the largest float32" if leaf else f"{sys.float_info.max:.2g}"
        raise FieldError(name, value, f"must be at most {which}")
    if number is not None and int in admitted and float(number).is_integer():
        return int(number)
    if number is not None and float in admitted:
        return float(number)
    if bool in admitted and isinstance(value, bool):
        return value
    if str in admitted and isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)) and any(o is tuple or typing.get_origin(o) is tuple for o in admitted):
        return _plain_tuple(value, name)
    wanted = " or ".join(getattr(o, "__name__", str(o)) for o in admitted)
    if any(o in (int, float, bool, str, tuple) for o in admitted):
        raise FieldError(name, value, f"must be {wanted}{doc and f': {doc}'}")
    if leaf and number is None:
        raise FieldError(name, value, "must be a number: structure is marked with jaxgen.static or pytree_node=False")
    if isinstance(value, tuple):
        return _plain_tuple(value, name)
    if not isinstance(value, (int, float, bool, str, type(None))):
        raise FieldError(name, value, "must be a number, text, tuple or None, so that it can be stored and hashed")
    return value


def _plain_tuple(values: Iterable, name: str, deep: int = 0) -> tuple:
    """The values as a tuple of what can be stored and hashed."""
    if deep > DEEPEST:
        raise FieldError(name, values, f"must be nested at most {DEEPEST} deep")
    inner = (tuple, list)
    return tuple(
        _plain_tuple(v, name, deep + 1) if isinstance(v, inner) else coerced(v, object, name, False) for v in values
    )


_INTERVAL = re.compile(r"([\[(])\s*([^,]+),\s*([^\])]+)([\])])")


def check_allowed(value: object, allowed: str | tuple, name: str) -> None:
    """FieldError if `value` is outside the interval, or is none of the choices, that its field allows."""
    if isinstance(allowed, tuple):
        if value not in allowed:
            raise FieldError(name, value, f"must be one of {', '.join(map(str, allowed))}")
    elif allowed and value is not None:
        low, high, low_in, high_in = _interval(allowed)
        if not isinstance(value, (int, float)) or not (
            (low < value or (low_in and value == low)) and (value < high or (high_in and value == high))
        ):
            raise FieldError(name, value, f"must be in {allowed}")


@functools.cache
def _interval(text: str) -> tuple[float, float, bool, bool]:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise TypeError(f"{text!r} is not an interval such as '(0, 1]'")
    return float(match[2]), float(match[3]), match[1] == "[", match[4] == "]"


def plain(value: Plain) -> Plain:
    """`value` as JSON has it: tuples become lists."""
    return [plain(v) for v in value] if isinstance(value, tuple) else value
