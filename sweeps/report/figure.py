"""The phase diagram as a figure for print: phase, time and probability maps above, example curves below."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from jaxgen import FieldError
from sweeps.phases import Phase
from sweeps.report import style

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 7.5,
    "axes.linewidth": 0.6,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "phase diagram",
    "text.parse_math": False,  # names and values are printed as they are
}
ENDINGS = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
WIDTH, MARGIN, GAP, CURVE_GAP, LINE = 7.0, 0.16, 0.2, 0.28, 0.14  # inches; LINE is one of small print
TIMES = LinearSegmentedColormap.from_list("times", style.TIME_SHADES)
RATES = LinearSegmentedColormap.from_list("rates", style.RATE_SHADES)


def draw(diagram: Any, path: str | Path) -> None:
    """Writes a figure 7 inches wide of a `sweeps.Diagram`, as PNG (200 dpi), SVG or PDF by the path's ending.

    Drawn are (a) each cell's most frequent phase, with an inner square for the second one where seeds disagree; (b)
    the Kaplan–Meier median of the step at which test accuracy reaches its threshold, hatched where half of the seeds
    did not reach it within the budget; (c) the share of seeds that generalised; (d) for each phase, the accuracies of a
    cell that shows it. Cells without runs are crossed. The same diagram gives the same bytes.

    Raises:
      FieldError: the path has another ending.
    """
    save(lambda: _figure(diagram), path)


def save(make: Callable[[], Figure], path: str | Path) -> None:
    """Makes a figure in the style of all and writes it; FieldError where the path's ending is unknown."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise FieldError("path", str(path), "must end in .png, .svg or .pdf")
    with matplotlib.style.context(["default", RC]):
        make().savefig(path, dpi=200, metadata=ENDINGS[path.suffix.lower()])


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
    def over(cls, diagram: Any, columns: int, widest: float = WIDTH) -> "Grid":
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


def _figure(diagram: Any) -> Figure:
    examples = style.example_cells(diagram.counts)
    columns = len(examples) if len(examples) <= 4 else 4
    rows = -(-len(examples) // columns)
    grid = Grid.over(diagram, 3)
    left, width, height = grid.left, grid.width, grid.height
    footer = _footer(diagram, grid.room)
    present = [phase for phase in Phase if diagram.counts[..., phase].any()]
    disagree, empty = (diagram.agreement < 1).any(), (diagram.seeds == 0).any()
    levels = len(diagram.contour.levels) if diagram.contour else 0
    keys = LINE * max(4, len(present) + bool(disagree) + bool(empty) + levels) + 0.1

    top_maps = 0.32
    top_keys = top_maps + height + grid.below
    top_curves = top_keys + keys + 0.82
    curve_height, curve_step = 1.0, 1.0 + 0.88
    total = top_curves + curve_step * rows - 0.45 + LINE * len(footer) + 0.06
    figure = Figure(figsize=(WIDTH, total), facecolor="white")
    place = lambda left, top, width, height: figure.add_axes(  # noqa: E731
        (left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total)
    )

    lefts = [left + i * (width + GAP) for i in range(3)]
    maps = [place(x, top_maps, width, height) for x in lefts]
    shown = [place(x, top_keys, width, keys) for x in lefts]
    for axes, name in zip(maps, ("Phase", "Time to generalise", "P(generalise)")):
        set_axes(axes, diagram, grid, first=axes is maps[0])
        _title(axes, "abc"[maps.index(axes)], name)
    for axes in shown:
        axes.set(xlim=(0, width), ylim=(-keys, 0))  # in inches
        axes.set_axis_off()
    _phase_map(maps[0], shown[0], diagram, present, examples)
    _time_map(maps[1], shown[1], diagram)
    _rate_map(maps[2], shown[2], diagram)

    step = (grid.room + CURVE_GAP) / columns
    for index, (phase, cell) in enumerate(examples.items()):
        row, column = divmod(index, columns)
        axes = place(left + column * step, top_curves + row * curve_step, step - CURVE_GAP, curve_height)
        _curves(axes, diagram, phase, cell, index + 1, first=column == 0, room=step - CURVE_GAP)
        if index == 0:
            what = "All seeds of the numbered cells: train (dashed) and test (solid), threshold (dotted)"
            _title(axes, "d", what, above=46)
    for number, line in enumerate(reversed(footer)):
        figure.text(left / WIDTH, (0.06 + LINE * number) / total, line, size=7, color="#555555")
    return figure


def _footer(diagram: Any, room: float) -> list[str]:
    count = len(diagram.runs)
    parts = [clip(diagram.source.specification.get("name") or "", room), f"{count} run{'s' if count > 1 else ''}"]
    lines = [""]
    for part in [*parts, style.seeds_text(diagram.seeds), f"definition: {diagram.definition}"]:
        longer = f"{lines[-1]}  ·  {part}" if lines[-1] else part
        lines[len(lines) - (inches(longer) <= room) :] = [longer if inches(longer) <= room else part]
    return lines


def set_axes(axes: Any, diagram: Any, grid: Grid, first: bool) -> None:
    """Scales, limits, ticks and names of a map's axes, and crosses through its cells without runs."""
    x_edges, y_edges = style.all_edges(diagram)
    for axis, values, borders, ticks in (
        (axes.xaxis, diagram.x_values, x_edges, grid.x_ticks),
        (axes.yaxis, diagram.y_values, y_edges, grid.y_ticks),
    ):
        set_scale, set_limits = (
            (axes.set_xscale, axes.set_xlim) if axis is axes.xaxis else (axes.set_yscale, axes.set_ylim)
        )
        set_scale("log" if style.scale(values) == "log" else "linear")
        set_limits(borders[0], borders[-1])
        axis.set_ticks([at for at, _ in ticks], labels=[text for _, text in ticks])
        axis.set_minor_locator(NullLocator())
    if grid.tilt:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel(clip(style.label(diagram.x), 1.7), labelpad=2)
    if first:
        axes.set_ylabel(clip(style.label(diagram.y), 1.7), labelpad=3)
    else:
        axes.tick_params(labelleft=False)
    empty = np.argwhere(diagram.seeds == 0)
    corners = [[(x_edges[i], y_edges[j]), (x_edges[i + 1], y_edges[j + 1])] for j, i in empty]
    corners += [[(x_edges[i], y_edges[j + 1]), (x_edges[i + 1], y_edges[j])] for j, i in empty]
    axes.add_collection(LineCollection(corners, colors=style.EMPTY_LINES, linewidths=0.4, zorder=0.5), autolim=False)


def _title(axes: Any, letter: str, text: str, above: float = 5) -> None:
    axes.annotate(letter, (0, 1), (0, above), "axes fraction", "offset points", weight="bold", size=9)
    axes.annotate(text, (0, 1), (12, above), "axes fraction", "offset points", size=8)


def _phase_map(axes: Any, key: Any, diagram: Any, present: list[Phase], examples: dict[Phase, int]) -> None:
    paint_phases(axes, diagram, present)
    contour_lines(axes, diagram)
    x, y = (style.positions(v, style.scale(v)) for v in (diagram.x_values, diagram.y_values))
    for cell in dict.fromkeys(examples.values()):
        row, column = divmod(cell, len(x))
        text = ",".join(str(number) for number, other in enumerate(examples.values(), 1) if other == cell)
        shape = "circle,pad=0.12" if len(text) == 1 else "round,pad=0.15,rounding_size=0.55"
        disc = {"boxstyle": shape, "facecolor": "white", "edgecolor": "#222222", "linewidth": 0.5, "zorder": 4}
        axes.text(x[column], y[row], text, size=7, ha="center", va="center_baseline", bbox=disc, zorder=5)
    row = phase_key(key, present, [diagram])
    if (diagram.seeds == 0).any():
        key_entry(key, row, "no runs", facecolor="white", edgecolor=style.EMPTY_LINES)
        for ends in ((0, 1), (1, 0)):
            key.plot([0, 0.14], [-LINE * row - 0.095 + 0.09 * v for v in ends], color=style.EMPTY_LINES, linewidth=0.5)
        row += 1
    contour_key(key, row, diagram)


def paint_phases(axes: Any, diagram: Any, present: list[Phase]) -> None:
    """Paints each cell's most frequent phase, and within it the second one where seeds disagree."""
    second, share = style.runner_up(diagram.counts)
    for phase in present:
        paint(axes, diagram, diagram.majority == phase, facecolors=style.COLOURS[phase])
    for phase in present:
        mixed = (second == phase) & (share > 0)
        paint(axes, diagram, mixed, np.sqrt(share), facecolors=style.COLOURS[phase], linewidths=0)


def phase_key(key: Any, present: list[Phase], diagrams: list) -> int:
    """Explains the colours with the runs of each phase, and inner squares where there are any; the next free line."""
    runs = sum(diagram.counts.sum((0, 1)) for diagram in diagrams)
    for row, phase in enumerate(present):
        text = f"{style.NAMES[phase]} ({runs[phase]} {'run' if runs[phase] == 1 else 'runs'})"
        key_entry(key, row, text, facecolor=style.COLOURS[phase], edgecolor="#777777")
    row = len(present)
    if any((style.runner_up(diagram.counts)[1] > 0).any() for diagram in diagrams):
        key_entry(key, row, "seeds disagree: 2nd phase inside", facecolor="#777777", edgecolor="#777777")
        key.add_patch(Rectangle((0.035, -LINE * row - 0.07), 0.07, 0.045, facecolor="#dddddd"))
        row += 1
    return row


def _time_map(axes: Any, key: Any, diagram: Any) -> None:
    times, span = style.colour_times(diagram)
    reached, late = np.isfinite(times), np.isinf(diagram.median_time)
    row = 0
    if reached.any():
        norm = LogNorm(*span)
        paint(axes, diagram, reached, array=times, cmap=TIMES, norm=norm)
        colour_bar(key, TIMES, norm, style.log_ticks(*span, 5), "median step at threshold (test)")
        row = 3
    if late.any():
        look = {"facecolor": style.NOT_REACHED, "edgecolor": style.NOT_REACHED_LINES, "hatch": "//////"}
        paint(axes, diagram, late, linewidths=0, **look)
        key_entry(key, row, style.not_reached(diagram.observed[late], diagram.definition.budget), **look)


def _rate_map(axes: Any, key: Any, diagram: Any) -> None:
    low, high = diagram.generalised_interval()
    norm = Normalize(0, 1)
    paint(axes, diagram, diagram.seeds > 0, array=diagram.generalised, cmap=RATES, norm=norm)
    colour_bar(key, RATES, norm, [(v, f"{v:g}") for v in (0, 0.5, 1)], "share of seeds that generalised")
    half = np.nanmean(high - low) / 2
    key.text(0, -LINE * 3 - 0.05, f"95 % interval: ± {half:.2f} on average", size=7, va="center")


def _curves(axes: Any, diagram: Any, phase: Phase, cell: int, number: int, first: bool, room: float) -> None:
    here = np.flatnonzero(diagram.runs["cell"] == cell)
    steps = np.where(diagram.curves["step"] > 0, diagram.curves["step"], np.nan)[here]
    train, test = diagram.curves["train/accuracy"][here], diagram.curves["test/accuracy"][here]
    strength = max(0.25, min(0.95, 4 / len(here)))
    axes.axhline(diagram.definition.threshold, color="#555555", linewidth=0.6, linestyle=(0, (1, 2)))
    for i, run in enumerate(here):
        ink = style.INKS[Phase(diagram.runs["phase"].iloc[run])]
        axes.plot(steps[i], train[i], color=style.TRAIN_INK, linewidth=0.8, linestyle=(0, (3, 1.5)), alpha=strength)
        axes.plot(steps[i], test[i], color=ink, linewidth=1.0, alpha=strength)
    low, high = style.step_range(diagram)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    ticks = style.log_ticks(low, high, 3 if room < 2 else 5)
    _set_x_ticks(axes, ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step", labelpad=1)
    axes.tick_params(labelleft=first)
    if first:
        axes.set_ylabel("accuracy", labelpad=3)
    row, column = divmod(cell, len(diagram.x_values))
    strip = {"facecolor": style.COLOURS[phase], "transform": axes.transAxes, "clip_on": False}
    axes.add_patch(Rectangle((0, 1.04), 1, 0.05, **strip))
    lines = [f"{number}  {style.NAMES[phase]}"]
    for path, value in ((diagram.x, diagram.x_values[column]), (diagram.y, diagram.y_values[row])):
        lines.append(clip(f"{style.label(path)} = {style.value_text(value, 3)}", room))
    for line, y in zip(lines, (1.40, 1.265, 1.13)):
        axes.text(0, y, line, transform=axes.transAxes, size=7, weight="bold" if line is lines[0] else "normal")


def paint(axes: Any, diagram: Any, which: np.ndarray, size: Any = 1.0, array: Any = None, **look: Any) -> None:
    """Paints the cells of a mask; `size` < 1 paints their middle only."""
    rows, columns = np.nonzero(which)
    if not len(rows):
        return
    size = np.broadcast_to(size, which.shape)[which]
    (left, right), (low, high) = (
        style.inner(borders[at], borders[at + 1], size, style.scale(values))
        for borders, at, values in zip(style.all_edges(diagram), (columns, rows), (diagram.x_values, diagram.y_values))
    )
    corners = np.stack([left, low, right, low, right, high, left, high], -1).reshape(-1, 4, 2)
    if array is not None:
        look["array"] = array[which]
    few = which.size <= 900
    look = {"edgecolors": "white" if few else "face", "linewidths": 0.4 if few else 0.1} | look
    axes.add_collection(PolyCollection(list(corners), **look), autolim=False)


def key_entry(axes: Any, row: int, text: str, **look: Any) -> None:
    """A coloured patch and its meaning on line `row` of a key whose axes are in inches."""
    axes.add_patch(Rectangle((0, -LINE * row - 0.095), 0.14, 0.09, linewidth=0.4, **look))
    axes.text(0.2, -LINE * row - 0.05, text, size=7, va="center")


def contour_lines(axes: Any, diagram: Any) -> None:
    """Draws a diagram's contour, the lower levels dashed and thin, the highest solid."""
    if diagram.contour is None:
        return
    for number, level in enumerate(diagram.contour.levels):
        lines = diagram.contour.lines(level, *style.all_edges(diagram))
        axes.add_collection(LineCollection(lines, **_contour_look(diagram, number)), autolim=False)


def contour_key(key: Any, row: int, diagram: Any) -> int:
    """Explains the contour from line `row` of a key on; returns the next free line."""
    for number, level in enumerate(diagram.contour.levels if diagram.contour else ()):
        key.plot([0, 0.14], [-LINE * row - 0.05] * 2, **_contour_look(diagram, number, "linewidth", "linestyle"))
        key.text(0.2, -LINE * row - 0.05, f"{diagram.contour.probe} reaches {level:g}", size=7, va="center")
        row += 1
    return row


def _contour_look(diagram: Any, number: int, width: str = "linewidths", dashes: str = "linestyles") -> dict[str, Any]:
    last = number == len(diagram.contour.levels) - 1
    return {"color": "#000000", width: 1.6 if last else 1.0, dashes: "solid" if last else (0, (3, 1.5)), "zorder": 3}


def colour_bar(key: Any, colours: Any, norm: Any, ticks: list, text: str) -> None:
    """A horizontal colour scale as wide as a key, with its meaning below."""
    bar = key.inset_axes((0, -0.095, key.get_xlim()[1], 0.09), transform=key.transData)
    shades = bar.figure.colorbar(matplotlib.cm.ScalarMappable(norm, colours), cax=bar, orientation="horizontal")
    shades.outline.set_linewidth(0.4)
    shades.minorticks_off()
    _set_x_ticks(bar, ticks)
    bar.tick_params(pad=1.5)
    bar.set_xlabel(text, size=7, labelpad=1)


def _set_x_ticks(axes: Any, ticks: list[tuple[float, str]]) -> None:
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


def _font() -> Any:
    return get_font(findfont(FontProperties(family="DejaVu Sans")))
