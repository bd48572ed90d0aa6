"""A number of the runs over two axes: its statistics over the seeds of each cell."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxgen.component import unknown
from sweeps.results import Results
from sweeps.statistics import GroupStatistics, group_statistics


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
    """

    x: str
    y: str
    x_values: list
    y_values: list
    name: str
    statistics: GroupStatistics
    seeds: np.ndarray
    source: Results

    @classmethod
    def of(
        cls, x: str, y: str, x_values: list, y_values: list, runs: pd.DataFrame, name: str, source: Results, size: float
    ) -> "ValueMap":
        """The map of a column of `runs`, whose column `cell` says where they stand.

        Raises:
          FieldError: there is no such column of numbers.
        """
        numbers = [c for c in map(str, runs.columns) if pd.api.types.is_numeric_dtype(runs[c])]
        if name not in numbers:
            raise unknown(name, numbers)
        shape = len(y_values), len(x_values)
        cells = runs["cell"].to_numpy()
        found = group_statistics(cells, shape[0] * shape[1], runs[name].to_numpy(float), size)
        shaped = {f.name: getattr(found, f.name).reshape(shape) for f in dataclasses.fields(found)}
        seeds = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        return cls(x, y, x_values, y_values, name, GroupStatistics(**shaped), seeds, source)

    def cell_table(self) -> pd.DataFrame:
        """A row per cell: axes, seeds and every statistic."""
        yy, xx = np.meshgrid(np.arange(len(self.y_values)), np.arange(len(self.x_values)), indexing="ij")
        columns: dict[str, Any] = {
            self.x: np.array(self.x_values, object)[xx.ravel()],
            self.y: np.array(self.y_values, object)[yy.ravel()],
            "seeds": self.seeds.ravel(),
        }
        columns |= {f.name: getattr(self.statistics, f.name).ravel() for f in dataclasses.fields(self.statistics)}
        return pd.DataFrame(columns)

    def plot(self, path: str | Path, statistic: str = "mean") -> None:
        """Writes a map 3.4 inches wide of one of the statistics as PNG, SVG or PDF, by the path's ending.

        Raises:
          FieldError: there is no such statistic, or the path has another ending.
        """
        known = [f.name for f in dataclasses.fields(self.statistics)]
        if statistic not in known:
            raise unknown(statistic, known)
        from sweeps.report.figure import draw_values  # matplotlib is slow to import

        draw_values(self, statistic, path)
