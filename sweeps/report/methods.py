"""The methods of diagrams and maps of values that draw them, bound here: what they draw with is slow to import."""

from pathlib import Path
from typing import TYPE_CHECKING

from jaxgen import FieldError
from jaxgen.components import unknown
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.values import ValueMap
from sweeps.statistics.moments import JACKKNIFED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(self: Diagram, columns: int = 2) -> "Figure":
    """The matplotlib figure over one or two columns, to add to; `plot` writes it.

    Raises:
      FieldError: `columns` is neither 1 nor 2.
    """
    from sweeps.report.figure import make

    return make(self, columns)


def plot(self: Diagram, path: str | Path, columns: int = 2) -> None:
    """Writes the figure over one or two columns as PNG, SVG or PDF, by the path's ending; its caption as `.txt`."""
    from sweeps.report.figure import draw

    draw(self, path, columns)


def page(self: Diagram, path: str | Path) -> None:
    """Writes the interactive page: one HTML file that needs no network."""
    from sweeps.report.page import write_page

    write_page(self, path)


def as_html(self: Diagram) -> str:
    """The figure as a picture within a notebook."""
    from sweeps.report.figure import as_html

    return as_html(self)


def values_figure(self: ValueMap, statistic: str = "mean") -> "Figure":
    """The matplotlib figure of a map 3.4 inches wide of one of the statistics, to add to; `plot` writes it.

    Raises:
      FieldError: there is no such statistic, or no cell has runs enough for it.
    """
    _check_statistic(self, statistic)
    from sweeps.report.figure import make_values

    return make_values(self, statistic)


def plot_values(self: ValueMap, path: str | Path, statistic: str = "mean") -> None:
    """Writes a map 3.4 inches wide of one of the statistics as PNG, SVG or PDF, by the path's ending.

    Its caption is written beside it as .txt.

    Raises:
      FieldError: there is no such statistic, no cell has runs enough for it, or the path has another ending.
    """
    _check_statistic(self, statistic)
    from sweeps.report.figure import draw_values

    draw_values(self, statistic, path)


def _check_statistic(self: ValueMap, statistic: str) -> None:
    known = [*self.statistics.columns]
    if statistic not in known:
        raise unknown(statistic, known)
    most = int(self.statistics.count.max(initial=0))
    if statistic.startswith(("susceptibility", "binder")) and most < JACKKNIFED:
        why = f"needs cells with {JACKKNIFED} values or more: here they have {most} at most"
        raise FieldError("statistic", statistic, why)


Diagram.figure, Diagram.plot, Diagram.page, Diagram._repr_html_ = figure, plot, page, as_html
ValueMap.figure, ValueMap.plot = values_figure, plot_values
