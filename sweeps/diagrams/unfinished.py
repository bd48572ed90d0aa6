"""Cells of a diagram whose runs are still to come: those that wait, and those that are in training."""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.components import type_name
from sweeps.axes import plain, scales
from sweeps.axes.algebra import Sweep
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.gather import union, widened
from sweeps.diagrams.plane import SEEDS, Axis
from sweeps.storage import checkpoint


@dataclasses.dataclass(frozen=True)
class _Written:
    """A component as JSON: its class need not be known here."""

    text: str


def with_unfinished(diagram: Diagram) -> Diagram:
    """The diagram with all cells of its sweep; those that wait for runs or have runs in training are marked.

    Cells wait for the runs of the sweep that are not stored; where the workdir does not say which these are, for those
    of the product of its axes.

    Raises:
      FieldError: the sweep that the workdir holds is none.
    """
    held = {path: _none(diagram.runs[path].iloc[0]) for path in diagram.held}
    within = lambda run: all(run.get(path) == value for path, value in held.items())  # noqa: E731
    lanes = [lane["fields"] for lane in checkpoint.running(diagram.source.workdir)]
    lanes = [fields for fields in lanes if within(fields)]
    sweep = _stored_sweep(diagram)
    if sweep is None:
        whole, waiting = _guessed(diagram)
    else:
        wanted = [run for run in _runs(sweep, diagram) if within(run)]
        whole = _over(diagram, *(_along(axis, wanted) for axis in diagram.axes))
        waiting = _marked(whole, _missing(wanted, diagram.runs))
    running = _marked(whole, lanes)
    return dataclasses.replace(whole, pending=waiting & ~running, running=running)


def _stored_sweep(diagram: Diagram) -> Sweep | None:
    """The sweep that `sweep.json` says, components as `_Written`."""
    data = diagram.source.specification.get("sweep")
    if data is None:
        return None
    try:
        return Sweep.from_dict(data, _read)
    except FieldError:
        raise diagram.source.workdir.unsound("sweep") from None


def _read(path: str, data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_read(path, part) for part in data)
    return _Written(json.dumps(data)) if isinstance(data, Mapping) else data


def _runs(sweep: Sweep, diagram: Diagram) -> Iterator[dict[str, Any]]:
    """What the table of runs has of each point, in the fields that the sweep, the axes or what is held need."""
    base = diagram.source.specification["fields"]
    known = {*base, *map(str, diagram.runs.columns)}
    changes: dict[str, dict[Any, dict[str, Any]]] = {}
    for path, values in sorted(sweep.axes.items()):  # a component stands before its fields, which are changed after it
        found = {value: dict(_flat(path, value, known)) for value in values}
        every = dict.fromkeys(itertools.chain(*found.values()))
        changes[path] = {value: {**every, **fields} for value, fields in found.items()}
    axes = (path for axis in diagram.axes for path in axis.fields)
    usual = {path: base.get(path) for path in (*axes, *diagram.held, *SEEDS)}
    usual |= {path: base.get(path) for decided in changes.values() for fields in decided.values() for path in fields}
    for point in sweep:
        run = dict(usual)
        for path, decided in changes.items():
            if path in point:
                run |= decided[point[path]]
        if run["split_seed"] is None:
            run["split_seed"] = run["seed"]
        yield run


def _flat(path: str, value: Any, known: set[str]) -> Iterator[tuple[str, Any]]:
    """The fields of a run that a value of an axis decides, as its table has them."""
    data = json.loads(value.text) if isinstance(value, _Written) else value
    listed = isinstance(data, (list, tuple))
    if isinstance(data, Mapping) or (listed and path not in known):
        for name, part in enumerate(data) if listed else data.items():
            yield from _flat(f"{path}.{name}", part, known)
    elif path in known or path.endswith(".type") or not isinstance(data, (str, type(None))):
        yield path, json.dumps(data) if listed else data
    else:  # a component: none, or by its name
        yield f"{path}.type", data and _named(path, data)


def _named(path: str, name: str) -> str:
    """The name of the type that a text stands for."""
    try:
        return type_name(type(plain.read(path, {"type": name})))
    except FieldError:
        return name


def _missing(wanted: list[dict[str, Any]], stored: pd.DataFrame) -> list[dict[str, Any]]:
    """The runs that are not stored, each once."""
    paths = [path for path in (wanted[0] if wanted else ()) if path in stored]
    columns = (stored[path].astype(object).where(stored[path].notna(), None) for path in paths)
    have = set(zip(*columns))
    return list({key: run for run in wanted if (key := tuple(run[path] for path in paths)) not in have}.values())


def _over(diagram: Diagram, *wanted: list[Any]) -> Diagram:
    """The diagram with cells for these values of x and y too; bins stay as they are."""
    sides = (
        axis.values if axis.bins else union([axis.values, _alike(more, axis.values)])
        for axis, more in zip(diagram.axes, wanted)
    )
    return widened(diagram, *sides)


def _along(axis: Axis, runs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The values of runs along an axis."""
    if axis.derived is None:
        return [run.get(axis.name) for run in runs]
    return axis.derived.values(pd.DataFrame(runs)).tolist() if runs else []


def _alike(more: list[Any], values: list[Any]) -> list[Any]:
    """Which of them stand on an axis of these values: as texts there, None too."""
    if isinstance(values[0], str):
        return list({"None" if v is None else scales.value_name(v) for v in more})
    return list({v for v in more if isinstance(v, (int, float))})


def _marked(diagram: Diagram, runs: list[dict[str, Any]]) -> np.ndarray:
    """Which cells some of the runs are in."""
    marked = np.zeros(diagram.seeds.shape, bool)
    row, column = (axis.places(_along(axis, runs)) for axis in (diagram.y_axis, diagram.x_axis))
    there = (row >= 0) & (column >= 0)
    marked[row[there], column[there]] = True
    return marked


def _guessed(diagram: Diagram) -> tuple[Diagram, np.ndarray]:
    """The cells of the product of the sweep's axes, and those with fewer runs than it has there."""
    held = diagram.source.specification
    axes = {path: values for path, values in held.get("axes", {}).items() if isinstance(values, list)}
    whole = _over(diagram, axes.get(diagram.x, []), axes.get(diagram.y, []))
    placing = {path for axis in diagram.axes for path in axis.fields}
    others = [path for path in axes if path not in placing and path not in diagram.held]
    product = math.prod(map(len, axes.values())) == held.get("runs")
    return whole, whole.seeds < (math.prod(len(axes[path]) for path in others) if product else 1)


def _none(value: Any) -> Any:
    """A value of a table, None where it has none."""
    return None if value is None or value != value else value
