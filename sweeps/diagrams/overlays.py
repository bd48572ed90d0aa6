"""What a theory says, computed from the axes of a diagram and drawn over what was measured."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.errors import check_list, check_type
from sweeps.axes.scales import LOGARITHMIC
from sweeps.diagrams.plane import Axis, OnPlane, check_fields

POINTS = 512
"""Intervals along an axis in which a curve is computed, even as the axis runs; of these 128 along steps."""
ALONG = "x", "y", "step"


@dataclasses.dataclass(frozen=True)
class Overlay:
    """A curve of theory: over the map, or over the curves of a cell's runs.

    >>> edge = Overlay("n = M ln M", lambda M: M * np.log(M))
    >>> halving = Overlay("2^(-t/100)", lambda t: 0.5 ** (t / 100), along="step")

    Attributes:
      name: its entry in the legend.
      curve: a function of NumPy numbers along an axis that gives as many: along "x" those of y, along "y" those of x,
        along "step" the metric's. NaN is a gap.
      along: what it is a function of.
      fields: dotted paths whose values it takes after them, each a single one: of all runs that are drawn, along "step"
        of a cell's.

    Raises:
      FieldError: a part is not of its kind.
    """

    name: str
    curve: Callable[..., np.ndarray | float]
    along: str = "x"
    fields: Sequence[str] = ()

    def __post_init__(self):
        check_type("overlay.name", self.name, str, "text")
        if not self.name.isprintable() or not self.name.strip():
            raise FieldError("overlay.name", self.name, "must be printable text")
        if not callable(self.curve):
            raise FieldError(f"overlay {self.name}", self.curve, "must be a function of numbers along an axis")
        if self.along not in ALONG:
            raise FieldError(f"overlay {self.name}: along", self.along, f"must be one of {', '.join(ALONG)}")
        check_list(f"overlay {self.name}: fields", self.fields, str, "dotted paths")

    def at(self, numbers: np.ndarray, runs: pd.DataFrame) -> np.ndarray:
        """The curve at numbers along its axis, of as many; NaN where it has a gap.

        Raises:
          FieldError: one of the fields differs between the runs, or the function gave infinities or another shape.
        """
        where = f"overlay {self.name}"
        check_fields(self.fields, runs)
        for path in self.fields:
            if runs[path].nunique(dropna=False) > 1:
                some = ", ".join(map(str, runs[path].unique()[:6]))
                raise FieldError(f"{where}: {path}", some, "differs between the runs: hold it at one value with where")
        with np.errstate(all="ignore"):
            found = np.asarray(self.curve(numbers.copy(), *(runs[path].iloc[0] for path in self.fields)))
        if found.shape not in ((), numbers.shape) or found.dtype.kind not in "iuf":
            why = f"must give numbers of shape {numbers.shape}, one for each along {self.along}"
            raise FieldError(where, f"{found.dtype} {found.shape}", why)
        found = np.broadcast_to(found, numbers.shape).astype(float)
        if np.isinf(found).any():
            at = numbers[int(np.argmax(np.isinf(found)))]
            raise FieldError(where, float(found[np.isinf(found)][0]), f"is infinite at {self.along} = {at:.6g}")
        return found


def map_line(overlay: Overlay, drawn: OnPlane, runs: pd.DataFrame) -> np.ndarray:
    """What an overlay along x or y looks like on the map, (points, 2) positions x and y, with rows of NaN at its gaps.

    It ends where it leaves the map. A 0 beside a logarithmic axis is where `sweeps.axes.scales.positions` has it, and
    so are the numbers between it and that place.

    Raises:
      FieldError: an axis is of texts, or as `Overlay.at`.
    """
    axis, other = drawn.axes if overlay.along == "x" else drawn.axes[::-1]
    for one in (axis, other):
        if one.kind == "categorical":
            raise FieldError(
                f"overlay {overlay.name}", one.label, "is no axis of numbers: no curve can be drawn over it"
            )
    low, high = axis.edges[[0, -1]]
    logarithmic = axis.kind in LOGARITHMIC
    along = np.geomspace(low, high, POINTS + 1) if logarithmic else np.linspace(low, high, POINTS + 1)
    numbers = along
    if axis.kind == "symlog":
        numbers = np.where(along <= axis.positions[0], 0.0, along)
    value = overlay.at(numbers, runs)
    if other.kind == "symlog":
        value = np.where(value >= 0, np.maximum(value, other.positions[0]), value)
    line = _within(along, value, logarithmic, other)
    return line if overlay.along == "x" else line[:, ::-1]


def _within(along: np.ndarray, value: np.ndarray, logarithmic: bool, other: Axis) -> np.ndarray:
    """The parts of a line of points that are within the other axis, cut at its ends."""
    forth = lambda numbers, log: np.log(np.where(numbers > 0, numbers, np.nan)) if log else numbers  # noqa: E731
    back = lambda numbers, log: np.exp(numbers) if log else numbers  # noqa: E731
    logs = other.kind in LOGARITHMIC
    t, v = forth(along, logarithmic), forth(value, logs)
    low, high = forth(other.edges[[0, -1]], logs)
    start, step = v[:-1], np.diff(v)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.sort([(low - start) / step, (high - start) / step], axis=0)
    level = step == 0
    inside = (start >= low) & (start <= high)
    first = np.where(level, np.where(inside, 0, np.nan), np.maximum(ends[0], 0))
    last = np.where(level, 1, np.minimum(ends[1], 1))
    points: list[tuple[float, float]] = []
    for i in np.flatnonzero(first < last):
        a, b = ((t[i] + share * (t[i + 1] - t[i]), start[i] + share * step[i]) for share in (first[i], last[i]))
        if points and i and last[i - 1] == 1 and first[i] == 0:
            points.append(b)
        else:
            points += [(np.nan, np.nan)] * bool(points) + [a, b]
    line = np.array(points, float).reshape(-1, 2)
    return np.stack([back(line[:, 0], logarithmic), back(line[:, 1], logs)], axis=1)


def step_curves(overlay: Overlay, steps: np.ndarray, runs: pd.DataFrame) -> dict[int, np.ndarray]:
    """The metric that an overlay along steps says of each cell that has runs, by the cell's index, at the steps.

    Raises:
      FieldError: as `Overlay.at`.
    """
    if not overlay.fields:
        return dict.fromkeys(np.unique(runs["cell"]).tolist(), overlay.at(steps, runs))
    return {int(cell): overlay.at(steps, of) for cell, of in runs.groupby("cell")}
