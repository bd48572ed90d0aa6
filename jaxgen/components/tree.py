"""A component as a tree: the paths of its fields, what of it is structure, and its numbers apart from that."""

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import flax.core

from jaxgen.components import names, values
from jaxgen.components.build import is_run, map_parts, parts
from jaxgen.components.declare import fields, is_leaf, may_be_none, part_kind
from jaxgen.components.names import RUN
from jaxgen.kinds import Component, Plain

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment

Structure = tuple
"""What of a component decides the program, hashable: class, name of the class, structure, absent leaves, parts."""


def walk(component: Component | None, where: str) -> Iterator[tuple[str, Component]]:
    """Every component in `component`, itself first, with its path; nothing of None, and of a text that names one."""
    if component is None or isinstance(component, str):
        return
    if is_run(component):
        yield from ((f"{where}.{path}", part) for path, part in component.walk())
        return
    yield where, component
    for field in fields(type(component)):
        if part_kind(field) is not None:
            for rest, part in parts(getattr(component, field.name)).items():
                yield from walk(part, f"{where}.{field.name}{rest}")


def paths(component: Component | None, where: str) -> list[str]:
    """What can be set, as dotted paths: the component, its fields, and those of the components in it."""
    inner = [where, *(path for path, _ in walk(component, where))]
    own = [f"{path}.{f.name}" for path, part in walk(component, where) for f in fields(type(part))]
    return list(dict.fromkeys([*inner, *own]))


def leaf_paths(component: Component | None, where: str) -> set[str]:
    """The paths whose values are leaves, and those within other experiments, which are no structure of this one."""
    others = tuple(f"{path}." for path, _ in runs(component, where))
    return {
        f"{path}.{f.name}"
        for path, part in walk(component, where)
        for f in fields(type(part))
        if is_leaf(type(part), f) or path.startswith(others)
    }


def runs(component: Component | None, where: str) -> "list[tuple[str, Experiment]]":
    """The experiments in a component, with their paths."""
    return [
        (f"{path}.{field.name}{rest}", part)
        for path, found in walk(component, where)
        for field in fields(type(found))
        if part_kind(field) == RUN
        for rest, part in parts(getattr(found, field.name)).items()
    ]


def flat(component: Component | None, where: str) -> dict[str, Plain]:
    """All values by path, and every component's `type`: None where there is no component."""
    found: dict[str, Plain] = {} if component is not None else {f"{where}.type": None}
    for path, part in walk(component, where):
        found[f"{path}.type"] = names.type_name(type(part))
        for field in fields(type(part)):
            value = getattr(part, field.name)
            if part_kind(field) is None:
                found[f"{path}.{field.name}"] = values.plain(value)
            elif value is None:
                found[f"{path}.{field.name}.type"] = None
    return found


def structure(component: object) -> Structure:
    """The component's `Structure`; () where it is None."""
    if component is None:
        return ()
    cls: type = type(component)
    static, optional, within = _field_names(cls)
    held = tuple((name, getattr(component, name)) for name in static)
    absent = tuple(name for name in optional if getattr(component, name) is None)
    inner = tuple((name, _structures(getattr(component, name))) for name in within)
    return cls, names.type_name(cls), held, absent, inner


def _structures(value: object) -> tuple:
    """The structures of the components in a field, and in what they are."""
    container = "table" if isinstance(value, Mapping) else "tuple" if isinstance(value, tuple) else ""
    return container, tuple((rest, structure(part)) for rest, part in parts(value).items())


def structure_data(described: Structure) -> dict[str, Plain]:
    """A structure as plain data: leaves are null, those that are absent "none"."""
    if not described:
        return {"type": None}
    cls, name, held, absent, inner = described
    data = {"type": name, **{k: values.plain(v) for k, v in held}}
    data |= {f.name: None for f in fields(cls) if is_leaf(cls, f)} | dict.fromkeys(absent, "none")
    return data | {k: {rest: structure_data(part) for rest, part in found} for k, (_, found) in inner}


def dissolve(component: Component | None) -> dict[str, object]:
    """The leaves of a component and of those in it, by field: a pytree."""
    if component is None:
        return {}
    cls = type(component)
    found = {f.name: getattr(component, f.name) for f in fields(cls) if is_leaf(cls, f)}
    return found | {
        name: map_parts(lambda part, _: dissolve(part), getattr(component, name)) for name in _field_names(cls)[2]
    }


def assemble(described: Structure, leaves: Mapping[str, Any]) -> Component | None:
    """The component of a structure and of what `dissolve` gave, whatever the leaves are by now."""
    if not described:
        return None
    cls, _, held, _, inner = described
    made = {name: _assembled(container, found, leaves[name]) for name, (container, found) in inner}
    made |= {field.name: None for field in fields(cls) if part_kind(field) == RUN}
    return cls(**{**leaves, **dict(held), **made})


def _assembled(container: str, found: tuple, leaves: Any) -> Component | tuple | Mapping | None:
    if container == "table":
        return flax.core.FrozenDict({rest[1:]: assemble(part, leaves[rest[1:]]) for rest, part in found})
    if container == "tuple":
        return tuple(assemble(part, own) for (_, part), own in zip(found, leaves))
    return assemble(found[0][1], leaves) if found else None


@functools.cache
def _field_names(cls: type) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Structure, leaves that may be None, and fields of components."""
    static = tuple(f.name for f in fields(cls) if not is_leaf(cls, f) and part_kind(f) is None)
    optional = tuple(f.name for f in fields(cls) if is_leaf(cls, f) and may_be_none(cls, f))
    return static, optional, tuple(f.name for f in fields(cls) if part_kind(f) not in (None, RUN))
