"""A number of the runs over two axes: its statistics over the seeds of each cell."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from jaxgen.components import unknown
from sweeps.diagrams.phases import Definition
from sweeps.diagrams.plane import Axis, OnPlane
from sweeps.statistics.moments import GroupStatistics, group_statistics
from sweeps.storage.files import write_csv
from sweeps.storage.runs import Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, repr=False)
class ValueMap(OnPlane):
    """Cells over two axes; arrays are (y, x).

    Attributes:
      x_axis, y_axis: the axes; `x`, `y`, `x_values`, `y_values` are theirs.
      name: the column of the runs.
      statistics: count, mean, variance, susceptibility and Binder cumulant over each cell's runs.
      seeds: runs in each cell, those without a finite value included.
      source: the results it was made of.
      diverged: runs of each cell that diverged.
      undecided: runs of each cell that are undecided by the definition; None where there is none.
      definition: of the diagram whose times, delays and labels the map shows; None for other numbers.
    """

    x_axis: Axis
    y_axis: Axis
    name: str
    statistics: GroupStatistics
    seeds: np.ndarray
    source: Runs
    diverged: np.ndarray
    undecided: np.ndarray | None = None
    definition: Definition | None = None
    figure: ClassVar[Callable[..., "Figure"]]  # both are bound by `sweeps.report`: a map knows no pictures
    plot: ClassVar[Callable[..., None]]

    @classmethod
    def of(cls, axes: tuple[Axis, Axis], runs: pd.DataFrame, name: str, source: Runs, size: float) -> "ValueMap":
        """The map of a column of `runs`, whose column `cell` says where they stand.

        Raises:
          FieldError: there is no such column of numbers.
        """
        numbers = [c for c in map(str, runs.columns) if pd.api.types.is_numeric_dtype(runs[c])]
        if name not in numbers:
            raise unknown(name, numbers)
        shape = len(axes[1].values), len(axes[0].values)
        cells = runs["cell"].to_numpy()
        found = group_statistics(cells, shape[0] * shape[1], runs[name].to_numpy(float), size)
        diverged = cells[(runs["status"] == "diverged").to_numpy()]
        seeds, fallen = (np.bincount(of, minlength=shape[0] * shape[1]).reshape(shape) for of in (cells, diverged))
        return cls(*axes, name, found.reshape(shape), seeds, source, fallen)

    def cell_table(self) -> pd.DataFrame:
        """A row per cell: axes, seeds, how many of them diverged and are undecided, and every statistic."""
        columns = {**self.cell_values(), "seeds": self.seeds.ravel(), "diverged": self.diverged.ravel()}
        if self.undecided is not None:
            columns["undecided"] = self.undecided.ravel()
        columns |= {name: values.ravel() for name, values in self.statistics.columns.items()}
        return pd.DataFrame(columns)

    def to_csv(self, path: str | Path) -> None:
        """Writes `cell_table`."""
        write_csv(self.cell_table(), path)
