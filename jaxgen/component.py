"""What every part of an experiment has in common: declared fields, checks, a name, and a plain-data form.

A component is a frozen dataclass (`flax.struct.dataclass`) or a flax linen module. Each field is either a *leaf*, a
number that may differ from lane to lane of one compiled program, or *structure*, which decides the program.
"""

import contextlib
import dataclasses
import difflib
import functools
import importlib
import math
import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import numpy as np

from jaxgen import identity
from jaxgen.errors import FieldError

KINDS = {
    "task": "jaxgen.tasks",
    "model": "jaxgen.models",
    "loss": "jaxgen.losses",
    "optimizer": "jaxgen.optimizers",
    "training": "jaxgen.training",
}

FLOAT32_MAX = 3.4028234663852886e38
DEEPEST = 20  # lists in lists in a field
SHOWN = 200  # letters of a value in a message
REQUIRED = {
    "task": ("rows", "examples", "correct", "outputs", "vocabulary"),
    "model": ("init", "apply"),
    "loss": ("__call__",),
    "optimizer": ("transform",),
    "training": ("steps", "evaluate_every", "stop_splits", "probes"),
}


def leaf(default: Any, allowed: str = "(-inf, inf)", doc: str = "", added: bool = False) -> Any:
    """A number that can be swept without a new compilation.

    Args:
      default: the value when none is given.
      allowed: an interval such as "(0, 1]"; anything outside it is refused before anything compiles.
      doc: one line on what it means.
      added: the field is younger than results that people keep: at its default it is left out of the run's identity.
    """
    metadata = {"pytree_node": True, "allowed": allowed, "doc": doc, "added": added}
    return flax.struct.field(default=default, metadata=metadata)


def static(default: Any, allowed: str | tuple = "", doc: str = "", added: bool = False) -> Any:
    """A part of the structure: each value is a compiled program of its own.

    Args:
      default: the value when none is given.
      allowed: an interval for a number, or a tuple of the choices.
      doc: one line on what it means.
      added: as in `leaf`.
    """
    metadata = {"allowed": allowed, "doc": doc, "added": added}
    return flax.struct.field(pytree_node=False, default=default, metadata=metadata)


def fields(cls: Any) -> tuple[dataclasses.Field, ...]:
    """The fields that make up a component (flax's own `parent` and `name` are not among them)."""
    return _fields(cls)


@functools.cache
def _fields(cls: Any) -> tuple[dataclasses.Field, ...]:
    hidden = ("parent", "name") if issubclass(cls, nn.Module) else ()
    return tuple(f for f in dataclasses.fields(cls) if f.init and f.name not in hidden)


def is_leaf(cls: type, field: dataclasses.Field) -> bool:
    """Whether a field is a number per lane. Fields of flax modules are structure unless marked `pytree_node=True`."""
    return field.metadata.get("pytree_node", not issubclass(cls, nn.Module))


def may_be_none(cls: type, field: dataclasses.Field) -> bool:
    """Whether a field's declared type admits None."""
    return type(None) in _options(_hints(cls).get(field.name, Any))


def checked(component: Any, where: str) -> Any:
    """`component` with every field in its canonical type (1 becomes 1.0 in a float field).

    Raises:
      FieldError: a value has the wrong type, is not finite, or is outside what its field allows.
    """
    cls: Any = type(component)
    if isinstance(component, type) or not dataclasses.is_dataclass(component):
        raise FieldError(
            where, component, "must be a component: an instance of a flax.struct.dataclass or a flax module"
        )
    if isinstance(component, nn.Module) != (where == "model"):
        wanted = "a flax linen module" if where == "model" else "a flax.struct.dataclass, not a network"
        raise FieldError(where, cls.__qualname__, f"must be {wanted}")
    missing = [name for name in REQUIRED.get(where, ()) if not hasattr(component, name)]
    if missing:
        raise FieldError(where, cls.__qualname__, f"is no {where}: it has no {', '.join(missing)}")
    hints, values = _hints(cls), {}
    for field in fields(cls):
        value, name = getattr(component, field.name, None), f"{where}.{field.name}"
        value = coerced(value, hints.get(field.name, Any), name, is_leaf(cls, field))
        check_allowed(value, field.metadata.get("allowed", ""), name)
        values[field.name] = value
    component = rebuild(component, values)
    _SEEN[type_name(cls)] = cls
    if hasattr(component, "check"):
        try:
            component.check()
        except FieldError as error:
            raise error.within(where) from None
    return component


def rebuild(component: Any, values: Mapping[str, Any]) -> Any:
    """A copy of `component` with some fields replaced."""
    if isinstance(component, nn.Module):
        return component.clone(**values)
    return dataclasses.replace(component, **values)


def to_dict(component: Any, canonical: bool = False) -> dict[str, Any]:
    """The component as plain data: type and fields; `canonical` leaves out `added` ones at their default."""
    cls: Any = type(component)
    data: dict[str, Any] = {"type": type_name(cls)}
    for field in fields(cls):
        value = getattr(component, field.name)
        if not (canonical and field.metadata.get("added") and value == field.default):
            data[field.name] = plain(value)
    return data


def from_dict(data: Any, kind: str) -> Any:
    """The component that `to_dict` described; fields left out take their defaults.

    Raises:
      FieldError: the type or a field is unknown, or `data` is not a table with a `type`.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
        raise FieldError(kind, data, 'must be a table with a "type"')
    cls = _find_class(data["type"], kind)
    known = {f.name: f for f in fields(cls)}
    for name in data:
        if name not in known.keys() | {"type"}:
            raise unknown(f"{kind}.{name}", [f"{kind}.{k}" for k in sorted(known)])
    hints = _hints(cls)
    arguments = {
        k: coerced(v, hints.get(k, Any), f"{kind}.{k}", is_leaf(cls, known[k])) for k, v in data.items() if k != "type"
    }
    for name, field in known.items():
        if name not in arguments and field.default is field.default_factory is dataclasses.MISSING:
            raise FieldError(f"{kind}.{name}", None, "is missing")
    return cls(**arguments)


def unknown(name: str, known: list[str]) -> FieldError:
    """The error for a field that does not exist, with the nearest one that does."""
    name = name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
    near = difflib.get_close_matches(name, known, 1, 0.5)
    some = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    hint = f"did you mean {near[0]}?" if near else f"known: {some}"
    error = FieldError(name, None, hint)
    error.args = (f"unknown field {name}: {hint}",)
    return error


def type_name(cls: Any) -> str:
    """The name a class has in files and hashes.

    Ours are called by their name. Anyone else's carry a fingerprint of what they are made of (`jaxgen.identity`), so
    that runs of an edited component are new runs.
    """
    if cls not in _NAMES:
        own = identity.is_ours(cls)
        _NAMES[cls] = cls.__qualname__ if own else f"{cls.__qualname__}#{identity.fingerprint(cls)}"
    return _NAMES[cls]


def look_again(classes: Iterable[type]) -> list[type]:
    """Names users' classes anew, and gives those whose name is another: what they use has changed, as in a notebook.

    Where it has, JAX forgets what it has traced, which would go on with the old values under `jax.jit`.
    """
    changed = []
    for cls in classes:
        before = _NAMES.pop(cls, None)
        if before not in (None, type_name(cls)):
            changed.append(cls)
    if changed:
        jax.clear_caches()
    return changed


_NAMES: dict[type, str] = {}
_SEEN: dict[str, type] = {}


def _find_class(name: str, kind: str) -> type:
    if "#" in name and name not in _SEEN:
        _SEEN.update(_imported(name.partition("#")[0]))
    if name in _SEEN:
        look_again([_SEEN[name]])
        if type_name(_SEEN[name]) == name:
            return _SEEN[name]
    module = importlib.import_module(KINDS[kind])
    ours = [n for n in module.__all__ if dataclasses.is_dataclass(getattr(module, n))]
    if name in ours:
        return getattr(module, name)
    if "#" in name:
        same = [type_name(seen) for seen in reversed(_SEEN.values()) if seen.__qualname__ == name.split("#")[0]]
        how = "import the file that defines it first (scripts: --sweep=FILE)"
        why = f"what it is made of has changed (now {same[0]})" if same else how
        raise FieldError(f"{kind}.type", name, why)
    raise unknown(f"{kind}.type.{name}", [f"{kind}.type.{n}" for n in ours])


def _imported(name: str) -> dict[str, type]:
    """The users' components of that name in the modules that are imported."""
    found = {}
    for cls in [vars(module).get(name) for module in list(sys.modules.values())]:
        if dataclasses.is_dataclass(cls) and isinstance(cls, type):
            with contextlib.suppress(FieldError):  # one of that name that cannot be followed is not the one
                found[type_name(cls)] = cls
    return found


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # a name that only a type checker can resolve
        return {f.name: type(f.default) for f in fields(cls) if f.default not in (dataclasses.MISSING, None)}


def coerced(value: Any, hint: Any, name: str, leaf: bool) -> Any:
    """`value` in the type that its field declares; FieldError where that is not possible."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    options = _options(hint)
    if value is None and type(None) in options:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and isinstance(value, float) and not math.isfinite(value):
        raise FieldError(name, value, "must be finite")
    if number and abs(value) > (FLOAT32_MAX if leaf else sys.float_info.max):
        which = f"{FLOAT32_MAX:.2g}, the largest float32" if leaf else f"{sys.float_info.max:.2g}"
        raise FieldError(name, value, f"must be at most {which}")
    if number and int in options and float(value).is_integer():
        return int(value)
    if number and float in options:
        return float(value)
    if bool in options and isinstance(value, bool):
        return value
    if str in options and isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)) and any(o is tuple or typing.get_origin(o) is tuple for o in options):
        return _plain_tuple(value, name)
    wanted = " or ".join(getattr(o, "__name__", str(o)) for o in options)
    if any(o in (int, float, bool, str, tuple) for o in options):
        raise FieldError(name, value, f"must be {wanted}")
    if leaf and not number:
        raise FieldError(name, value, "must be a number: structure is marked with jaxgen.static or pytree_node=False")
    if isinstance(value, tuple):
        return _plain_tuple(value, name)
    if not isinstance(value, (int, float, bool, str, type(None))):
        raise FieldError(name, value, "must be a number, text, tuple or None, so that it can be stored and hashed")
    return value


def _plain_tuple(values: Any, name: str, deep: int = 0) -> tuple:
    """The values as a tuple of what can be stored and hashed."""
    if deep > DEEPEST:
        raise FieldError(name, values, f"must be nested at most {DEEPEST} deep")
    inner = (tuple, list)
    return tuple(
        _plain_tuple(v, name, deep + 1) if isinstance(v, inner) else coerced(v, Any, name, False) for v in values
    )


def _options(hint: Any) -> tuple:
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if union else (hint,)


_INTERVAL = re.compile(r"([\[(])\s*([^,]+),\s*([^\])]+)([\])])")


def check_allowed(value: Any, allowed: str | tuple, name: str) -> None:
    """FieldError if `value` is outside the interval, or is none of the choices, that its field allows."""
    if isinstance(allowed, tuple):
        if value not in allowed:
            raise FieldError(name, value, f"must be one of {', '.join(map(str, allowed))}")
    elif allowed and value is not None:
        low, high, low_in, high_in = _interval(allowed)
        number = isinstance(value, (int, float))
        if not number or not (
            (low < value or (low_in and value == low)) and (value < high or (high_in and value == high))
        ):
            raise FieldError(name, value, f"must be in {allowed}")


@functools.cache
def _interval(text: str) -> tuple[float, float, bool, bool]:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise TypeError(f"{text!r} is not an interval such as '(0, 1]'")
    return float(match[2]), float(match[3]), match[1] == "[", match[4] == "]"


def plain(value: Any) -> Any:
    """`value` as JSON has it: tuples become lists."""
    return [plain(v) for v in value] if isinstance(value, tuple) else value
