"""Gathers stored runs into the cells of a diagram."""

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

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
from sweeps.diagrams.values import ValueMap
from sweeps.storage.runs import Runs

SEEDS = ("seed", "split_seed")
LEVELS = (0.1, 0.5)
MAX_BINS = 100
"""Along each axis at most: figure and page of so many cells are written in seconds."""


def make_diagram(
    results: Runs,
    x: str,
    y: str,
    definition: Definition,
    labelling: Labelling,
    where: dict[str, Any],
    pool: Sequence[str] = (),
    contour: str | None = None,
    levels: tuple[float, ...] = LEVELS,
    bins: int | None = None,
    beyond: bool | None = None,
) -> Diagram:
    """The diagram of stored runs over the fields `x` and `y`; see `Results.phase_diagram` and `within_training`."""
    runs = results.runs
    _check_sustained(runs, definition)
    results = results.only(set(runs["run_id"]))  # the same runs below, should others be added meanwhile
    x, y, runs, keep = on_axes(results, runs, x, y, where, pool)
    definition = within_training(definition, runs, beyond)
    _check_gap(runs, definition)
    curves = read_curves(results, definition, labelling, *([contour] if contour else []))
    if not keep.all():
        curves = {name: values[keep] for name, values in curves.items()}
    observed = observe(runs, curves, definition)
    label = labelling(observed)
    (x_values, columns), (y_values, rows) = (
        _places(runs[path]) if bins is None else _binned(path, runs[path], bins, results) for path in (x, y)
    )
    cells = rows * len(x_values) + columns
    shape = len(y_values), len(x_values), len(labelling.labels)
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
    if contour:
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < np.inf for v in levels):
            raise FieldError("levels", list(levels), "must be finite numbers")
        if any(a >= b for a, b in itertools.pairwise(levels)):
            raise FieldError("levels", list(levels), "must ascend")
        largest = phases.within(curves, definition.budget, contour)[0]
        lines = Contour(contour, tuple(levels), cell_means(largest, cells, counts.shape[:2]))
    placed = x, y, x_values, y_values
    return Diagram(*placed, definition, labelling, runs, curves, counts, results, dict(where), tuple(pool), lines, bins)


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
    return dataclasses.replace(d, x_values=x_values, y_values=y_values, runs=runs, counts=counts, contour=contour)


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


def on_axes(
    results: Runs, runs: pd.DataFrame, x: str, y: str, where: dict[str, Any], pool: Sequence[str]
) -> tuple[str, str, pd.DataFrame, np.ndarray]:
    """The full paths of the axes, the runs that are held at `where`, and which of all runs these are.

    Raises:
      FieldError: there are no runs, a path is unknown, or fields other than x, y, the seeds and `pool` differ, and not
        with x or y alone.
    """
    if not len(runs):
        raise FieldError("workdir", str(results.workdir), "holds no finished runs yet")
    fields = [c for c in map(str, runs.columns) if c not in ("run_id", "status", "steps") and "/" not in c]
    x, y = (f"{path}.type" if f"{path}.type" in fields else path for path in (x, y))  # a whole component as an axis
    for path in (x, y, *where, *pool):
        if path not in fields:
            raise unknown(path, fields)
    if x == y:
        raise FieldError("y", y, "must be another axis than x")
    keep = np.ones(len(runs), bool)
    for path, value in where.items():
        keep &= _held(runs[path], value)
        if not keep.any():
            raise FieldError(path, value, f"no run has it; there are {_listed(runs[path], 60)}")
    runs = runs[keep].reset_index(drop=True)
    for path in fields:
        if path in (x, y, *SEEDS, *pool) or runs[path].nunique(dropna=False) == 1:
            continue
        if follows(runs, path, (x, y)):
            continue
        by_type = [axis for axis in (x, y, *pool) if axis.endswith(".type") and path.startswith(axis[:-4])]
        if not by_type or runs.groupby(by_type)[path].nunique(dropna=False).max() > 1:
            why = f"differs between runs: hold it at one value with where ({path}=…), or name it in pool"
            raise FieldError(path, _listed(runs[path]), why)
    return x, y, runs, keep


def make_value_map(
    results: Runs, x: str, y: str, name: str, where: dict[str, Any], pool: Sequence[str], size: float
) -> ValueMap:
    """Cells over two fields with a number of their runs; see `Results.value_map`. Reads no curves."""
    x, y, runs, _ = on_axes(results, results.runs, x, y, where, pool)
    (x_values, columns), (y_values, rows) = (_places(runs[path]) for path in (x, y))
    return ValueMap.of(x, y, x_values, y_values, runs.assign(cell=rows * len(x_values) + columns), name, results, size)


def facet_values(runs: pd.DataFrame, by: str, taken: Sequence[str]) -> dict[str, Any]:
    """The values of a field that each have a diagram of their own, by their text; `taken` are fields that cannot be it.

    Raises:
      FieldError: there is no such field, or it is taken.
    """
    if by not in runs:
        raise unknown(by, [c for c in map(str, runs.columns) if "/" not in c])
    if by in taken:
        raise FieldError("by", by, "must be another field than the axes and what is held")
    values, _ = _places(runs[by])
    values = [None if v == "None" else v for v in values]
    return {f"{by.rpartition('.')[2]} = {value_name(v)}": v for v in values}


def _held(column: pd.Series, value: Any) -> np.ndarray:
    """Which runs have a value; a number that nobody has exactly stands for the only one within a percent of it."""
    if value is None:
        return column.isna().to_numpy()
    if isinstance(value, tuple):
        value = json.dumps(value)
    exact = (column == value).to_numpy()
    if exact.any() or isinstance(value, (str, bool)) or not pd.api.types.is_numeric_dtype(column):
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
    if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= MAX_BINS:
        raise FieldError("bins", bins, f"must be a whole number in [2, {MAX_BINS}]")
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
