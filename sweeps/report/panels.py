"""Several phase diagrams over the same axes side by side, for print: phases above, last values on test below."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from jaxgen import FieldError
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.gather import aligned
from sweeps.report import drawing, style

LAST = LinearSegmentedColormap.from_list("last", style.LAST_SHADES)
MOST = 4
KEY = 2.2  # inches


def draw_panels(panels: Mapping[str, Diagram], path: str | Path) -> None:
    """Writes a figure 7 inches wide with a column for each of up to four `sweeps.Diagram`s, named by its key.

    Above stands each cell's most frequent label, with an inner square for the second one where seeds disagree; below,
    or on the right of a single diagram, the mean over seeds of the metric's last value on test. Contours of the
    diagrams lie over both.

    Raises:
      FieldError: there are no or too many panels, their axes or metrics differ, or the path ends in something else than
        .png, .svg or .pdf.
    """
    if not 1 <= len(panels) <= MOST:
        raise FieldError("panels", len(panels), f"must be 1 to {MOST}")
    panels = aligned(panels)
    drawing.save(lambda: _figure(panels), path)


def _figure(panels: Mapping[str, Diagram]) -> Figure:
    diagrams = list(panels.values())
    first = diagrams[0]
    single = len(panels) == 1
    grid = drawing.Grid.over(first, 2 if single else len(panels), widest=drawing.WIDTH if single else 2.0)
    width, height = grid.width, grid.height
    present = style.present(diagrams)
    disagree = any((d.agreement < 1).any() for d in diagrams)
    span = style.last_span(diagrams)
    levels = len(first.contour.levels) if first.contour else 0
    theories = len(drawing.theory(first, along_steps=False))
    keys = drawing.LINE * max(4, len(present) + disagree + levels + theories) + 0.1
    top, second = 0.4, 0.4 if single else 0.4 + height + 0.14
    top_keys = second + height + grid.below
    total = top_keys + keys + 2 * drawing.LINE + 0.1
    drawn = Figure(figsize=(drawing.WIDTH, total), facecolor="white")
    place = lambda x, y, w, h: drawn.add_axes(  # noqa: E731
        (x / drawing.WIDTH, 1 - (y + h) / total, w / drawing.WIDTH, h / total)
    )
    for index, (name, diagram) in enumerate(panels.items()):
        x = grid.left + index * (width + drawing.GAP)
        upper, lower = place(x, top, width, height), place(x + single * (width + drawing.GAP), second, width, height)
        for axes in (upper, lower):
            drawing.set_axes(axes, diagram, grid, first=index == 0 and not (single and axes is lower))
        if not single:
            upper.set_xlabel("")
            upper.tick_params(labelbottom=False)
        drawing.paint_labels(upper, diagram, present)
        last = diagram.last_test
        drawing.shade(lower, diagram, np.isfinite(last), _shades(last, span))
        for axes in (upper, lower):
            drawing.contour_lines(axes, diagram)
        drawing.theory_lines(upper, diagram)
        letter, indent = ("", 0) if single else ("abcd"[index], 12)
        upper.annotate(letter, (0, 1), (0, 5), "axes fraction", "offset points", weight="bold", size=9)
        text = drawing.clip(name, width - 0.15)
        upper.annotate(text, (0, 1), (indent, 5), "axes fraction", "offset points", size=8)
    key, bar = (place(x, top_keys, KEY, keys) for x in (grid.left, grid.left + KEY + 0.5))
    _keys(key, bar, keys, diagrams, present, span)
    runs = sum(len(d.runs) for d in diagrams)
    seeds = style.cells_text(*diagrams)
    for line, text in enumerate((f"definition: {first.definition}", f"{runs} runs  ·  {seeds}")):
        text = drawing.clip(text, grid.room)
        drawn.text(grid.left / drawing.WIDTH, (0.06 + drawing.LINE * line) / total, text, size=7, color="#555555")
    return drawn


def _keys(
    key: Axes, bar: Axes, height: float, diagrams: list[Diagram], present: list[int], span: tuple[float, float, bool]
) -> None:
    for axes in (key, bar):
        axes.set(xlim=(0, KEY), ylim=(-height, 0))  # in inches
        axes.set_axis_off()
    row = drawing.contour_key(key, drawing.label_key(key, present, diagrams), diagrams[0])
    drawing.theory_key(key, row, diagrams[0])
    where = "right" if len(diagrams) == 1 else "lower maps"
    what = drawing.clip(f"last {diagrams[0].definition.tested}, mean over seeds ({where})", 2 * KEY)
    drawing.colour_bar(bar, _shades(diagrams[0].last_test, span), style.round_ticks(*span, 4), what)


def _shades(last: np.ndarray, span: tuple[float, float, bool]) -> drawing.Shades:
    return {"array": last, "cmap": LAST, "norm": drawing.norm(*span)}
