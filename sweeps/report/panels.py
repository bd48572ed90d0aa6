"""Several phase diagrams over the same axes side by side, for print: phases above, final test accuracy below."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from jaxgen import FieldError
from sweeps.diagram import value_name
from sweeps.phases import Phase
from sweeps.report import figure as single
from sweeps.report import style

ACCURACIES = LinearSegmentedColormap.from_list("accuracies", style.ACCURACY_SHADES)
MOST = 4
KEY = 2.2  # inches


def draw_panels(panels: dict[str, Any], path: str | Path) -> None:
    """Writes a figure 7 inches wide with a column for each of up to four `sweeps.Diagram`s, named by its key.

    Above stands each cell's most frequent phase, with an inner square for the second one where seeds disagree; below
    the mean over seeds of the last test accuracy. Contours of the diagrams lie over both.

    Raises:
      FieldError: there are no or too many panels, their axes differ, or the path ends in something else than .png, .svg
        or .pdf.
    """
    if not 1 <= len(panels) <= MOST:
        raise FieldError("panels", len(panels), f"must be 1 to {MOST}")
    panels = aligned(panels)
    single.save(lambda: _figure(panels), path)


def _figure(panels: dict[str, Any]) -> Figure:
    diagrams = list(panels.values())
    first = diagrams[0]
    grid = single.Grid.over(first, len(panels), widest=2.0)
    width, height = grid.width, grid.height
    present = [phase for phase in Phase if any(d.counts[..., phase].any() for d in diagrams)]
    disagree = any((d.agreement < 1).any() for d in diagrams)
    levels = len(first.contour.levels) if first.contour else 0
    keys = single.LINE * max(4, len(present) + disagree + levels) + 0.1
    top, second = 0.4, 0.4 + height + 0.14
    top_keys = second + height + grid.below
    total = top_keys + keys + 2 * single.LINE + 0.1
    drawn = Figure(figsize=(single.WIDTH, total), facecolor="white")
    place = lambda x, y, w, h: drawn.add_axes(  # noqa: E731
        (x / single.WIDTH, 1 - (y + h) / total, w / single.WIDTH, h / total)
    )
    for index, (name, diagram) in enumerate(panels.items()):
        x = grid.left + index * (width + single.GAP)
        upper, lower = place(x, top, width, height), place(x, second, width, height)
        for axes in (upper, lower):
            single.set_axes(axes, diagram, grid, first=index == 0)
        upper.set_xlabel("")
        upper.tick_params(labelbottom=False)
        single.paint_phases(upper, diagram, present)
        shown = np.isfinite(diagram.test_accuracy)
        single.paint(lower, diagram, shown, array=diagram.test_accuracy, cmap=ACCURACIES, norm=Normalize(0, 1))
        for axes in (upper, lower):
            single.contour_lines(axes, diagram)
        upper.annotate("abcd"[index], (0, 1), (0, 5), "axes fraction", "offset points", weight="bold", size=9)
        text = single.clip(name, width - 0.15)
        upper.annotate(text, (0, 1), (12, 5), "axes fraction", "offset points", size=8)
    key, bar = (place(x, top_keys, KEY, keys) for x in (grid.left, grid.left + KEY + 0.5))
    _keys(key, bar, keys, diagrams, present)
    runs = sum(len(d.runs) for d in diagrams)
    seeds = style.seeds_text(np.concatenate([d.seeds.ravel() for d in diagrams]))
    for line, text in enumerate((f"definition: {first.definition}", f"{runs} runs  ·  {seeds}")):
        text = single.clip(text, grid.room)
        drawn.text(grid.left / single.WIDTH, (0.06 + single.LINE * line) / total, text, size=7, color="#555555")
    return drawn


def _keys(key: Any, bar: Any, height: float, diagrams: list, present: list[Phase]) -> None:
    for axes in (key, bar):
        axes.set(xlim=(0, KEY), ylim=(-height, 0))  # in inches
        axes.set_axis_off()
    single.contour_key(key, single.phase_key(key, present, diagrams), diagrams[0])
    ticks = [(v, f"{v:g}") for v in (0, 0.5, 1)]
    single.colour_bar(bar, ACCURACIES, Normalize(0, 1), ticks, "last test accuracy, mean over seeds (lower maps)")


def aligned(diagrams: dict[str, Any]) -> dict[str, Any]:
    """Diagrams over the same two fields, each with cells for the values that any of them has.

    Raises:
      FieldError: the fields differ.
    """
    if len({(d.x, d.y) for d in diagrams.values()}) > 1:
        raise FieldError("panels", [(d.x, d.y) for d in diagrams.values()], "must be over the same two fields")
    x_values, y_values = (_union([getattr(d, axis) for d in diagrams.values()]) for axis in ("x_values", "y_values"))
    return {name: _spread(d, x_values, y_values) for name, d in diagrams.items()}


def _union(axes: list[list]) -> list:
    """All values, ascending; as texts, words last, where any of them is one."""
    values = {v for axis in axes for v in axis}
    if not any(isinstance(v, str) for v in values):
        return sorted(values)

    def order(text: str) -> tuple:
        try:
            return 0, float(text), text
        except ValueError:
            return 1, 0.0, text

    return sorted(set(map(value_name, values)), key=order)


def _spread(d: Any, x_values: list, y_values: list) -> Any:
    columns, rows = (
        np.array([values.index(v if v in values else value_name(v)) for v in own])
        for values, own in ((x_values, d.x_values), (y_values, d.y_values))
    )
    place, shape = np.ix_(rows, columns), (len(y_values), len(x_values))
    counts = np.zeros((*shape, len(Phase)), int)
    counts[place] = d.counts
    row, column = np.divmod(d.runs["cell"].to_numpy(), len(d.x_values))
    runs = d.runs.assign(cell=rows[row] * shape[1] + columns[column])
    contour = d.contour
    if contour is not None:
        values = np.full(shape, np.nan)
        values[place] = contour.values
        contour = dataclasses.replace(contour, values=values)
    return dataclasses.replace(d, x_values=x_values, y_values=y_values, runs=runs, counts=counts, contour=contour)
