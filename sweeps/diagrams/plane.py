"""The axes of a diagram: fields of the runs, or quantities that are computed from them."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.components import unknown
from jaxgen.errors import check_list, check_type
from sweeps.axes import scales
from sweeps.axes.scales import value_name
from sweeps.storage.runs import Runs

SEEDS = ("seed", "split_seed")
NOISE = 1e-9
"""Numbers of a `Derived` axis that differ by less than this share of themselves are one value."""
DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Derived:
    """An axis that is computed from fields of the runs.

    >>> rows = Derived("n / (M ln M)", ["task.train_fraction", "task.p"], lambda f, M: f * M / np.log(M))

    Values that differ by rounding (less than 1e-9 of themselves) are one. The fields need not be held, for the axis
    says what they are. Where several combinations of them give the same value at the same value of the other axis,
    their runs are one cell only if the fields are named in `pool`, or in `stands_for`.

    Attributes:
      name: what is printed along the axis.
      fields: dotted paths that it is computed from.
      compute: a function of their columns, NumPy arrays (runs,) in the order of `fields`, that gives numbers (runs,).
      unit: what it is measured in, printed in brackets.
      stands_for: those of the fields of which nothing matters but this axis: runs that differ in them are one cell.

    Raises:
      FieldError: a part is not of its kind.
    """

    name: str
    fields: Sequence[str]
    compute: Callable[..., np.ndarray]
    unit: str = ""
    stands_for: Sequence[str] = ()

    def __post_init__(self):
        check_type("axis.name", self.name, str, "text")
        if not self.name.isprintable() or not self.name.strip() or re.fullmatch(r"[\w-]+(\.[\w-]+)+", self.name):
            raise FieldError("axis.name", self.name, "must be printable text, and no dotted path")
        check_type(f"axis {self.name}: unit", self.unit, str, "text")
        for part in ("fields", "stands_for"):
            check_list(f"axis {self.name}: {part}", getattr(self, part), str, "dotted paths")
        if not self.fields:
            raise FieldError(f"axis {self.name}: fields", self.fields, "must be one or more dotted paths")
        for path in self.stands_for:
            if path not in self.fields:
                raise unknown(path, list(self.fields))
        if not callable(self.compute):
            raise FieldError(f"axis {self.name}: compute", self.compute, "must be a function of columns")

    @property
    def label(self) -> str:
        """Name and unit: what the column of the axis is called."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    def values(self, runs: pd.DataFrame) -> np.ndarray:
        """The quantity of each run, (runs,), where rounding makes no difference.

        Raises:
          FieldError: a field is unknown, or the function gave no finite numbers of this shape.
        """
        check_fields(self.fields, runs)
        columns = [runs[path].to_numpy() for path in self.fields]
        with np.errstate(all="ignore"):
            found, again = (np.asarray(self.compute(*(column.copy() for column in columns))) for _ in range(2))
        if found.shape != (len(runs),) or found.dtype.kind not in "iuf":
            why = f"must be computed as numbers of shape {(len(runs),)}, one for each run"
            raise FieldError(f"axis {self.name}", f"{found.dtype} {found.shape}", why)
        if not np.isfinite(found).all():
            first = runs.iloc[int(np.argmin(np.isfinite(found)))]
            at = ", ".join(f"{path} = {first[path]}" for path in self.fields)
            raise FieldError(f"axis {self.name}", found[~np.isfinite(found)][0].item(), f"is not finite at {at}")
        if not np.array_equal(found, again):
            raise FieldError(f"axis {self.name}", self.compute, "gave other numbers when it was asked again")
        return _without_noise(found) if found.dtype.kind == "f" else found


def check_fields(paths: Iterable[str], runs: pd.DataFrame) -> None:
    """FieldError where runs have no such field, with the nearest that they have; curves and last values are none."""
    for path in paths:
        if path not in runs:
            raise unknown(path, [c for c in map(str, runs.columns) if "/" not in c])


def _without_noise(values: np.ndarray) -> np.ndarray:
    """Floats to twelve digits, with those that are as good as equal made so."""
    some, places = np.unique(values, return_inverse=True)
    some = np.array([float(f"{value:.{DIGITS}g}") for value in some])
    new = np.diff(some) > NOISE * np.maximum(np.abs(some[1:]), np.abs(some[:-1]))
    cluster = np.concatenate([[0], np.cumsum(new)]).astype(int)
    return some[np.searchsorted(cluster, cluster)][places]  # the least of each cluster


@dataclasses.dataclass(frozen=True)
class Axis:
    """One side of a diagram.

    Attributes:
      name: the column of the runs that it is of: a dotted path, or the label of a derived quantity.
      values: ascending; numbers, or texts for structure.
      derived: how it is computed, where it is no field.
      bins: into how many cells the runs' values were gathered, or None.
      words: how many last parts of a path are printed, to tell it from that of the other side.
    """

    name: str
    values: list
    derived: Derived | None = None
    bins: int | None = None
    words: int = 1

    @property
    def label(self) -> str:
        """What is printed along it: the last parts of a path, or a derived quantity with its unit."""
        return self.derived.label if self.derived else " ".join(self.name.split(".")[-self.words :]).replace("_", " ")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the runs that decide where they stand on it."""
        return tuple(self.derived.fields) if self.derived else (self.name,)

    @property
    def kind(self) -> str:
        """How it runs; see `sweeps.axes.scales.kind`."""
        return scales.kind(self.values)

    @property
    def positions(self) -> np.ndarray:
        """Where the values stand."""
        return scales.positions(self.values, self.kind)

    @property
    def edges(self) -> np.ndarray:
        """The borders of the cells, one more than values."""
        return scales.edges(self.values, self.kind)

    def over(self, values: list) -> "Axis":
        """The same of other values."""
        return dataclasses.replace(self, values=values)

    def places(self, column: Iterable[Any]) -> np.ndarray:
        """Which of its cells values of runs are in; -1 for none."""
        if self.bins:
            found = np.searchsorted(
                self.edges, np.asarray([np.nan if v is None else v for v in column], float), "right"
            )
            return np.clip(found - 1, 0, self.bins - 1)
        at: dict[Any, int] = {value: index for index, value in enumerate(self.values)}
        return np.array([at.get(v, at.get("None" if v is None else value_name(v), -1)) for v in column], int)


class OnPlane:
    """What has cells over two axes."""

    x_axis: Axis
    y_axis: Axis
    source: Runs

    def __repr__(self) -> str:
        across, along = self.shape[::-1]
        return f"<{type(self).__name__} of {self.source.workdir}: {self.x} × {self.y}, {across} × {along} cells>"

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Both axes."""
        return self.x_axis, self.y_axis

    @property
    def x(self) -> str:
        """The column of the runs along x."""
        return self.x_axis.name

    @property
    def y(self) -> str:
        """The column of the runs along y."""
        return self.y_axis.name

    @property
    def x_values(self) -> list:
        """The values along x, ascending."""
        return self.x_axis.values

    @property
    def y_values(self) -> list:
        """The values along y, ascending."""
        return self.y_axis.values

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along y and along x."""
        return len(self.y_values), len(self.x_values)

    def cell_values(self) -> dict[str, np.ndarray]:
        """The values of both axes at each cell, in the order of the flattened cells: columns of a table."""
        yy, xx = np.meshgrid(np.arange(self.shape[0]), np.arange(self.shape[1]), indexing="ij")
        of = ((self.x_axis, xx), (self.y_axis, yy))
        return {axis.name: np.array(axis.values, object)[at.ravel()] for axis, at in of}
