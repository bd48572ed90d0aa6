"""A number of the runs over two axes: its statistics over the seeds of each cell."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from jaxgen.components import unknown
from sweeps.diagrams.phases import Definition
from sweeps.statistics.moments import GroupStatistics, group_statistics
from sweeps.storage.files import write_csv
from sweeps.storage.runs import Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFINED = ("label", "train_time", "test_time", "test_after", "delay")
"""Columns of a diagram's runs that follow from its definition."""


@dataclasses.dataclass(frozen=True)
class ValueMap:
    """Cells over two axes; arrays are (y, x).

    Attributes:
      x, y: dotted paths of the axes.
      x_values, y_values: their values, ascending.
      name: the column of the runs.
      statistics: count, mean, variance, susceptibility and Binder cumulant over each cell's runs.
      seeds: runs in each cell, those without a finite value included.
      source: the results it was made of.
      diverged: runs of each cell that diverged.
      undecided: runs of each cell that are undecided by the definition; None where there is none.
      definition: of the diagram whose times, delays and labels the map shows; None for other numbers.
    """

    x: str
    y: str
    x_values: list
    y_values: list
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
    def of(
        cls,
        x: str,
        y: str,
        x_values: list,
        y_values: list,
        runs: pd.DataFrame,
        name: str,
        source: Runs,
        size: float,
        undecided: np.ndarray | None = None,
        definition: Definition | None = None,
    ) -> "ValueMap":
        """The map of a column of `runs`, whose column `cell` says where they stand; `undecided` is (runs,).

        Raises:
          FieldError: there is no such column of numbers.
        """
        numbers = [c for c in map(str, runs.columns) if pd.api.types.is_numeric_dtype(runs[c])]
        if name not in numbers:
            raise unknown(name, numbers)
        shape = len(y_values), len(x_values)
        cells = runs["cell"].to_numpy()
        found = group_statistics(cells, shape[0] * shape[1], runs[name].to_numpy(float), size)
        number = lambda which: np.bincount(cells[which], minlength=shape[0] * shape[1]).reshape(shape)  # noqa: E731
        return cls(
            *(x, y, x_values, y_values, name),
            found.reshape(shape),
            number(np.ones(len(cells), bool)),
            source,
            number((runs["status"] == "diverged").to_numpy()),
            None if undecided is None else number(undecided),
            definition if name in DEFINED else None,
        )

    def cell_table(self) -> pd.DataFrame:
        """A row per cell: axes, seeds, how many of them diverged and are undecided, and every statistic."""
        yy, xx = np.meshgrid(np.arange(len(self.y_values)), np.arange(len(self.x_values)), indexing="ij")
        columns: dict[str, Any] = {
            self.x: np.array(self.x_values, object)[xx.ravel()],
            self.y: np.array(self.y_values, object)[yy.ravel()],
            "seeds": self.seeds.ravel(),
            "diverged": self.diverged.ravel(),
        }
        if self.undecided is not None:
            columns["undecided"] = self.undecided.ravel()
        columns |= {name: values.ravel() for name, values in self.statistics.columns.items()}
        return pd.DataFrame(columns)

    def to_csv(self, path: str | Path) -> None:
        """Writes `cell_table`."""
        write_csv(self.cell_table(), path)
