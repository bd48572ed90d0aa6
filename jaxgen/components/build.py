"""Components checked, changed, and written as plain data: whole, with the components within them."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import flax.core
import flax.linen as nn

from jaxgen.components import names, values
from jaxgen.components.declare import fields, hint, is_leaf, part_kind
from jaxgen.components.names import unknown
from jaxgen.errors import FieldError
from jaxgen.kinds import Component, Plain

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment

T = TypeVar("T")
C = TypeVar("C", bound=Component)

REQUIRED = {
    "task": ("rows", "examples", "correct", "outputs", "vocabulary"),
    "model": ("init", "apply"),
    "loss": ("__call__",),
    "optimizer": ("transform",),
    "training": ("steps", "evaluate_every", "stop_splits", "probes"),
    "schedule": ("factor",),
    "filter": ("transform",),
    "clamp": ("transform",),
    "positions": ("tables", "add", "bias", "rotate"),
    "probe": ("measure",),
    "start": ("weights",),
    "transform": ("apply",),
}
NAME = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)


def is_run(value: object) -> "TypeGuard[Experiment]":
    """Whether it is a whole experiment, which a component may hold too."""
    return hasattr(type(value), "run_id")


def is_component(value: object) -> TypeGuard[Component]:
    """Whether it could be a component: an instance of a dataclass (flax modules are dataclasses)."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def parts(value: object) -> dict[str, Any]:
    """The components in a field by the rest of their path: "" for one alone, ".0" in a tuple, ".name" in a table."""
    if isinstance(value, Mapping):
        return {f".{name}": part for name, part in value.items()}
    if isinstance(value, tuple):
        return {f".{index}": part for index, part in enumerate(value)}
    return {} if value is None else {"": value}


def map_parts(function: Callable[[Any, str], T], value: object) -> T | tuple[T, ...] | dict[str, T] | None:
    """`function(component, rest of its path)` of every component in a field, in the tuple or table they are in."""
    if isinstance(value, Mapping):
        return {name: function(part, f".{name}") for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(function(part, f".{index}") for index, part in enumerate(value))
    return None if value is None else function(value, "")


def checked(component: object, where: str, kind: str | None = None) -> Any:
    """`component` with every field in its canonical type (1 becomes 1.0 in a float field).

    Args:
      component: of the experiment, or within another.
      where: its path.
      kind: what it must be, a key of `KINDS` or `NESTED`; the path itself where left out.

    Raises:
      FieldError: a value has the wrong type, is not finite, or is outside what its field allows.
    """
    cls = type(component)
    kind = kind or where
    if kind == names.RUN:
        if not is_run(component):
            raise FieldError(where, component, "must be a jaxgen.Experiment")
        return component
    if not is_component(component):
        wanted = "must be a component: an instance of a flax.struct.dataclass or a flax module"
        raise FieldError(where, component, wanted)
    if isinstance(component, nn.Module) != (kind == "model"):
        wanted = "a flax linen module" if kind == "model" else "a flax.struct.dataclass, not a network"
        raise FieldError(where, cls.__qualname__, f"must be {wanted}")
    if where.count(".") > values.DEEPEST:
        raise FieldError(where, cls.__qualname__, f"components are nested at most {values.DEEPEST} deep")
    found = {}
    for field in fields(cls):
        value, name = getattr(component, field.name, None), f"{where}.{field.name}"
        if (inner := part_kind(field)) is not None:
            found[field.name] = _checked_parts(value, name, inner, field)
            continue
        if "pytree_node" not in field.metadata and not isinstance(component, nn.Module):
            line = f"{field.name}: {getattr(field.type, '__name__', field.type)} = jaxgen"
            why = f"is not marked: write `{line}.static(…)` for what decides the program, `{line}.leaf(…)` for a number"
            raise FieldError(name, value, f"{why} that differs from run to run of one program")
        doc = field.metadata.get("doc", "")
        value = values.coerced(value, hint(cls, field.name), name, is_leaf(cls, field), doc)
        values.check_allowed(value, field.metadata.get("allowed", ""), name)
        found[field.name] = value
    component = rebuild(component, found)
    missing = [name for name in REQUIRED.get(kind, ()) if not hasattr(component, name)]
    if missing:
        raise FieldError(where, cls.__qualname__, f"is no {kind}: it has no {', '.join(missing)}")
    names.remember(cls)
    if hasattr(component, "check"):
        try:
            component.check()
        except FieldError as error:
            raise error.within(where) from None
    return component


def _checked_parts(value: object, where: str, kind: str, field: dataclasses.Field) -> object:
    if value is None and field.default is not None:
        raise FieldError(where, None, f"must be a component of the kind {kind}")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or not NAME.fullmatch(name) or name == "type":
                raise FieldError(where, name, "is no name: letters, digits and _, no digit first, and not 'type'")
        value = dict(sorted(value.items()))
    made = map_parts(lambda part, rest: checked(_named(part, where + rest, kind), where + rest, kind), value)
    return flax.core.FrozenDict(made) if isinstance(value, Mapping) else made


def _named(value: object, where: str, kind: str) -> object:
    """A text as the component of that name with its defaults."""
    return from_dict({"type": value}, where, kind) if isinstance(value, str) and kind != names.RUN else value


def rebuild(component: C, changes: Mapping[str, Any]) -> C:
    """A copy of `component` with some fields replaced."""
    if isinstance(component, nn.Module):
        return component.clone(**changes)
    return dataclasses.replace(component, **changes)


def changed(component: Any, changes: Mapping[str, object], where: str, known: Callable[[], list[str]]) -> Component:
    """A copy of `component` with the fields at dotted paths below it replaced; nothing is checked.

    Args:
      component: to change.
      changes: values by path; where a path and one below it are given, the shorter is replaced first.
      where: the path of `component`.
      known: gives the paths that exist, for the error.

    Raises:
      FieldError: there is no such field.
    """
    if is_run(component):
        return component.override(changes)
    own, found = {f.name: f for f in fields(type(component))}, {}
    here = [f"{where}.{name}" for name in own]  # also of a component that is new with these changes
    for name, tails in by_head(changes).items():
        kind = part_kind(own[name]) if name in own else None
        rest = {tail: value for tail, value in tails.items() if tail}
        if name not in own or (rest and kind is None):
            raise unknown(f"{where}.{'.'.join(filter(None, (name, next(iter(rest), ''))))}", [*known(), *here])
        value = tails.get("", getattr(component, name))
        found[name] = _changed_parts(value, rest, f"{where}.{name}", str(kind), known) if rest else value
    return rebuild(component, found)


def _changed_parts(value: object, changes: Mapping[str, object], where: str, kind: str, known: Callable) -> object:
    if value is None:
        tail, new = next(iter(changes.items()))
        raise FieldError(f"{where}.{tail}", new, f"there is nothing to set it in: {where} is None")
    if not isinstance(value, (Mapping, tuple, list)):
        return changed(_named(value, where, kind), changes, where, known)
    found = {rest[1:]: part for rest, part in parts(tuple(value) if isinstance(value, list) else value).items()}
    for name, tails in by_head(changes).items():
        if name not in found:
            raise unknown(f"{where}.{name}", known())
        part, rest = tails.get("", found[name]), {tail: new for tail, new in tails.items() if tail}
        found[name] = changed(_named(part, f"{where}.{name}", kind), rest, f"{where}.{name}", known) if rest else part
    return found if isinstance(value, Mapping) else tuple(found.values())


def by_head(changes: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Changes by the first name of their path, and the rest of it."""
    heads: dict[str, dict[str, object]] = {}
    for path, value in changes.items():
        head, _, tail = path.partition(".")
        heads.setdefault(head, {})[tail] = value
    return heads


def to_dict(component: object, canonical: bool = False) -> dict[str, Plain]:
    """The component as plain data: type and fields; `canonical` leaves out `added` ones at their default."""
    if is_run(component):
        return component.to_dict()
    cls = type(component)
    data: dict[str, Plain] = {"type": names.type_name(cls)}
    for field in fields(cls):
        value = getattr(component, field.name)
        if canonical and field.metadata.get("added") and value == field.default:
            continue
        inner = part_kind(field) is not None
        plain = map_parts(lambda part, _: _written(part, canonical), value) if inner else value
        data[field.name] = values.plain(plain)
    return data


def _written(part: object, canonical: bool) -> Plain:
    """A component within another as plain data; until it is checked, a text may stand for it."""
    return part if isinstance(part, str) else to_dict(part, canonical)


def parsed(text: object) -> Any:
    """The data of a JSON text, as `from_dict` takes it.

    Raises:
      FieldError: it is none.
    """
    if not isinstance(text, (str, bytes)):
        raise FieldError("json", text, "must be text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FieldError("json", text[:40], f"cannot be read: {error}") from None


def from_dict(data: Any, where: str, kind: str | None = None) -> Any:
    """The component that `to_dict` described; fields left out take their defaults.

    Args:
      data: a table with a `type`.
      where: the path of the component.
      kind: as in `checked`.

    Raises:
      FieldError: the type or a field is unknown, or `data` is not a table with a `type`.
    """
    if kind == names.RUN:
        return names.run_class().from_dict(data)
    if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
        raise FieldError(where, data, 'must be a table with a "type"')
    if where.count(".") > values.DEEPEST:
        raise FieldError(where, data, f"components are nested at most {values.DEEPEST} deep")
    cls = names.find_class(data["type"], where, kind or where)
    known, arguments = {f.name: f for f in fields(cls)}, {}
    for name, value in data.items():
        if name == "type":
            continue
        path = f"{where}.{name}"
        if name not in known:
            raise unknown(path, [f"{where}.{k}" for k in sorted(known)])
        if (inner := part_kind(known[name])) is not None:
            arguments[name] = _parts_from(value, path, inner)
        else:
            doc = known[name].metadata.get("doc", "")
            arguments[name] = values.coerced(value, hint(cls, name), path, is_leaf(cls, known[name]), doc)
    for name, field in known.items():
        if name not in arguments and field.default is field.default_factory is dataclasses.MISSING:
            raise FieldError(f"{where}.{name}", None, "is missing")
    return cls(**arguments)


def _parts_from(data: object, where: str, kind: str) -> object:
    if isinstance(data, Mapping) and ("type" in data or kind == names.RUN):
        return from_dict(data, where, kind)
    read = lambda d, rest: _named(d, where + rest, kind) if isinstance(d, str) else from_dict(d, where + rest, kind)  # noqa: E731
    made = map_parts(read, data)
    return flax.core.FrozenDict(made) if isinstance(data, Mapping) else made
