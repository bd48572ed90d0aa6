"""A phase diagram: runs gathered into cells, with how sure each cell is."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.component import unknown
from sweeps import phases
from sweeps.phases import Definition, Phase
from sweeps.results import Results
from sweeps.statistics import censored_median, wilson

SEEDS = ("seed", "split_seed")
ACCURACIES = ("train/accuracy", "test/accuracy")
LEVELS = (0.1, 0.5)


@dataclasses.dataclass(frozen=True)
class Contour:
    """Lines around the cells in which a probe gets large, to be drawn over a diagram.

    Attributes:
      probe: its name, e.g. "train/collapse".
      levels: where lines are drawn, ascending: between cells below a level and cells at or above it.
      values: (y, x) mean over runs of the probe's largest value up to the budget; NaN where there are no runs.
    """

    probe: str
    levels: tuple[float, ...]
    values: np.ndarray

    def lines(self, level: float, x_edges: np.ndarray, y_edges: np.ndarray) -> np.ndarray:
        """Cell borders, (lines, 2 ends, 2 coordinates), that have the level on just one of their two sides."""
        known, high = np.isfinite(self.values), self.values >= level
        sides = (high[:, 1:] != high[:, :-1]) & known[:, 1:] & known[:, :-1]
        floors = (high[1:] != high[:-1]) & known[1:] & known[:-1]
        found = [[(x_edges[i + 1], y_edges[j]), (x_edges[i + 1], y_edges[j + 1])] for j, i in np.argwhere(sides)]
        found += [[(x_edges[i], y_edges[j + 1]), (x_edges[i + 1], y_edges[j + 1])] for j, i in np.argwhere(floors)]
        return np.array(found, float).reshape(-1, 2, 2)


@dataclasses.dataclass(frozen=True)
class Diagram:
    """Cells over two axes. Arrays are (y, x) unless they are of runs.

    Attributes:
      x, y: dotted paths of the axes.
      x_values, y_values: their values, ascending; numbers, or texts for structure.
      definition: thresholds, budget and gap that the phases follow.
      runs: the table of the runs drawn, with columns `phase`, `train_time`, `test_time`, `cell` (index into the
        flattened cells).
      curves: "step" and the accuracies, (runs, evaluations), in the order of `runs`.
      counts: (y, x, len(Phase)) runs of each phase.
      source: the results it was made of.
      contour: lines over the cells, or None.
    """

    x: str
    y: str
    x_values: list
    y_values: list
    definition: Definition
    runs: pd.DataFrame
    curves: dict[str, np.ndarray]
    counts: np.ndarray
    source: Results
    contour: Contour | None = None

    @functools.cached_property
    def seeds(self) -> np.ndarray:
        """Runs in each cell."""
        return self.counts.sum(-1)

    @functools.cached_property
    def majority(self) -> np.ndarray:
        """The most frequent phase of each cell (of equals the first in `Phase`); -1 where there are no runs."""
        return np.where(self.seeds > 0, self.counts.argmax(-1), -1)

    @functools.cached_property
    def agreement(self) -> np.ndarray:
        """Share of a cell's runs that are in its majority phase; NaN where there are no runs."""
        with np.errstate(invalid="ignore"):
            return self.counts.max(-1) / self.seeds

    @functools.cached_property
    def generalised(self) -> np.ndarray:
        """Share of a cell's runs that reached the threshold on train and test; NaN where there are no runs."""
        with np.errstate(invalid="ignore"):
            return self._generalised_count() / self.seeds

    @functools.cached_property
    def test_accuracy(self) -> np.ndarray:
        """Mean over a cell's runs of the test accuracy at their last evaluation up to the budget; NaN without runs."""
        last = _within(self.curves, self.definition.budget, "test/accuracy")[1]
        return _cell_means(last, self.runs["cell"].to_numpy(), self.seeds.shape)

    def generalised_interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's score interval of `generalised` (Wilson 1927), low and high."""
        low, high = np.full(self.seeds.shape, np.nan), np.full(self.seeds.shape, np.nan)
        count = self._generalised_count()
        for cell in np.argwhere(self.seeds > 0):
            i = tuple(cell)
            low[i], high[i] = wilson(int(count[i]), int(self.seeds[i]), confidence)
        return low, high

    @functools.cached_property
    def median_time(self) -> np.ndarray:
        """Kaplan–Meier median of the step at which test accuracy reaches the threshold; inf where half never did."""
        median = np.full(self.seeds.shape, np.nan)
        limit = self.definition.budget
        for cell, group in self.runs.groupby("cell", sort=False):
            reached = group["test_time"].to_numpy() <= limit
            ended = np.where(reached, group["test_time"], np.minimum(group["steps"], limit))
            median.ravel()[cell] = censored_median(ended, reached)
        return median

    @functools.cached_property
    def observed(self) -> np.ndarray:
        """The step, at most the budget, to which all runs of a cell that did not reach the threshold were watched."""
        limit = self.definition.budget
        ended = np.full(self.seeds.size, limit)
        late = self.runs["test_time"].to_numpy() > limit
        np.minimum.at(ended, self.runs["cell"].to_numpy()[late], self.runs["steps"].to_numpy()[late])
        return ended.reshape(self.seeds.shape)

    def cell_table(self) -> pd.DataFrame:
        """A row per cell: axes, seeds, counts of each phase, majority, agreement, P(generalised), median time."""
        low, high = self.generalised_interval()
        yy, xx = np.meshgrid(np.arange(len(self.y_values)), np.arange(len(self.x_values)), indexing="ij")
        columns: dict[str, Any] = {
            self.x: np.array(self.x_values, object)[xx.ravel()],
            self.y: np.array(self.y_values, object)[yy.ravel()],
            "seeds": self.seeds.ravel(),
            **{phase.name.lower(): self.counts[..., phase].ravel() for phase in Phase},
            "majority": [Phase(m).name.lower() if m >= 0 else "" for m in self.majority.ravel()],
            "agreement": self.agreement.ravel(),
            "p_generalised": self.generalised.ravel(),
            "p_low": low.ravel(),
            "p_high": high.ravel(),
            "median_test_time": self.median_time.ravel(),
            "observed_to": self.observed.ravel(),
            "test_accuracy": self.test_accuracy.ravel(),
        }
        if self.contour is not None:
            columns[f"largest {self.contour.probe}"] = self.contour.values.ravel()
        return pd.DataFrame(columns)

    def to_csv(self, path: str | Path) -> None:
        """Writes `cell_table`; a median that was not reached is written as `inf`."""
        self.cell_table().to_csv(path, index=False)

    def plot(self, path: str | Path) -> None:
        """Writes the figure as PNG, SVG or PDF, by the path's ending."""
        from sweeps.report.figure import draw  # matplotlib is slow to import

        draw(self, path)

    def page(self, path: str | Path) -> None:
        """Writes the interactive page: one HTML file that needs no network."""
        from sweeps.report.page import write_page  # bokeh is slow to import

        write_page(self, path)

    def _generalised_count(self) -> np.ndarray:
        return self.counts[..., Phase.COMPREHENSION] + self.counts[..., Phase.GROKKING]


def make_diagram(
    results: Results,
    x: str,
    y: str,
    definition: Definition,
    where: dict[str, Any],
    contour: str | None = None,
    levels: tuple[float, ...] = LEVELS,
) -> Diagram:
    """The diagram of stored runs over the fields `x` and `y`; see `Results.phase_diagram`."""
    runs = results.runs
    results = Results(results.workdir, set(runs["run_id"]))  # the same runs below, should others be added meanwhile
    if not len(runs):
        raise FieldError("workdir", str(results.workdir), "holds no finished runs yet")
    fields = [c for c in map(str, runs.columns) if c not in ("run_id", "status", "steps") and "/" not in c]
    x, y = (f"{path}.type" if f"{path}.type" in fields else path for path in (x, y))  # a whole component as an axis
    for path in (x, y, *where):
        if path not in fields:
            raise unknown(path, fields)
    if x == y:
        raise FieldError("y", y, "must be another axis than x")
    keep = np.ones(len(runs), bool)
    for path, value in where.items():
        keep &= _held(runs[path], value)
        if not keep.any():
            raise FieldError(path, value, f"no run has it; there are {_listed(runs[path], 60)}")
    extra = [contour] if contour else []
    curves = {name: values[keep] for name, values in results.curves(*ACCURACIES, *extra).items()}
    runs = runs[keep].reset_index(drop=True)
    for path in fields:
        if path in (x, y, *SEEDS) or runs[path].nunique(dropna=False) == 1:
            continue
        by_type = [axis for axis in (x, y) if axis.endswith(".type") and path.startswith(axis.removesuffix("type"))]
        if not by_type or runs.groupby(by_type)[path].nunique(dropna=False).max() > 1:
            why = f"differs between runs: hold it at one value with where ({path}=…)"
            raise FieldError(path, _listed(runs[path]), why)

    train, test = (
        phases.times(curves["step"], curves[a], definition.threshold, definition.sustained) for a in ACCURACIES
    )
    untested = np.isnan(curves["test/accuracy"]).all(axis=1)  # no test rows: never more than undecided
    observed = np.where(untested, -1, runs["steps"].to_numpy())
    label = phases.phases(train, test, observed, (runs["status"] == "diverged").to_numpy(), definition)
    (x_values, columns), (y_values, rows) = (_places(runs[path]) for path in (x, y))
    counts = np.zeros((len(y_values), len(x_values), len(Phase)), int)
    np.add.at(counts, (rows, columns, label), 1)
    cells = rows * len(x_values) + columns
    runs = runs.assign(phase=label, train_time=train, test_time=test, cell=cells)
    lines = None
    if contour:
        for level in levels:
            if isinstance(level, bool) or not isinstance(level, (int, float)) or not np.isfinite(level):
                raise FieldError("levels", level, "must be numbers")
        largest = _within(curves, definition.budget, contour)[0]
        lines = Contour(contour, tuple(sorted(levels)), _cell_means(largest, cells, counts.shape[:2]))
    return Diagram(x, y, x_values, y_values, definition, runs, curves, counts, results, lines)


def _within(curves: dict[str, np.ndarray], budget: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the last value of each run's curve up to the budget."""
    seen = (curves["step"] <= budget) & np.isfinite(curves[name])
    largest = np.max(curves[name], axis=1, where=seen, initial=-np.inf)
    last = curves[name].shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    ever = seen.any(axis=1)
    at_last = np.take_along_axis(curves[name], last[:, None], 1)[:, 0]
    return np.where(ever, largest, np.nan), np.where(ever, at_last, np.nan)


def _cell_means(of_runs: np.ndarray, cells: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean over each cell's runs, (y, x); runs without a value are left out."""
    known = np.isfinite(of_runs)
    count = np.bincount(cells[known], minlength=shape[0] * shape[1])
    total = np.bincount(cells[known], of_runs[known], minlength=shape[0] * shape[1])
    with np.errstate(invalid="ignore"):
        return (total / count).reshape(shape)


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


def _listed(values: pd.Series, most: int = 6) -> str:
    found = sorted(values.dropna().unique())
    texts = [value_name(v) for v in found] + ["None"] * bool(values.isna().any())
    return ", ".join(texts[:most]) + (" …" if len(texts) > most else "")


def value_name(value: Any) -> str:
    """A value on an axis of texts."""
    return f"{value:g}" if isinstance(value, float) else str(value)
