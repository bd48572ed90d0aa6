"""What `sweep.json` says of a sweep, and whether it is what was written.

It follows from the call and from what was held before: workers that train shares of one sweep write the same bytes.
"""

import dataclasses
import itertools
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import jax
import jaxlib
import numpy as np

import jaxgen
from jaxgen import Experiment, training
from jaxgen.components import type_name
from jaxgen.kinds import Plain
from sweeps.axes.sweep import Sweep, used

Fields = Mapping[str, Plain]  # of an experiment, by dotted path


class Specification(TypedDict, total=False):
    """What `sweep.json` says."""

    schema: int
    name: str
    description: str
    changed: list[str]
    base: dict[str, Plain]
    fields: dict[str, Any]
    sweep: dict[str, Plain]
    axes: dict[str, Any]
    sources: list[str]
    runs: int
    definition: dict[str, Any]
    launches: list[dict[str, Any]]


SCHEMA = 3
LISTED = 1000  # values of an axis that are written out
WRITTEN = 10_000  # values of a sweep that are
FEW = 6  # values of an axis in one line


def parsed(text: str) -> Any:
    """A specification's text as JSON that can be written again; raises where it cannot."""
    found = json.loads(text)
    json.dumps(found, ensure_ascii=False, indent=1).encode()
    return found


def written(held: Mapping[str, object]) -> str:
    """A specification as text."""
    return json.dumps(held, indent=1)


def damage(held: dict[str, Any]) -> str:
    """The first part of a specification that `specified` has not made so; empty where all is well."""
    kinds = {"name": str, "fields": dict, "axes": dict, "definition": dict}
    for key, kind in kinds.items():
        if not isinstance(held.get(key), kind):
            return key
    axes = [[v.get("first"), v.get("last")] if isinstance(v, dict) else v for v in held["axes"].values()]
    runs = held.get("runs", 0)
    sound = {
        "name": bool(held["name"]),
        "sources": _are_texts(held.get("sources", [])),
        "changed": _are_texts(held.get("changed", [])),
        "description": isinstance(held.get("description", ""), str),
        "axes": all(isinstance(values, list) and values and all(map(_is_value, values)) for values in axes),
        "sweep": isinstance(held.get("sweep", {}), dict),
        "runs": isinstance(runs, int) and 0 <= runs < 2**63,
    }
    return next((key for key, well in sound.items() if not well), "")


def _is_value(value: object) -> bool:
    """Whether it can stand on an axis: a text, a truth value, None, or a number that 64 bits hold."""
    if isinstance(value, int):
        return abs(value) < 2**63
    return value is None or isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def difference(held: Specification, name: str, base: Experiment, sweep: Sweep) -> str:
    """What of a specification is another sweep's, and what to do; empty where it is the same sweep.

    That is another name, or a base that differs in a field that neither sweeps over.
    """
    if held["name"] != name:
        return f"holds the sweep {held['name']!r}, not {name!r}: use another directory"
    new = json.loads(json.dumps(base.flat()))
    why = _differing_field(held["fields"], new, {*sweep.axes, *held["axes"]})
    return f"holds a sweep with {why}: use another directory, or sweep over it" if why else ""


def unlike(one: Specification, other: Specification) -> str:
    """What of two specifications makes them different sweeps, as `difference` has it; empty where they are one."""
    if one["name"] != other["name"]:
        return f"holds the sweep {other['name']!r}, not {one['name']!r}"
    why = _differing_field(other["fields"], one["fields"], {*one["axes"], *other["axes"]})
    return f"holds a sweep with {why}" if why else ""


def differing(one: Specification, other: Specification) -> list[str]:
    """In what a specification differs from another of the same sweep: axes, definitions, and how many runs."""
    found = []
    for path in dict.fromkeys([*one["axes"], *other["axes"]]):
        mine, its = (held["axes"].get(path, [held["fields"].get(path)]) for held in (one, other))
        if mine != its:
            found.append(f"has {path} = {_listed(its)}, not {_listed(mine)}: the union has both")
    if one["definition"] != other["definition"]:
        found.append(f"has the definition {other['definition']}, not {one['definition']}: the first is kept")
    return found


def _listed(values: object) -> str:
    """Values of an axis in few words."""
    if isinstance(values, list) and len(values) > FEW:
        return f"{', '.join(map(str, values[:FEW]))}, … ({len(values)} values)"
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)


def _differing_field(old: Fields, new: Fields, axes: set[str]) -> str:
    """A field that differs and is swept over in neither, with its values; empty where there is none."""
    old, new, free = _without_fingerprints(old), _without_fingerprints(new), {*axes, "seed", "split_seed"}
    for path in sorted(old.keys() | new.keys()):
        swept = any(path == axis or path.startswith(f"{axis}.") for axis in free)
        if not swept and old.get(path) != new.get(path):
            return f"{path} = {old.get(path)!r}, not {new.get(path)!r}"
    return ""


def united(held: Sequence[Specification], runs: int) -> Specification:
    """The specification of what workdirs of one sweep hold together: the first's, over the values of all.

    Where they are not all the same it has no sweep, since which points were asked for is not known; `runs` are stored.
    """
    if all(one == held[0] for one in held):
        return held[0]
    axes: dict[str, Any] = {}
    for path in dict.fromkeys(path for one in held for path in one["axes"]):
        found = [one["axes"].get(path, [one["fields"].get(path)]) for one in held]
        lists = [values for values in found if isinstance(values, list)]
        axes[path] = list(dict.fromkeys(itertools.chain(*lists))) if len(lists) == len(found) else found[0]
    first = held[0].copy()
    first.pop("sweep", None)
    sources = list(dict.fromkeys(file for one in held for file in one.get("sources", [])))
    return {**first, "axes": axes, "sources": sources, "runs": runs}


def specified(
    held: Specification,
    name: str,
    base: Experiment,
    sweep: Sweep,
    definition: Mapping[str, Any],
    description: str = "",
    changed: Sequence[str] = (),
) -> Specification:
    """The specification as it is now, after the one that was `held`."""
    return {
        "schema": SCHEMA,
        "name": name,
        "description": description,
        "changed": list(dict.fromkeys([*held.get("changed", []), *changed])),
        "base": base.to_dict(),
        "fields": base.flat(),
        **({"sweep": sweep.to_dict()} if sweep.entries <= WRITTEN else {}),
        "axes": {path: _summary(values) for path, values in sweep.axes.items()},
        "sources": sources(base, sweep, held.get("sources", [])),
        "runs": len(sweep),
        "definition": dict(definition),
    }


def sources(base: Experiment, sweep: Sweep, held: list[str]) -> list[str]:
    """The files to load before runs can be read again: those that define the user's own components, or import them."""
    parts = map(type, used(base, sweep))
    own = [cls for cls in dict.fromkeys(parts) if dataclasses.is_dataclass(cls) and "#" in type_name(cls)]
    known = [file for file in held if os.path.isfile(file)]
    return list(dict.fromkeys(file for file in (*known, *map(_source, own)) if file))


def environment(device: jax.Device) -> dict[str, str]:
    """Versions, device and flags that decide a run's bits."""
    return {
        "jaxgen": jaxgen.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "platform": device.platform,
        "device_kind": device.device_kind,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "compiler_options": ", ".join(f"{k}={v}" for k, v in training.compiler_options().items()),
    }


def _source(cls: type) -> str | None:
    """The file that was given to `--sweep` and has the class or its module, else the class's own."""
    module = sys.modules.get(cls.__module__)
    given = [m for name, m in sys.modules.items() if name.startswith("sweep_file_")]
    importing = [m for m in given if m is module or any(v is cls or v is module for v in vars(m).values())]
    file = getattr(importing[-1] if importing else module, "__file__", None)
    return file and os.path.abspath(file)


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _without_fingerprints(fields: Fields) -> Fields:
    """The fields with the names of users' types alone: an edited component is still the same sweep."""
    return {k: v.partition("#")[0] if k.endswith(".type") and isinstance(v, str) else v for k, v in fields.items()}


def _summary(values: list) -> Plain:
    if len(values) > LISTED:
        return {"values": len(values), "first": _text(values[0]), "last": _text(values[-1])}
    return [_text(v) for v in values]


def _text(value: object) -> Plain:
    return value if isinstance(value, (int, float, str, bool, type(None))) else repr(value).replace("\n", " ")
