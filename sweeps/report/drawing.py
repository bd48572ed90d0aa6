"""The parts that figures for print are made of."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypedDict, Unpack

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from jaxgen import FieldError
from sweeps.axes import scales
from sweeps.diagrams.diagram import Contour, Diagram
from sweeps.diagrams.overlays import Overlay
from sweeps.diagrams.values import ValueMap
from sweeps.report import style
from sweeps.storage.files import write_atomically

STYLE = "sweeps.report.paper"
ENDINGS = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
WIDTH, NARROW, MARGIN, GAP, LINE = 7.0, 3.4, 0.16, 0.2, 0.14  # inches; LINE is one of small print
DOTTED, DASHED, THEORY = (0, (1, 1)), (0, (3, 1.5)), (0, (4, 1.2, 1, 1.2))


class Look(TypedDict, total=False):
    """How cells and patches are painted, in matplotlib's words."""

    facecolor: str
    edgecolor: str
    hatch: str
    linewidths: float


class Shades(TypedDict):
    """How numbers of cells become colours."""

    array: np.ndarray
    cmap: Colormap
    norm: Normalize


def styled() -> AbstractContextManager[None]:
    """The style that all figures are made and written in, whatever the user's."""
    return matplotlib.style.context(["default", STYLE])


def save(make: Callable[[], Figure], path: str | Path) -> None:
    """Makes a figure in the style of all and writes it; FieldError where the path's ending is unknown."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise FieldError("path", str(path), "must end in .png, .svg or .pdf")
    ending = path.suffix.lower()
    with styled():
        figure = make()
        write_atomically(path, lambda file: figure.savefig(file, format=ending[1:], metadata=ENDINGS[ending]))


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where maps of the same two axes stand side by side, in inches.

    Attributes:
      x_ticks, y_ticks: positions with their texts.
      left: of the first map.
      width, height: of each map.
      tilt: whether the texts below the maps are turned, for want of room.
      below: what those texts and the name of the axis need.
    """

    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    left: float
    width: float
    height: float
    tilt: bool
    below: float

    @property
    def room(self) -> float:
        """From the left end of the first map to the right margin."""
        return WIDTH - self.left - MARGIN

    @classmethod
    def over(cls, diagram: Diagram | ValueMap, columns: int, widest: float = WIDTH) -> "Grid":
        """The layout of so many maps of a diagram's axes, each at most so wide."""
        x_ticks, y_ticks = (
            [(at, clip(text, 0.85)) for at, text in style.ticks(values, most)]
            for values, most in ((diagram.x_values, 5), (diagram.y_values, 6))
        )
        left = MARGIN + 0.27 + max(inches(text) for _, text in y_ticks)
        width = min((WIDTH - left - MARGIN - GAP * (columns - 1)) / columns, widest)
        longest = max(inches(text) for _, text in x_ticks)
        tilt = (longest + 0.08) * len(x_ticks) > width
        height = min(width, max(0.5, 0.3 * len(diagram.y_values)))
        return cls(x_ticks, y_ticks, left, width, height, tilt, 0.3 + (0.03 + longest if tilt else 0.12))


def set_axes(axes: Axes, diagram: Diagram | ValueMap, grid: Grid, first: bool) -> None:
    """Scales, limits, ticks and names of a map's axes, and crosses through its cells without runs."""
    x_edges, y_edges = style.all_edges(diagram)
    x_scale, y_scale = ("log" if axis.kind in scales.LOGARITHMIC else "linear" for axis in diagram.axes)
    axes.set(xscale=x_scale, yscale=y_scale, xlim=x_edges[[0, -1]], ylim=y_edges[[0, -1]])
    for axis, ticks in ((axes.xaxis, grid.x_ticks), (axes.yaxis, grid.y_ticks)):
        axis.set_ticks([at for at, _ in ticks], labels=[text for _, text in ticks])
        axis.set_minor_locator(NullLocator())
    if grid.tilt:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel(clip(diagram.x_axis.label, 1.7), labelpad=2)
    if first:
        axes.set_ylabel(clip(diagram.y_axis.label, 1.7), labelpad=3)
    else:
        axes.tick_params(labelleft=False)
    empty = np.argwhere(diagram.seeds == 0)
    corners = [[(x_edges[i], y_edges[j]), (x_edges[i + 1], y_edges[j + 1])] for j, i in empty]
    corners += [[(x_edges[i], y_edges[j + 1]), (x_edges[i + 1], y_edges[j])] for j, i in empty]
    axes.add_collection(LineCollection(corners, colors=style.EMPTY_LINES, linewidths=0.4, zorder=0.5), autolim=False)


def boundary_lines(axes: Axes, diagram: Diagram) -> str:
    """Draws a diagram's fitted boundary and the edges of its band, white below black to be seen on every colour.

    Returns:
      What was drawn; empty if nothing.
    """
    lines, band = style.boundary_lines(diagram)
    for drawn, width, dashes in ((band, 0.7, DOTTED), (lines, 1.3, "solid")):
        below = LineCollection(drawn, colors="#ffffff", linewidths=1.7 * width, zorder=2.9)
        above = LineCollection(drawn, colors="#000000", linewidths=width, linestyles=[dashes], zorder=3)
        for collection in (below, above):
            axes.add_collection(collection, autolim=False)
    half = f"P({diagram.labelling.event_name}) = ½"
    return (f"{half}, 95 % band" if band else half) if lines else f"95 % band of {half}" if band else ""


def paint_labels(axes: Axes, diagram: Diagram, present: list[int]) -> None:
    """Paints each cell's most frequent label, and within it the second one where seeds disagree."""
    second, share = style.runner_up(diagram.counts)
    colours = {index: diagram.labelling.labels[index].colour for index in present}
    for index, colour in colours.items():
        paint(axes, diagram, diagram.majority == index, facecolor=colour)
    for index, colour in colours.items():
        mixed = (second == index) & (share > 0)
        paint(axes, diagram, mixed, np.sqrt(share), facecolor=colour, linewidths=0)


def unresolved_marks(axes: Axes, diagram: Diagram) -> None:
    """Dots in the upper left corner of cells that a delay within one interval between evaluations could turn."""
    rows, columns = np.nonzero(~diagram.resolved)
    (x, _), (_, y) = (
        style.inner(axis.edges[at], axis.edges[at + 1], np.full(len(at), 0.7), axis.kind)
        for axis, at in zip(diagram.axes, (columns, rows))
    )
    dots(axes, x, y)


def dots(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """What marks cells that could turn."""
    axes.scatter(x, y, s=4, color="#ffffff", edgecolors="#000000", linewidths=0.5, zorder=3.5)


def label_key(key: Axes, present: list[int], diagrams: list[Diagram]) -> int:
    """Explains the colours with the runs of each label, and inner squares where there are any; the next free line."""
    runs = sum(diagram.counts.sum((0, 1)) for diagram in diagrams)
    for row, index in enumerate(present):
        label = diagrams[0].labelling.labels[index]
        text = f"{clip(label.name, 1.2)} ({runs[index]} {'run' if runs[index] == 1 else 'runs'})"
        key_entry(key, row, text, facecolor=label.colour, edgecolor="#777777")
    row = len(present)
    if any((style.runner_up(diagram.counts)[1] > 0).any() for diagram in diagrams):
        key_entry(key, row, "seeds disagree: 2nd label inside", facecolor="#777777", edgecolor="#777777")
        key.add_patch(Rectangle((0.035, -LINE * row - 0.07), 0.07, 0.045, facecolor="#dddddd"))
        row += 1
    return row


def paint(
    axes: Axes, diagram: Diagram | ValueMap, which: np.ndarray, size: np.ndarray | float = 1.0, **look: Unpack[Look]
) -> None:
    """Paints the cells of a mask, without lines between those that are hatched; `size` < 1 paints their middle only."""
    if "hatch" in look:
        look["linewidths"] = 0
    if which.any():
        drawn = PolyCollection(_corners(diagram, which, size), **(_borders(which) | look))
        axes.add_collection(drawn, autolim=False)


def shade(axes: Axes, diagram: Diagram | ValueMap, which: np.ndarray, shades: Shades) -> None:
    """Paints the cells of a mask by their numbers."""
    if which.any():
        look = {**shades, "array": shades["array"][which]}
        axes.add_collection(PolyCollection(_corners(diagram, which), **_borders(which), **look), autolim=False)


def _corners(diagram: Diagram | ValueMap, which: np.ndarray, size: np.ndarray | float = 1.0) -> list[np.ndarray]:
    """The corners, (4, 2), of the cells of a mask."""
    rows, columns = np.nonzero(which)
    share = np.broadcast_to(size, which.shape)[which]
    (left, right), (low, high) = (
        style.inner(axis.edges[at], axis.edges[at + 1], share, axis.kind)
        for axis, at in zip(diagram.axes, (columns, rows))
    )
    return list(np.stack([left, low, right, low, right, high, left, high], -1).reshape(-1, 4, 2))


def _borders(which: np.ndarray) -> Look:
    """White between cells; where these are many, of their own colour."""
    few = which.size <= 900
    return {"edgecolor": "white" if few else "face", "linewidths": 0.4 if few else 0.1}


def key_entry(axes: Axes, row: int, text: str, **look: Unpack[Look]) -> None:
    """A coloured patch and its meaning on line `row` of a key whose axes are in inches."""
    axes.add_patch(Rectangle((0, -LINE * row - 0.095), 0.14, 0.09, linewidth=0.4, **look))
    key_text(axes, row, text)


def theory(diagram: Diagram, along_steps: bool) -> list[tuple[Overlay, str]]:
    """The overlays over the map, or those over curves, with their colours."""
    inks = ((one, style.THEORY_INKS[i % len(style.THEORY_INKS)]) for i, one in enumerate(diagram.overlays))
    return [(one, ink) for one, ink in inks if (one.along == "step") == along_steps]


def theory_lines(axes: Axes, diagram: Diagram) -> None:
    """Draws the overlays of the map, white below their colour."""
    lines = diagram.map_lines()
    for one, ink in theory(diagram, along_steps=False):
        x, y = lines[one.name].T
        axes.plot(x, y, color="#ffffff", linewidth=2.4, zorder=3.1, scalex=False, scaley=False)
        axes.plot(x, y, color=ink, linewidth=1.3, linestyle=THEORY, zorder=3.2, scalex=False, scaley=False)


def theory_key(key: Axes, row: int, diagram: Diagram, curves: bool = False) -> int:
    """Explains the overlays of the map, and of curves, from line `row` of a key on; returns the next free line."""
    of_curves = [(f"{one.name} (curves)", ink) for one, ink in theory(diagram, along_steps=True) if curves]
    for name, ink in [(one.name, ink) for one, ink in theory(diagram, along_steps=False)] + of_curves:
        key.plot([0, 0.14], [-LINE * row - 0.05] * 2, color=ink, linewidth=1.3, linestyle=THEORY)
        key_text(key, row, name)
        row += 1
    return row


def key_text(axes: Axes, row: int, text: str) -> None:
    """A meaning on line `row` of a key, beside a patch or line; cut before it reaches the next key."""
    axes.text(0.2, -LINE * row - 0.05, clip(text, axes.get_xlim()[1] + GAP - 0.25), size=7, va="center")


def contour_lines(axes: Axes, diagram: Diagram) -> None:
    """Draws a diagram's contour, the lower levels dashed and thin, the highest solid."""
    if (contour := diagram.contour) is None:
        return
    for level in contour.levels:
        lines = list(contour.lines(level, *style.all_edges(diagram)))
        width, dashes = _contour_look(contour, level)
        drawn = LineCollection(lines, colors="#000000", linewidths=width, linestyles=[dashes], zorder=3)
        axes.add_collection(drawn, autolim=False)


def contour_key(key: Axes, row: int, diagram: Diagram) -> int:
    """Explains the contour from line `row` of a key on; returns the next free line."""
    if (contour := diagram.contour) is None:
        return row
    for line, level in enumerate(contour.levels, row):
        width, dashes = _contour_look(contour, level)
        key.plot([0, 0.14], [-LINE * line - 0.05] * 2, color="#000000", linewidth=width, linestyle=dashes, zorder=3)
        key_text(key, line, f"{contour.probe} reaches {level:g}")
    return row + len(contour.levels)


def _contour_look(contour: Contour, level: float) -> tuple[float, str | tuple[float, tuple[float, ...]]]:
    """Width and dashes of a level's lines."""
    return (1.6, "solid") if level == contour.levels[-1] else (1.0, DASHED)


def norm(low: float, high: float, wide: bool) -> Normalize:
    """How colours go from `low` to `high`: over the logarithm where that is `wide`."""
    return LogNorm(low, high) if wide else Normalize(low, high)


def colour_bar(key: Axes, shades: Shades, ticks: list[tuple[float, str]], text: str) -> None:
    """A horizontal colour scale as wide as a key, with its meaning below."""
    bar = key.inset_axes((0, -0.095, key.get_xlim()[1], 0.09), transform=key.transData)
    colours = ScalarMappable(shades["norm"], shades["cmap"])
    scale = bar.figure.colorbar(colours, cax=bar, orientation="horizontal")
    scale.outline.set_linewidth(0.4)
    scale.minorticks_off()
    set_x_ticks(bar, ticks)
    bar.tick_params(pad=1.5)
    bar.set_xlabel(text, size=7, labelpad=1)


def set_x_ticks(axes: Axes, ticks: list[tuple[float, str]]) -> None:
    """Names the ticks; texts at an end stay within it, off the neighbour's."""
    axes.set_xticks([at for at, _ in ticks], labels=[text for _, text in ticks])
    low, high = axes.get_xlim()
    for (at, _), text in zip(ticks, axes.get_xticklabels()):
        logarithmic = axes.get_xscale() == "log"
        place = np.log(at / low) / np.log(high / low) if logarithmic else (at - low) / (high - low)
        text.set_horizontalalignment("left" if place < 0.03 else "right" if place > 0.97 else "center")


def clip(text: str, room: float) -> str:
    """The text as it can be printed, cut so that it fits into `room` inches of small print."""
    text = printable(text)
    if inches(text) <= room:
        return text
    while text and inches(text + "…") > room:
        text = text[:-1]
    return text + "…"


def inches(text: str) -> float:
    """How wide a text is in small print."""
    font = _font()
    font.set_size(7, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / 72


def printable(text: str) -> str:
    """The text on one line, with □ for what the font cannot print (which matplotlib would warn of)."""
    known = _font().get_charmap()
    return "".join(c if ord(c) in known else "□" for c in " ".join(str(text).split()))


def _font() -> FT2Font:
    return get_font(findfont(FontProperties(family="DejaVu Sans")))
