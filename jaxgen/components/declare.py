"""How the fields of a component are declared: leaves, structure, and parts that are components themselves."""

import dataclasses
import functools
import types
import typing
from typing import Any

import flax.linen as nn
import flax.struct


def leaf(default: object, allowed: str = "(-inf, inf)", doc: str = "", added: bool = False) -> Any:
    """A number that can be swept without a new compilation.

    Args:
      default: the value when none is given.
      allowed: an interval such as "(0, 1]"; anything outside it is refused before anything compiles.
      doc: one line on what it means.
      added: the field is younger than results that people keep: at its default it is left out of the run's identity.
    """
    metadata = {"pytree_node": True, "allowed": allowed, "doc": doc, "added": added}
    return flax.struct.field(default=default, metadata=metadata)


def static(default: object, allowed: str | tuple = "", doc: str = "", added: bool = False) -> Any:
    """A part of the structure: each value is a compiled program of its own.

    Args:
      default: the value when none is given.
      allowed: an interval for a number, or a tuple of the choices.
      doc: one line on what it means.
      added: as in `leaf`.
    """
    metadata = {"allowed": allowed, "doc": doc, "added": added}
    return flax.struct.field(pytree_node=False, default=default, metadata=metadata)


def part(kind: str, default: object = dataclasses.MISSING, doc: str = "", added: bool = False) -> Any:
    """A component within a component, a tuple of them, or a table of them by name; None where that is the default.

    Its own fields have longer paths, "task.task.p", "optimizer.groups.readout.learning_rate", and are leaves or
    structure as they are anywhere. A text stands for the component of that name with its defaults.

    Args:
      kind: what it must be: a key of `KINDS` or `NESTED` ("task", "optimizer", …).
      default: the value when none is given; without one it must be given.
      doc: one line on what it means.
      added: as in `leaf`.
    """
    metadata = {"pytree_node": True, "kind": kind, "doc": doc, "added": added}
    return flax.struct.field(default=default, metadata=metadata)


def fields(cls: type) -> tuple[dataclasses.Field, ...]:
    """The fields that make up a component (flax's own `parent` and `name` are not among them)."""
    return _fields(cls)


@functools.cache
def _fields(cls: type) -> tuple[dataclasses.Field, ...]:
    hidden = ("parent", "name") if issubclass(cls, nn.Module) else ()
    return tuple(f for f in dataclasses.fields(cls) if f.init and f.name not in hidden)


def part_kind(field: dataclasses.Field) -> str | None:
    """Of which kind the components in a field are; None for a field that holds a value."""
    return field.metadata.get("kind")


def is_leaf(cls: type, field: dataclasses.Field) -> bool:
    """Whether a field is a number per lane. Fields of flax modules are structure unless marked `pytree_node=True`."""
    return part_kind(field) is None and field.metadata.get("pytree_node", not issubclass(cls, nn.Module))


def may_be_none(cls: type, field: dataclasses.Field) -> bool:
    """Whether a field's declared type admits None."""
    return type(None) in options(hint(cls, field.name))


def hint(cls: type, name: str) -> object:
    """The declared type of a field."""
    return hints(cls).get(name, object)


@functools.cache
def hints(cls: type) -> dict[str, object]:
    """The declared types of the fields."""
    try:
        return typing.get_type_hints(cls)
    except Exception:  # a name that only a type checker can resolve
        return {f.name: type(f.default) for f in fields(cls) if f.default not in (dataclasses.MISSING, None)}


def options(hint: object) -> tuple:
    """The types that a declared type admits."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if union else (hint,)
