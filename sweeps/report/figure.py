"""The phase diagram as a figure for print: phase, time and probability maps above, example curves below."""

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from jaxgen import FieldError
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.values import ValueMap
from sweeps.report import drawing, style
from sweeps.report.caption import caption, values_caption, write_caption
from sweeps.report.provenance import Provenance
from sweeps.storage.files import write_text

CURVE_GAP, CURVE_HEIGHT = 0.28, 1.0  # inches
TIMES = LinearSegmentedColormap.from_list("times", style.TIME_SHADES)
RATES = LinearSegmentedColormap.from_list("rates", style.RATE_SHADES)


def make(diagram: Diagram, columns: int = 2) -> Figure:
    """A figure of a `sweeps.Diagram`, in the style of all.

    Over two columns (7 inches) are drawn (a) each cell's most frequent label, with an inner square for the second one
    where seeds disagree, a dot in the corner of cells that turn within one interval of the gap, and the fitted boundary
    with its band (without a contour); (b) the Kaplan–Meier median of the step at which test
    reaches the threshold, hatched where half of the seeds did not reach it within the budget, and dotted where
    they were not watched that long; (c) the share of
    seeds in the labelling's event; (d) for each label, the curves of a cell that shows it: all seeds, their median,
    and the band between their tenth and ninetieth percentile. Over one column (3.4 inches) it is (a) alone. Cells
    without runs are crossed. The same diagram gives the same bytes.

    Raises:
      FieldError: `columns` is neither 1 nor 2.
    """
    if columns not in (1, 2):
        raise FieldError("columns", columns, "must be 1 or 2")
    with drawing.styled():
        return _figure(diagram) if columns == 2 else _narrow(diagram)


def as_html(diagram: Diagram) -> str:
    """The figure of a `sweeps.Diagram` as a picture that a notebook shows, what it says as its alternative text."""
    with drawing.styled():
        make(diagram).savefig(held := io.BytesIO(), format="png")
    picture = base64.b64encode(held.getvalue()).decode()
    return f'<img style="max-width: 7in" alt="{escape(caption(diagram))}" src="data:image/png;base64,{picture}">'


def draw(diagram: Diagram, path: str | Path, columns: int = 2) -> None:
    """Writes the figure that `make` gives as PNG (200 dpi), SVG or PDF by the path's ending; its caption as .txt.

    Raises:
      FieldError: the path has another ending, or `columns` is neither 1 nor 2.
    """
    drawing.save(lambda: make(diagram, columns), path)
    panels = ("a" if diagram.contour is None else "",) + ("c",) * (columns == 2)
    write_caption(diagram, path, " and ".join(filter(None, panels)))


def _figure(diagram: Diagram) -> Figure:
    trained = np.nanmax(diagram.curves["step"], initial=0) > 0
    examples = style.example_cells(diagram.counts) if trained else {}
    columns = min(max(len(examples), 1), 4)
    rows = -(-len(examples) // columns)
    grid = drawing.Grid.over(diagram, 3)
    left, width, height = grid.left, grid.width, grid.height
    footer = _footer(diagram, grid.room)
    present = style.present([diagram])
    keys = drawing.LINE * max(6, _key_rows(diagram, present)) + 0.1

    top_maps = 0.32
    top_keys = top_maps + height + grid.below
    top_curves = top_keys + keys + (0.82 if trained else 0.45)
    curve_step = CURVE_HEIGHT + 0.88
    total = top_curves + curve_step * rows - 0.45 + drawing.LINE * len(footer) + 0.06
    figure = Figure(figsize=(drawing.WIDTH, total), facecolor="white")
    place = lambda left, top, width, height: figure.add_axes(  # noqa: E731
        (left / drawing.WIDTH, 1 - (top + height) / total, width / drawing.WIDTH, height / total)
    )

    lefts = [left + i * (width + drawing.GAP) for i in range(3)]
    maps = [place(x, top_maps, width, height) for x in lefts]
    shown = [place(x, top_keys, width, keys) for x in lefts]
    for axes, name in zip(
        maps, (style.map_name(diagram), "Time to the threshold", f"P({diagram.labelling.event_name})")
    ):
        drawing.set_axes(axes, diagram, grid, first=axes is maps[0])
        _title(axes, "abc"[maps.index(axes)], name)
    for axes in shown:
        axes.set(xlim=(0, width), ylim=(-keys, 0))  # in inches
        axes.set_axis_off()
    _phase_map(maps[0], shown[0], diagram, present, examples)
    _time_map(maps[1], shown[1], diagram)
    _rate_map(maps[2], shown[2], diagram)

    step = (grid.room + CURVE_GAP) / columns
    for index, (label, cell) in enumerate(examples.items()):
        row, column = divmod(index, columns)
        axes = place(left + column * step, top_curves + row * curve_step, step - CURVE_GAP, CURVE_HEIGHT)
        _curves(axes, diagram, label, cell, index + 1, first=column == 0, room=step - CURVE_GAP)
        if index == 0:
            what = f"Numbered cells: train (dashed) and {diagram.definition.split} (solid), "
            runs = "runs" if diagram.mixed else "seeds"
            what += f"median and 10–90 % of {runs}, " if diagram.seeds.max() > 1 else ""
            what += "threshold (dotted)"
            _title(axes, "d", what, above=46)
    for number, line in enumerate(reversed(footer)):
        figure.text(left / drawing.WIDTH, (0.06 + drawing.LINE * number) / total, line, size=7, color="#555555")
    return figure


def make_values(values: ValueMap, statistic: str) -> Figure:
    """A map 3.4 inches wide of one statistic of a `sweeps.ValueMap`, in the style of all."""
    with drawing.styled():
        return _values(values, statistic)


def draw_values(values: ValueMap, statistic: str, path: str | Path) -> None:
    """Writes a map 3.4 inches wide of one statistic of a `sweeps.ValueMap`, its caption as .txt.

    Its colours are over the logarithm where values span more than two decades, all above 0.

    Raises:
      FieldError: the path has another ending.
    """
    drawing.save(lambda: make_values(values, statistic), path)
    write_text(Path(path).with_suffix(".txt"), values_caption(values, statistic) + "\n")


def _values(values: ValueMap, statistic: str) -> Figure:
    grid = drawing.Grid.over(values, 1, widest=drawing.NARROW - 0.95)
    name = Provenance.of(values.source).name
    parts = [name, style.seeds_text(values.seeds), *style.left_out_texts(values)]
    figure, axes, key = _single_map(values, grid, 4 * drawing.LINE, _lines(parts, grid.width))
    shown = np.asarray(values.statistics.columns[statistic], float)
    known = np.isfinite(shown)
    if known.any():
        low, high, wide = style.span(shown)
        shades: drawing.Shades = {"array": shown, "cmap": TIMES, "norm": drawing.norm(low, high, wide)}
        drawing.shade(axes, values, known, shades)
        ends = [(v, style.value_text(v, 3)) for v in (low, (low + high) / 2, high)]
        ends = style.log_ticks(low, high, 4) if wide else ends
        what = drawing.clip(f"{statistic} of {values.name}", grid.width)
        drawing.colour_bar(key, shades, ends if np.ptp(shown[known]) > 0 else ends[:1], what)
    return figure


def _narrow(diagram: Diagram) -> Figure:
    grid = drawing.Grid.over(diagram, 1, widest=drawing.NARROW - 0.95)
    here = style.present([diagram])
    keys = drawing.LINE * _key_rows(diagram, here) + 0.1
    footer = _footer(diagram, drawing.NARROW - grid.left - drawing.MARGIN)
    figure, axes, key = _single_map(diagram, grid, keys, footer)
    _phase_map(axes, key, diagram, here, {})
    return figure


def _single_map(
    diagram: Diagram | ValueMap, grid: drawing.Grid, keys: float, footer: list[str]
) -> tuple[Figure, Axes, Axes]:
    """A figure over one column, the axes of its map and of its key."""
    total = 0.12 + grid.height + grid.below + keys + drawing.LINE * len(footer) + 0.06
    figure = Figure(figsize=(drawing.NARROW, total), facecolor="white")
    place = lambda top, height: figure.add_axes(  # noqa: E731
        (grid.left / drawing.NARROW, 1 - (top + height) / total, grid.width / drawing.NARROW, height / total)
    )
    axes, key = place(0.12, grid.height), place(0.12 + grid.height + grid.below, keys)
    drawing.set_axes(axes, diagram, grid, first=True)
    key.set(xlim=(0, grid.width), ylim=(-keys, 0))  # in inches
    key.set_axis_off()
    for number, line in enumerate(reversed(footer)):
        figure.text(grid.left / drawing.NARROW, (0.06 + drawing.LINE * number) / total, line, size=7, color="#555555")
    return figure, axes, key


def _footer(diagram: Diagram, room: float) -> list[str]:
    count = len(diagram.runs)
    origin = Provenance.of(diagram.source)
    left = origin.unfinished(diagram.source)
    parts = [origin.name, f"{count} run{'s' if count > 1 else ''}", *([f"not finished: {left}"] if left else [])]
    definition = f"definition: {diagram.definition}"
    whole = [definition] if drawing.inches(definition) <= room else definition.split(", ")
    return _lines([*parts, style.cells_text(diagram), *whole], room)


def _lines(parts: list[str], room: float, between: str = "  ·  ") -> list[str]:
    """The parts side by side, in as many lines as they need."""
    lines = [""]
    for part in (drawing.clip(part, room) for part in parts):
        longer = f"{lines[-1]}{between}{part}" if lines[-1] else part
        fits = drawing.inches(longer) <= room
        lines[len(lines) - fits :] = [longer if fits else part]
    return lines


def _title(axes: Axes, letter: str, text: str, above: float = 5) -> None:
    axes.annotate(letter, (0, 1), (0, above), "axes fraction", "offset points", weight="bold", size=9)
    axes.annotate(text, (0, 1), (12, above), "axes fraction", "offset points", size=8)


def _phase_map(axes: Axes, key: Axes, diagram: Diagram, present: list[int], examples: dict[int, int]) -> None:
    drawing.paint_labels(axes, diagram, present)
    drawing.contour_lines(axes, diagram)
    x, y = (axis.positions for axis in diagram.axes)
    for cell in dict.fromkeys(examples.values()):
        row, column = divmod(cell, len(x))
        text = ",".join(str(number) for number, other in enumerate(examples.values(), 1) if other == cell)
        shape = "circle,pad=0.12" if len(text) == 1 else "round,pad=0.15,rounding_size=0.55"
        disc = {"boxstyle": shape, "facecolor": "white", "edgecolor": "#222222", "linewidth": 0.5, "zorder": 4}
        axes.text(x[column], y[row], text, size=7, ha="center", va="center_baseline", bbox=disc, zorder=5)
    row = drawing.label_key(key, present, [diagram])
    if (diagram.seeds == 0).any():
        drawing.key_entry(key, row, "no runs", facecolor="white", edgecolor=style.EMPTY_LINES)
        for ends in ((0, 1), (1, 0)):
            key.plot(
                [0, 0.14],
                [-drawing.LINE * row - 0.095 + 0.09 * v for v in ends],
                color=style.EMPTY_LINES,
                linewidth=0.5,
            )
        row += 1
    row = drawing.contour_key(key, row, diagram)
    drawing.theory_lines(axes, diagram)
    row = drawing.theory_key(key, row, diagram, curves=bool(examples))
    alone = diagram.boundary is not None and diagram.contour is None  # their lines would be taken for one another
    if alone and (said := drawing.boundary_lines(axes, diagram)):
        _line_key(key, row, said)
        row += 1
    if not diagram.resolved.all():
        drawing.unresolved_marks(axes, diagram)
        drawing.dots(key, np.array([0.07]), np.array([-drawing.LINE * row - 0.05]))
        drawing.key_text(key, row, "turns within one interval of gap")


def _line_key(key: Axes, row: int, said: str) -> None:
    """Explains the line of P = 1/2, or the edges of its band where there is no line."""
    width, dashes = (1.2, "solid") if said.startswith("P") else (0.7, drawing.DOTTED)
    key.plot([0, 0.14], [-drawing.LINE * row - 0.05] * 2, color="#000000", linewidth=width, linestyle=dashes)
    drawing.key_text(key, row, said)


def _key_rows(diagram: Diagram, present: list[int]) -> int:
    """How many lines the key of the map of labels needs at most."""
    marked = (diagram.agreement < 1).any(), (diagram.seeds == 0).any(), not diagram.resolved.all()
    lines = len(diagram.contour.levels) if diagram.contour else diagram.boundary is not None
    return len(present) + sum(map(bool, marked)) + lines + len(diagram.overlays)


def _time_map(axes: Axes, key: Axes, diagram: Diagram) -> None:
    times, span = style.colour_times(diagram)
    reached, budget, split, row = np.isfinite(times), diagram.definition.budget, diagram.definition.split, 0
    if reached.any():
        shades: drawing.Shades = {"array": times, "cmap": TIMES, "norm": LogNorm(*span)}
        drawing.shade(axes, diagram, reached, shades)
        drawing.colour_bar(key, shades, style.log_ticks(*span, 5), f"median step at threshold ({split})")
        row = 3
    late = np.isinf(diagram.median_time) & ~diagram.unwatched
    for cells, colour, hatch, said in (
        (late, style.NOT_REACHED, "//////", style.not_reached(diagram.observed[late], budget)),
        (diagram.unwatched, style.UNWATCHED, "......", style.unwatched(budget)),
    ):
        if cells.any():
            look: drawing.Look = {"facecolor": colour, "edgecolor": style.NOT_REACHED_LINES, "hatch": hatch}
            drawing.paint(axes, diagram, cells, **look)
            first, *others = _lines(said.split(), key.get_xlim()[1] - 0.2, " ")
            drawing.key_entry(key, row, first, **look)
            for at, line in enumerate(others, row + 1):
                drawing.key_text(key, at, line)
            row += 1 + len(others)


def _rate_map(axes: Axes, key: Axes, diagram: Diagram) -> None:
    low, high = diagram.probability_interval()
    shades: drawing.Shades = {"array": diagram.probability, "cmap": RATES, "norm": Normalize(0, 1)}
    drawing.shade(axes, diagram, diagram.seeds > 0, shades)
    said = drawing.boundary_lines(axes, diagram) if diagram.boundary is not None else ""
    if said and diagram.contour is not None:  # else map a tells
        _line_key(key, 3, said)
    drawing.colour_bar(
        key,
        shades,
        [(v, f"{v:g}") for v in (0, 0.5, 1)],
        drawing.clip(f"share of seeds: {diagram.labelling.event_name}", key.get_xlim()[1]),
    )
    half = np.nanmean(high - low) / 2
    key.text(0, -drawing.LINE * 3 - 0.05, f"95 % interval: ± {half:.2f} on average", size=7, va="center")
    if diagram.movable.any():
        look: drawing.Look = {"facecolor": "none", "edgecolor": style.NOT_REACHED_LINES, "hatch": "xxxx"}
        drawing.paint(axes, diagram, diagram.movable, **look)
        drawing.key_entry(key, 4, "undecided runs decide", **look)


def _curves(axes: Axes, diagram: Diagram, index: int, cell: int, number: int, first: bool, room: float) -> None:
    labels, here = diagram.labelling.labels, np.flatnonzero(diagram.runs["cell"] == cell)
    steps = np.where(diagram.curves["step"] > 0, diagram.curves["step"], np.nan)[here]
    d = diagram.definition
    train, test = (diagram.curves[name][here] for name in d.curves)
    strength = 0.9 if len(here) == 1 else max(0.12, 0.5 / len(here) ** 0.5)
    axes.axhline(d.threshold, color="#555555", linewidth=0.6, linestyle=(0, (1, 2)))
    for i, run in enumerate(here):
        ink = labels[diagram.runs["label"].iloc[run]].ink
        axes.plot(steps[i], train[i], color=style.TRAIN_INK, linewidth=0.8, linestyle=(0, (3, 1.5)), alpha=strength)
        axes.plot(steps[i], test[i], color=ink, linewidth=1.0, alpha=strength)
    if len(here) > 1:
        for values, ink, dashes in ((train, style.TRAIN_INK, drawing.DASHED), (test, labels[index].ink, "solid")):
            at, (lower, middle, upper) = style.quantiles(steps, values, (0.1, 0.5, 0.9))
            axes.fill_between(at, lower, upper, color=ink, alpha=0.18, linewidth=0)
            axes.plot(at, middle, linewidth=1.3, color=ink, linestyle=dashes)
    theory_steps, said = diagram.step_curves
    for one, ink in drawing.theory(diagram, along_steps=True):
        axes.plot(theory_steps, said[one.name][cell], color=ink, linewidth=1.3, linestyle=drawing.THEORY, zorder=3)
    low, high = style.step_range(diagram)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    least, most, wide = style.curve_span(diagram)
    if wide:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(style.axis_range(least, most, wide))
    heights, texts = zip(*style.round_ticks(least, most, wide, 4))
    axes.set_yticks(heights, labels=texts)
    ticks = style.log_ticks(low, high, 3 if room < 2 else 5)
    drawing.set_x_ticks(axes, ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step", labelpad=1)
    axes.tick_params(labelleft=first)
    if first:
        axes.set_ylabel(drawing.clip(d.name, CURVE_HEIGHT), labelpad=3)
    row, column = divmod(cell, len(diagram.x_values))
    colour = labels[index].colour
    axes.add_patch(Rectangle((0, 1.04), 1, 0.05, facecolor=colour, transform=axes.transAxes, clip_on=False))
    lines = [drawing.clip(f"{number}  {labels[index].name}", room)]
    for axis, at_cell in zip(diagram.axes, (column, row)):
        lines.append(drawing.clip(f"{axis.label} = {style.value_text(axis.values[at_cell], 3)}", room))
    for line, y in zip(lines, (1.40, 1.265, 1.13)):
        axes.text(0, y, line, transform=axes.transAxes, size=7, weight="bold" if line is lines[0] else "normal")
