"""The methods of diagrams and maps of values that draw them, bound here: what they draw with is slow to import."""

import dataclasses
from pathlib import Path

from jaxgen import FieldError
from jaxgen.components import unknown
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.values import ValueMap
from sweeps.statistics.moments import JACKKNIFED


def plot(self: Diagram, path: str | Path, columns: int = 2) -> None:
    """Writes the figure over one or two columns as PNG, SVG or PDF, by the path's ending; its caption as `.txt`."""
    from sweeps.report.figure import draw

    draw(self, path, columns)


def page(self: Diagram, path: str | Path) -> None:
    """Writes the interactive page: one HTML file that needs no network."""
    from sweeps.report.page import write_page

    write_page(self, path)


def plot_values(self: ValueMap, path: str | Path, statistic: str = "mean") -> None:
    """Writes a map 3.4 inches wide of one of the statistics as PNG, SVG or PDF, by the path's ending.

    Its caption is written beside it as .txt.

    Raises:
      FieldError: there is no such statistic, no cell has runs enough for it, or the path has another ending.
    """
    known = [f.name for f in dataclasses.fields(self.statistics)]
    if statistic not in known:
        raise unknown(statistic, known)
    most = int(self.statistics.count.max(initial=0))
    if statistic.startswith(("susceptibility", "binder")) and most < JACKKNIFED:
        why = f"needs cells with {JACKKNIFED} values or more: here they have {most} at most"
        raise FieldError("statistic", statistic, why)
    from sweeps.report.figure import draw_values

    draw_values(self, statistic, path)


Diagram.plot, Diagram.page, ValueMap.plot = plot, page, plot_values
