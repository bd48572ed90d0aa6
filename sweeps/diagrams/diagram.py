"""A phase diagram: runs gathered into cells, with how sure each cell is."""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from sweeps import statistics
from sweeps.axes.scales import LOGARITHMIC
from sweeps.diagrams import compare, phases
from sweeps.diagrams.guessing import Guess, guess
from sweeps.diagrams.labels import FOUR_PHASES, Labelling
from sweeps.diagrams.overlays import POINTS, Overlay, map_line, step_curves
from sweeps.diagrams.phases import Definition, Phase
from sweeps.diagrams.plane import SEEDS, Axis, OnPlane
from sweeps.diagrams.values import ValueMap
from sweeps.statistics.boundary import Boundary, fit
from sweeps.storage.files import write_csv
from sweeps.storage.runs import Runs, dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = "train_time", "test_time"
DEFINED = "label", "test_after", "delay", *TIMES
"""Columns of a diagram's runs that follow from its definition."""


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


@dataclasses.dataclass(frozen=True, repr=False)
class Diagram(OnPlane):
    """Cells over two axes. Arrays are (y, x) unless they are of runs.

    Attributes:
      x_axis, y_axis: the axes, each with the values at which it has cells; `x`, `y`, `x_values`, `y_values` are theirs.
      definition: metric, threshold, budget and gap that times and labels follow.
      labelling: what runs are called.
      runs: the table of the runs drawn, with columns of derived axes, `label` (index into the labelling's labels),
        `train_time` and `test_time` (inf where not reached), `test_after` (the last evaluation before `test_time`: it
        is not known more precisely), `delay` (test_time - train_time; NaN where neither was reached), `until` (step up
        to which the run is known), `cell` (index into the flattened cells).
      curves: "step" and those of the metric, (runs, evaluations), in the order of `runs`.
      counts: (y, x, labels) runs of each label.
      source: the results it was made of.
      held: values that other fields were held at.
      pooled: fields whose values were taken together.
      contour: lines over the cells, or None.
      overlays: what theories say.
      pending, running: cells that wait for runs, and that have runs in training; None where that was not asked.
    """

    x_axis: Axis
    y_axis: Axis
    definition: Definition
    labelling: Labelling
    runs: pd.DataFrame
    curves: dict[str, np.ndarray]
    counts: np.ndarray
    source: Runs
    held: dict[str, object]
    pooled: tuple[str, ...] = ()
    contour: Contour | None = None
    overlays: tuple[Overlay, ...] = ()
    pending: np.ndarray | None = None
    running: np.ndarray | None = None
    figure: ClassVar[Callable[..., "Figure"]]  # these are bound by `sweeps.report`: a diagram knows no pictures
    plot: ClassVar[Callable[..., None]]
    page: ClassVar[Callable[..., None]]
    _repr_html_: ClassVar[Callable[..., str]]

    @functools.cached_property
    def seeds(self) -> np.ndarray:
        """Runs in each cell."""
        return self.counts.sum(-1)

    @property
    def sampled(self) -> str:
        """What differs between the runs of a cell: the sampling unit that intervals are over."""
        one = lambda name: self.runs[name].nunique() == 1  # noqa: E731
        if one("split_seed"):
            return "one seed" if one("seed") else "one train split, initialisation varies"
        if one("seed"):
            return "one initialisation, train split varies"
        if (self.runs["seed"] == self.runs["split_seed"]).all():
            return "train split and initialisation vary"
        count = {name: self.runs[name].nunique() for name in ("seed", "split_seed")}
        return f"{count['seed']} initialisations × {count['split_seed']} train splits"

    @functools.cached_property
    def mixed(self) -> bool:
        """Whether runs of a cell differ in more than seed and train split, as where it is a bin, or pooled."""
        return bool(self.runs.duplicated(["cell", "seed", "split_seed"]).any())

    @property
    def followers(self) -> dict[str, str]:
        """Fields that differ along one axis only, as by `sweeps.tie`, and that axis."""
        used = {self.x, self.y, *self.x_axis.fields, *self.y_axis.fields, *self.pooled}
        paths = (p for p in self.runs if "." in p and "/" not in p and p not in used)
        found = ((p, follows(self.runs, p, (self.x, self.y))) for p in paths if self.runs[p].nunique(dropna=False) > 1)
        return {path: axis for path, axis in found if axis}

    @functools.cached_property
    def units(self) -> np.ndarray:
        """Numbers of what runs share their randomness in, (runs,): of each run its seed, or its train split's.

        Of the two that with fewer values, if it differs at all: runs that share either are not independent.
        """
        seed, split = (self.runs[name].to_numpy() for name in ("seed", "split_seed"))
        varied = [n for n in (seed, split) if len(np.unique(n)) > 1]
        return min(varied, key=lambda numbers: len(np.unique(numbers)), default=seed)

    @functools.cached_property
    def majority(self) -> np.ndarray:
        """The most frequent label of each cell (of equals the first); -1 where there are no runs."""
        return np.where(self.seeds > 0, self.counts.argmax(-1), -1)

    @functools.cached_property
    def agreement(self) -> np.ndarray:
        """Share of a cell's runs that have its majority label; NaN where there are no runs."""
        with np.errstate(invalid="ignore"):
            return self.counts.max(-1) / self.seeds

    @functools.cached_property
    def margin(self) -> np.ndarray:
        """How far the majority's share is above the second label's; 0 is a tie, NaN where there are no runs."""
        second = np.partition(self.counts, -2, axis=-1)[..., -2] if self.counts.shape[-1] > 1 else 0
        with np.errstate(invalid="ignore"):
            return (self.counts.max(-1) - second) / self.seeds

    @functools.cached_property
    def resolved(self) -> np.ndarray:
        """Cells whose majority stays if delays move within one interval between evaluations; all those without runs.

        Train and test reach the threshold at some step before the evaluation that shows it, so a delay is
        known to less than `training.evaluate_every` steps to either side. Of the four phases: others have no gap.
        """
        stays = np.ones(self.seeds.shape, bool)
        if self.labelling is not FOUR_PHASES:
            return stays
        label, cells, gap = self.runs["label"].to_numpy(), self.runs["cell"].to_numpy(), self.definition.gap
        delay, every = self.runs["delay"].to_numpy(), self.runs["training.evaluate_every"].to_numpy()
        every = np.where(self.runs["status"] == "exact", 0, every)
        for phase, other, near in (
            (Phase.COMPREHENSION, Phase.GROKKING, delay + every > gap),
            (Phase.GROKKING, Phase.COMPREHENSION, delay - every < gap),
        ):
            turned = np.bincount(cells[(label == phase) & near], minlength=self.seeds.size).reshape(self.seeds.shape)
            counts = self.counts.copy()
            counts[..., phase] -= turned
            counts[..., other] += turned
            stays &= (counts.argmax(-1) == self.majority) | (self.seeds == 0)
        return stays

    @functools.cached_property
    def event_count(self) -> np.ndarray:
        """Runs whose label is in the labelling's event (for the four phases: that generalised)."""
        return self.counts[..., self.labelling.indices(self.labelling.event)].sum(-1)

    @functools.cached_property
    def decided(self) -> np.ndarray:
        """Runs of each cell whose label says whether the event happened: all but the labelling's undecided ones."""
        return self.seeds - self.counts[..., self.labelling.indices(self.labelling.undecided)].sum(-1)

    @property
    def undecided(self) -> np.ndarray:
        """Whether a label is one of the labelling's undecided ones, (runs,)."""
        return self.runs["label"].isin(self.labelling.indices(self.labelling.undecided)).to_numpy()

    @functools.cached_property
    def guess(self) -> Guess | None:
        """What a run that only guesses would do; see `guessing.guess`."""
        return guess(self)

    @functools.cached_property
    def probability(self) -> np.ndarray:
        """P(event): its share of a cell's decided runs; NaN where there are none."""
        with np.errstate(invalid="ignore"):
            return self.event_count / self.decided

    @functools.cached_property
    def probability_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """P(event) if all undecided runs of a cell failed, and if all succeeded; NaN where there are no runs.

        Which runs are undecided depends on what they did before (a stop rule ends those that succeed, a budget beyond
        the training leaves those that have not), so they are not like the others, and no interval of these says it.
        """
        with np.errstate(invalid="ignore"):
            return self.event_count / self.seeds, (self.event_count + self.seeds - self.decided) / self.seeds

    @functools.cached_property
    def movable(self) -> np.ndarray:
        """Cells in which the undecided runs decide whether P(event) > 1/2: no line is drawn through them."""
        least, most = self.probability_bounds
        return (least <= 0.5) & (most > 0.5) & (self.decided < self.seeds)

    def probability_interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's score interval of `probability` (Wilson 1927), low and high."""
        return statistics.wilson(self.event_count, self.decided, confidence)

    @functools.cached_property
    def last_test(self) -> np.ndarray:
        """Mean over a cell's runs of the metric on test at their last evaluation up to the budget; NaN without runs."""
        last = phases.within(self.curves, self.definition.budget, self.definition.curves[1])[1]
        return cell_means(last, self.runs["cell"].to_numpy(), self.seeds.shape)

    @functools.cached_property
    def _median(self) -> statistics.Estimate[np.ndarray]:
        found = statistics.grouped_median(self.runs["cell"].to_numpy(), self.seeds.size, *self.times())
        return found.reshape(self.seeds.shape)

    @property
    def median_time(self) -> np.ndarray:
        """Kaplan–Meier median of the step at which test reaches the threshold; inf where half never did.

        Runs that were watched for less than the budget are censored where observation ended; runs that diverged or
        froze before count as never reaching it. NaN where there are no runs.
        """
        return self._median.value

    def median_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The median's interval at 95 % (Brookmeyer and Crowley 1982), low and high.

        A high of inf was not reached; of a low of 0 nothing is known, as with five runs or fewer.
        """
        return self._median.low, self._median.high

    @functools.cached_property
    def resolution(self) -> np.ndarray:
        """Steps between the evaluation that gives `median_time` and the one before: no time is known more precisely."""
        cells, time = self.runs["cell"].to_numpy(), self.runs["test_time"].to_numpy()
        width = np.full(self.seeds.size, np.nan)
        here = np.isfinite(time) & (time == self.median_time.ravel()[cells])
        np.fmax.at(width, cells[here], (time - self.runs["test_after"].to_numpy())[here])
        return width.reshape(self.seeds.shape)

    @functools.cached_property
    def _restricted_mean(self) -> statistics.Estimate[np.ndarray]:
        cells, budget = self.runs["cell"].to_numpy(), self.definition.budget
        found = statistics.grouped_restricted_mean(cells, self.seeds.size, *self.times(), budget)
        return found.reshape(self.seeds.shape)

    @property
    def restricted_mean(self) -> np.ndarray:
        """Mean of min(T, budget) over seeds, T the step at which test reaches the threshold (Kaplan–Meier)."""
        return self._restricted_mean.value

    def restricted_mean_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Interval of the mean of min(T, budget) at 95 %, whatever undecided runs did; NaN with fewer than three runs.

        See `sweeps.statistics.grouped_restricted_mean`.
        """
        return self._restricted_mean.low, self._restricted_mean.high

    def times(self) -> tuple[np.ndarray, np.ndarray]:
        """When each run reached the threshold on test, or until when it is known not to; and whether it did."""
        budget, time = self.definition.budget, self.runs["test_time"].to_numpy()
        reached = time <= budget
        never = (self.runs["status"] == "diverged").to_numpy()
        seen = np.minimum(np.where(never, budget, np.maximum(self.runs["until"].to_numpy(), 0)), budget)
        return np.where(reached, time, seen), reached

    @functools.cached_property
    def observed(self) -> np.ndarray:
        """The step, at most the budget, to which all runs of a cell that did not reach the threshold were watched."""
        limit = self.definition.budget
        ended = np.full(self.seeds.size, limit)
        late = self.runs["test_time"].to_numpy() > limit
        np.minimum.at(ended, self.runs["cell"].to_numpy()[late], self.runs["steps"].to_numpy()[late])
        return ended.reshape(self.seeds.shape)

    @functools.cached_property
    def unwatched(self) -> np.ndarray:
        """Cells whose median is infinite and might not be, had all their undecided runs been watched to the budget."""
        ended, reached = self.times()
        may = reached | (ended < self.definition.budget)
        count = np.bincount(self.runs["cell"].to_numpy()[may], minlength=self.seeds.size).reshape(self.seeds.shape)
        return np.isinf(self.median_time) & (2 * count >= self.seeds)

    @functools.cached_property
    def boundary(self) -> Boundary | None:
        """Where P(event | x, y) = 1/2, fitted to the decided runs, with its band; see `sweeps.boundary`.

        Its `bounds` say what the area is whatever the undecided runs are. A 0 on a logarithmic axis is where
        `sweeps.axes.scales.positions` has it. None where an axis is of texts or seeds, or has fewer than three values,
        and where most cells of a grid have no runs: all that is said of these would be guessed.
        """
        kinds = [axis.kind for axis in self.axes]
        least = min(len(self.x_values), len(self.y_values), *self.runs[[self.x, self.y]].nunique())
        if "categorical" in kinds or least < 3 or {self.x, self.y} & set(SEEDS):
            return None
        if not any(axis.bins for axis in self.axes) and np.mean(self.seeds > 0) <= 0.5:
            return None
        event = self.labelling.events(self.runs["label"].to_numpy())
        if np.isnan(event).all():
            return None
        row, column = np.divmod(self.runs["cell"].to_numpy(), len(self.x_values))
        x, y = (
            axis.positions[place] if axis.kind == "symlog" else self.runs[axis.name].to_numpy(float)
            for axis, place in ((self.x_axis, column), (self.y_axis, row))
        )
        across, up = ("log" if kind in LOGARITHMIC else "linear" for kind in kinds)
        return fit(x, y, event, self.units, (across, up))

    def value_map(self, name: str, size: float = 1) -> ValueMap:
        """Any number of `runs` over these cells, also times and delays; see `Results.value_map`.

        Times after the budget count as not reached.
        """
        train, test = (self.runs[c].where(self.runs[c] <= self.definition.budget, np.inf) for c in TIMES)
        runs = self.runs.assign(train_time=train, test_time=test, delay=phases.delay(train.to_numpy(), test.to_numpy()))
        numbers = ValueMap.of(self.axes, runs, name, self.source, size)
        undecided = np.bincount(self.runs["cell"].to_numpy()[self.undecided], minlength=self.seeds.size)
        definition = self.definition if name in DEFINED else None
        return dataclasses.replace(numbers, undecided=undecided.reshape(self.seeds.shape), definition=definition)

    def compare(self, other: "Diagram") -> pd.DataFrame:
        """This diagram and another over the same axes, cell by cell, on the seeds of both; see `sweeps.compare`."""
        return compare.compare(self, other)

    def cell_table(self) -> pd.DataFrame:
        """A row per cell: axes, seeds, counts of each label, majority, P(event) and times, each with its interval.

        A `median_low` of 0 says that nothing is known of the lower end, as with five runs or fewer.

        `p_least` and `p_most` are the `probability_bounds`; `resolved` says whether the majority stays if delays move
        within one interval between evaluations. Last stands `last_test`, called after the metric: "test_accuracy".
        """
        p_low, p_high = self.probability_interval()
        p_least, p_most = self.probability_bounds
        time_low, time_high = self.median_interval()
        mean_low, mean_high = self.restricted_mean_interval()
        names = [name.replace(" ", "_") for name in self.labelling.names]
        columns = {
            **self.cell_values(),
            "seeds": self.seeds.ravel(),
            **{name: self.counts[..., index].ravel() for index, name in enumerate(names)},
            "majority": [names[m] if m >= 0 else "" for m in self.majority.ravel()],
            "agreement": self.agreement.ravel(),
            "margin": self.margin.ravel(),
            "resolved": self.resolved.ravel(),
            "decided": self.decided.ravel(),
            "p": self.probability.ravel(),
            "p_low": p_low.ravel(),
            "p_high": p_high.ravel(),
            "p_least": p_least.ravel(),
            "p_most": p_most.ravel(),
            "median_test_time": self.median_time.ravel(),
            "median_low": time_low.ravel(),
            "median_high": time_high.ravel(),
            "resolution": self.resolution.ravel(),
            "restricted_mean": self.restricted_mean.ravel(),
            "restricted_mean_low": mean_low.ravel(),
            "restricted_mean_high": mean_high.ravel(),
            "observed_to": self.observed.ravel(),
            self.definition.column: self.last_test.ravel(),
        }
        if self.contour is not None:
            columns[f"largest {self.contour.probe}"] = self.contour.values.ravel()
        return pd.DataFrame(columns)

    def to_xarray(self) -> xr.Dataset:
        """`cell_table` as a dataset over the two axes, which are its dimensions (their last words) and coordinates.

        It can be written as netCDF, of version 3 too; names have a dot where the table has a slash.
        """
        table = self.cell_table().drop(columns=[self.x, self.y])
        names = [re.sub(r"\W+", "_", axis.label).strip("_") for axis in (self.y_axis, self.x_axis)]
        if names[0] == names[1] or not all(names) or {*names} & {*table}:
            names = [axis.name.replace("/", ".") for axis in (self.y_axis, self.x_axis)]
        data = {name: (names, table[name].to_numpy().reshape(self.seeds.shape)) for name in table}
        coordinates = {name: ([name], values) for name, values in zip(names, (self.y_values, self.x_values))}
        return dataset(data, coordinates, {"definition": str(self.definition), **self.held})

    def to_csv(self, path: str | Path) -> None:
        """Writes `cell_table`, in which `inf` was not reached, and beside it NAME_overlays: `overlay_table`, if any."""
        write_csv(self.cell_table(), path)
        if self.overlays:
            path = Path(path)
            write_csv(self.overlay_table(), path.with_name(f"{path.stem}_overlays{path.suffix}"))

    def map_lines(self) -> dict[str, np.ndarray]:
        """What the overlays along x and y look like on the map, by name; see `overlays.map_line`."""
        return {one.name: map_line(one, self, self.runs) for one in self.overlays if one.along != "step"}

    @functools.cached_property
    def step_curves(self) -> tuple[np.ndarray, dict[str, dict[int, np.ndarray]]]:
        """Steps from the first evaluation after 0 to the last, and what overlays say there, by name and cell."""
        found = self.curves["step"]
        first = np.min(found, where=found > 0, initial=self.definition.budget)
        steps = np.geomspace(first, max(np.nanmax(found), self.definition.budget, 2 * first), POINTS // 4 + 1)
        of_steps = (one for one in self.overlays if one.along == "step")
        return steps, {one.name: step_curves(one, steps, self.runs) for one in of_steps}

    def overlay_table(self) -> pd.DataFrame:
        """A row per point of the overlays: x and y; along steps the cell's x and y (none: all), step and metric."""
        metric = self.definition.column
        found = self.map_lines().items()
        lines = [pd.DataFrame({"overlay": name, self.x: line[:, 0], self.y: line[:, 1]}) for name, line in found]
        steps, curves = self.step_curves
        at_cells = self.cell_values()
        for one in (one for one in self.overlays if one.name in curves):
            of_cells = curves[one.name].items() if one.fields else [(None, one.at(steps, self.runs))]
            for cell, values in of_cells:
                at = {axis: None if cell is None else column[cell] for axis, column in at_cells.items()}
                lines.append(pd.DataFrame({"overlay": one.name, **at, "step": steps, metric: values}))
        return pd.concat(lines, ignore_index=True)


def cell_means(of_runs: np.ndarray, cells: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean over each cell's runs, (y, x); runs without a value are left out."""
    known = np.isfinite(of_runs)
    count = np.bincount(cells[known], minlength=shape[0] * shape[1])
    total = np.bincount(cells[known], of_runs[known], minlength=shape[0] * shape[1])
    with np.errstate(invalid="ignore"):
        return (total / count).reshape(shape)


def follows(runs: pd.DataFrame, path: str, axes: Sequence[str]) -> str:
    """The axis whose value decides that of another field in all runs; "" where neither does."""
    values, texts = runs[path].map(str), ((axis, runs[axis].map(str)) for axis in axes)
    told = (axis for axis, of in texts if of.nunique() < len(runs) and values.groupby(of).nunique().max() == 1)
    return next(told, "")
