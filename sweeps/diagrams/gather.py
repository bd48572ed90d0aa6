"""Gathers stored runs into the cells of a diagram."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.components import unknown
from jaxgen.probes import Every
from sweeps.axes.scales import Range, kind, value_name
from sweeps.diagrams import phases
from sweeps.diagrams.diagram import Contour, Diagram, cell_means, follows
from sweeps.diagrams.labels import Labelling, Observed
from sweeps.diagrams.phases import Definition
from sweeps.diagrams.plane import SEEDS, Axis, Derived, check_fields
from sweeps.diagrams.query import Cells, Query
from sweeps.diagrams.values import ValueMap
from sweeps.storage.runs import Runs


def make_diagram(results: Runs, query: Query) -> Diagram:
    """The diagram of stored runs that is asked for; see `Results.phase_diagram` and `within_training`."""
    runs = results.runs
    _check_sustained(runs, query.definition)
    results = results.only(set(runs["run_id"]))  # the same runs below, should others be added meanwhile
    runs, keep = on_axes(runs, results, query.cells)
    definition = within_training(query.definition, runs, query.beyond)
    _check_gap(runs, definition)
    labelling = query.labelling
    curves = read_curves(results, definition, labelling, *([query.contour] if query.contour else []))
    if not keep.all():
        curves = {name: values[keep] for name, values in curves.items()}
    observed = observe(runs, curves, definition)
    label = labelling(observed)
    axes, cells = placed(runs, results, query.cells)
    shape = len(axes[1].values), len(axes[0].values), len(labelling.labels)
    counts = np.bincount(cells * shape[2] + label, minlength=math.prod(shape)).reshape(shape)
    train, test = observed.train_time, observed.test_time
    runs = runs.assign(
        label=label,
        train_time=train,
        test_time=test,
        test_after=phases.before(curves["step"], test),
        delay=phases.delay(train, test),
        until=observed.until,
        cell=cells,
    )
    lines = None
    if query.contour:
        largest = phases.within(curves, definition.budget, query.contour)[0]
        lines = Contour(query.contour, tuple(query.levels), cell_means(largest, cells, counts.shape[:2]))
    found = (*axes, definition, labelling, runs, curves, counts, results)
    more = (dict(query.cells.where), query.cells.pooled, lines, tuple(query.overlays))
    drawn = Diagram(*found, *more)
    if drawn.overlays:
        drawn.overlay_table()  # refuses what is no curve
    return drawn


def within_training(definition: Definition, runs: pd.DataFrame, beyond: bool | None = None) -> Definition:
    """The definition, if runs were trained to its budget; those that failed would be left out, and no others.

    Args:
      definition: what is asked for.
      runs: a row per run.
      beyond: whether the budget may be beyond the training of some; None: then it is theirs.

    Raises:
      FieldError: it is, and may not.
    """
    finished = runs["steps"][(runs["status"] == "finished").to_numpy()]
    if beyond or not len(finished) or finished.min() >= definition.budget:
        return definition
    if beyond is None:
        return dataclasses.replace(definition, budget=max(int(finished.min()), 1))
    why = f"is beyond the {finished.min():,} steps of some runs: undecided, whatever they would have done"
    raise FieldError("budget", definition.budget, f"{why}; if that is wanted, ask with beyond (--beyond)")


def _check_gap(runs: pd.DataFrame, definition: Definition) -> None:
    """Refuses a gap that would decide the phases by itself: below what delays are known to, or above the budget."""
    trained = runs[runs["training.steps"] > 0]  # others have no delay
    every = int(trained["training.evaluate_every"].max()) if len(trained) else 1
    if 0 < definition.gap < every:
        why = f"is below one interval between evaluations, {every:,} steps: must be 0, or {every} or more"
        raise FieldError("gap", definition.gap, why)
    if definition.gap > definition.budget:
        why = (
            f"is above the budget, {definition.budget:,} steps, so that nothing could be grokking: give another (--gap)"
        )
        raise FieldError("gap", definition.gap, why)


def _check_sustained(runs: pd.DataFrame, definition: Definition) -> None:
    """Refuses to wait for more evaluations in a row than any of the runs can have."""
    if not len(runs):  # for which `place` has a line
        return
    possible = runs["training.steps"] // runs["training.evaluate_every"] + 1
    if definition.sustained > possible.max():
        why = f"is never met: these runs have at most {possible.max()} regular evaluations"
        raise FieldError("sustained", definition.sustained, why)


def _check_cadence(runs: pd.DataFrame, curves: dict[str, np.ndarray], definition: Definition) -> None:
    """Refuses a metric that is missing at some evaluations of a run, where a probe has a cadence of its own."""
    kinds = [name for name in runs if str(name).startswith("training.probes.") and str(name).endswith(".type")]
    seldom = (runs[kinds] == Every.__name__).any(axis=1).to_numpy()
    for name in definition.curves:
        missing = np.isnan(curves[name])
        if (seldom & (missing & np.isfinite(curves["step"])).any(axis=1) & ~missing.all(axis=1)).any():
            why = f"{name} is not measured at every evaluation (jaxgen.probes.Every): its times are not known"
            raise FieldError("metric", definition.metric, why)


def widened(d: Diagram, x_values: list, y_values: list) -> Diagram:
    """The diagram over these values of its axes, among which its own are; other cells have no runs."""
    columns, rows = (
        np.array([values.index(v if v in values else value_name(v)) for v in own])
        for values, own in ((x_values, d.x_values), (y_values, d.y_values))
    )
    place, shape = np.ix_(rows, columns), (len(y_values), len(x_values))
    counts = np.zeros((*shape, d.counts.shape[-1]), int)
    counts[place] = d.counts
    row, column = np.divmod(d.runs["cell"].to_numpy(), len(d.x_values))
    runs = d.runs.assign(cell=rows[row] * shape[1] + columns[column])
    contour = d.contour
    if contour is not None:
        values = np.full(shape, np.nan)
        values[place] = contour.values
        contour = dataclasses.replace(contour, values=values)
    x_axis, y_axis = d.x_axis.over(x_values), d.y_axis.over(y_values)
    wide = dataclasses.replace(d, x_axis=x_axis, y_axis=y_axis, runs=runs, counts=counts, contour=contour)
    if d.pending is None or d.running is None:
        return wide
    pending, running = np.zeros(shape, bool), np.zeros(shape, bool)
    pending[place], running[place] = d.pending, d.running
    return dataclasses.replace(wide, pending=pending, running=running)


def aligned(diagrams: Mapping[str, Diagram]) -> dict[str, Diagram]:
    """Diagrams over the same two axes, each with cells for the values that any of them has.

    Raises:
      FieldError: the axes, or the metrics, differ.
    """
    if len(metrics := {d.definition.metric for d in diagrams.values()}) > 1:
        raise FieldError("panels", sorted(metrics), "must be of the same metric")
    if len({(d.x, d.y) for d in diagrams.values()}) > 1:
        raise FieldError("panels", [(d.x, d.y) for d in diagrams.values()], "must be over the same two fields")
    x_values, y_values = (union([getattr(d, axis) for d in diagrams.values()]) for axis in ("x_values", "y_values"))
    return {name: widened(d, x_values, y_values) for name, d in diagrams.items()}


def union(axes: list[list]) -> list:
    """All values, ascending; as texts, words last, where any of them is one."""
    values = {v for axis in axes for v in axis}
    if not any(isinstance(v, str) for v in values):
        return sorted(values)

    def order(text: str) -> tuple:
        try:
            return 0, float(text), text
        except ValueError:
            return 1, 0.0, text

    return sorted(set(map(value_name, values)), key=order)


def read_curves(results: Runs, definition: Definition, labelling: Labelling, *others: str) -> dict[str, np.ndarray]:
    """The curves of the definition's metric, those that the labelling reads, and others; see `Results.curves`.

    Raises:
      FieldError: one of them is not stored.
    """
    known = results.curve_names
    for name in definition.curves:
        if name not in known:
            raise FieldError("metric", definition.metric, f"has no curve {name} here: there are {', '.join(known)}")
    return results.curves(*definition.curves, *labelling.curves, *others)


def observe(runs: pd.DataFrame, curves: dict[str, np.ndarray], definition: Definition) -> Observed:
    """What a labelling sees of these runs.

    Raises:
      FieldError: the metric is measured seldom, so that its times are not known to an interval between evaluations.
    """
    _check_cadence(runs, curves, definition)
    asked = definition.threshold, definition.sustained, runs["training.evaluate_every"].to_numpy(), definition.below
    train, test = (phases.times(curves["step"], curves[name], *asked) for name in definition.curves)
    untested = np.isnan(curves[definition.curves[1]]).all(axis=1)  # no test rows: never more than undecided
    diverged, frozen = (runs["status"].isin(some).to_numpy() for some in (["diverged"], ["frozen", "exact"]))
    until = np.where(frozen, np.maximum(runs["steps"], definition.budget), runs["steps"])
    until = np.where(untested, -1, until)
    if definition.sustained == 0:  # whether it stays there to the end is seen at the budget only
        train, test = (np.where(until < definition.budget, np.inf, time) for time in (train, test))
    return Observed(definition, runs, curves, train, test, until, diverged, frozen)


def on_axes(runs: pd.DataFrame, results: Runs, cells: Cells) -> tuple[pd.DataFrame, np.ndarray]:
    """The runs that are held at `where`, with the columns of derived axes, and which of all runs these are.

    Raises:
      FieldError: there are no runs, a path is unknown, or fields other than those of the axes, the seeds and `pool`
        differ, and not with x or y alone; or runs that differ in fields of a derived axis are at one place.
    """
    if not len(runs):
        raise FieldError("workdir", str(results.workdir), "holds no finished runs yet")
    fields = [c for c in map(str, runs.columns) if c not in ("run_id", "status", "steps") and "/" not in c]
    x, y = columns(runs, cells)
    pool, sources = cells.pooled, dict.fromkeys(path for axis in cells.derived for path in axis.fields)
    known = {*fields, *(axis.label for axis in cells.derived)}
    for path in (x, y, *sources, *cells.where, *pool):
        if path not in known:
            raise unknown(path, fields)
    if x == y:
        raise FieldError("y", y, "must be another axis than x")
    keep = np.ones(len(runs), bool)
    for path, value in cells.where.items():
        keep &= _held(runs[path], value)
        if not keep.any():
            raise FieldError(path, value, f"no run has it; there are {_listed(runs[path], 60)}")
    runs = runs[keep].reset_index(drop=True)
    for axis in cells.derived:
        if axis.label in runs:
            raise FieldError("axis.name", axis.label, "is the name of a column of the runs: give it another")
        runs = runs.assign(**{axis.label: axis.values(runs)})
    for path in fields:
        if path in (x, y, *sources, *SEEDS, *pool) or runs[path].nunique(dropna=False) == 1:
            continue
        if follows(runs, path, (x, y)):
            continue
        by_type = [axis for axis in (x, y, *pool) if axis.endswith(".type") and path.startswith(axis[:-4])]
        if not by_type or runs.groupby(by_type)[path].nunique(dropna=False).max() > 1:
            why = f"differs between runs: hold it at one value with where ({path}=…), or name it in pool"
            raise FieldError(path, _listed(runs[path]), why)
    places = runs.groupby([x, y], dropna=False)
    for path in (path for path in sources if path not in (x, y, *pool)):
        counts = places[path].nunique(dropna=False)
        if counts.max() > 1:
            at = dict(zip((x, y), counts.idxmax()))
            some = _listed(places.get_group(counts.idxmax())[path])
            said = ", ".join(f"{name} = {value_name(value)}" for name, value in at.items())
            raise FieldError(path, some, f"differs at {said}: name it in pool, or in the axis's stands_for")
    return runs, keep


def columns(runs: pd.DataFrame, cells: Cells) -> tuple[str, str]:
    """The columns of the axes: paths, in full where one is of a whole component, or labels of what is computed."""
    x, y = (
        axis.label if isinstance(axis, Derived) else f"{axis}.type" if f"{axis}.type" in runs else axis
        for axis in (cells.x, cells.y)
    )
    return x, y


def placed(runs: pd.DataFrame, results: Runs, cells: Cells) -> tuple[tuple[Axis, Axis], np.ndarray]:
    """Both axes with the values that runs have, or the middles of bins; and the (flat) index of each run's cell."""
    axes, places = [], []
    for name, asked, bins in zip(columns(runs, cells), (cells.x, cells.y), cells.sides):
        values, at = _places(runs[name]) if bins is None else _binned(name, runs[name], bins, results)
        axes.append(Axis(name, values, asked if isinstance(asked, Derived) else None, bins))
        places.append(at)
    while axes[0].label == axes[1].label and axes[0].name != axes[1].name:
        axes = [dataclasses.replace(axis, words=axis.words + 1) for axis in axes]
    return (axes[0], axes[1]), places[1] * len(axes[0].values) + places[0]


def make_value_map(results: Runs, cells: Cells, name: str, size: float) -> ValueMap:
    """Cells over two axes with a number of their runs; see `Results.value_map`. Reads no curves."""
    runs, _ = on_axes(results.runs, results, cells)
    axes, at = placed(runs, results, cells)
    return ValueMap.of(axes, runs.assign(cell=at), name, results, size)


def facet_values(runs: pd.DataFrame, by: str, taken: Sequence[str]) -> dict[str, object]:
    """The values of a field that each have a diagram of their own, by their text; `taken` are fields that cannot be it.

    Raises:
      FieldError: there is no such field, or it is taken.
    """
    check_fields([by], runs)
    if by in taken:
        raise FieldError("by", by, "must be another field than the axes and what is held")
    values, _ = _places(runs[by])
    values = [None if v == "None" else v for v in values]
    return {f"{by.rpartition('.')[2]} = {value_name(v)}": v for v in values}


def _held(column: pd.Series, value: object) -> np.ndarray:
    """Which runs have a value; a number that nobody has exactly stands for the only one within a percent of it."""
    if value is None:
        return column.isna().to_numpy()
    if isinstance(value, tuple):
        value = json.dumps(value)
    exact = (column == value).to_numpy()
    if exact.any() or isinstance(value, bool) or not isinstance(value, (int, float)):
        return exact
    if not pd.api.types.is_numeric_dtype(column):
        return exact
    near = [v for v in column.dropna().unique() if abs(v - value) <= 0.01 * abs(value)]
    return (column == near[0]).to_numpy() if len(near) == 1 else exact


def _places(column: pd.Series) -> tuple[list, np.ndarray]:
    """The values of an axis, ascending (None as a text after the others), and where each run stands among them."""
    values = sorted(column.dropna().unique())
    places = pd.Index(values).get_indexer(column)
    names = [v.item() if hasattr(v, "item") else v for v in values]
    if column.isna().any():
        names = [*map(value_name, names), "None"]
        places = np.where(column.isna(), len(values), places)
    return names, places


def _binned(path: str, column: pd.Series, bins: int, results: Runs) -> tuple[list, np.ndarray]:
    """The middles of so many equal parts of an axis, as it runs, and in which of them each run is.

    A refined sweep says itself from where to where its axes go; else it is from the least to the greatest value.
    """
    side = results.refined.get(path)
    if not isinstance(side, Range):
        values, _ = _places(column)
        scale = kind(values)
        if scale in ("categorical", "symlog"):
            raise FieldError(path, _listed(column), "has no even scale to gather values on: leave bins out")
        side = Range(values[0], values[-1], scale == "log")
    places = np.clip((side.to_unit(column.to_numpy(float)) * bins).astype(int), 0, bins - 1)
    return side.from_unit((np.arange(bins) + 0.5) / bins).tolist(), places


def _listed(values: pd.Series, most: int = 6) -> str:
    found = sorted(values.dropna().unique())
    texts = [value_name(v) for v in found] + ["None"] * bool(values.isna().any())
    return ", ".join(texts[:most]) + (" …" if len(texts) > most else "")
