"""Several phase diagrams over the same axes side by side, for print: phases above, final test accuracy below."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from jaxgen import FieldError
from sweeps.diagram import aligned
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
    x_ticks, y_ticks = (
        [(at, single.clip(text, 0.85)) for at, text in style.ticks(values, most)]
        for values, most in ((first.x_values, 5), (first.y_values, 6))
    )
    left = single.MARGIN + 0.27 + max(single.inches(text) for _, text in y_ticks)
    width = min((single.WIDTH - left - single.MARGIN - single.GAP * (len(panels) - 1)) / len(panels), 2.0)
    tilt = (max(single.inches(text) for _, text in x_ticks) + 0.08) * len(x_ticks) > width
    below = 0.3 + (0.03 + max(single.inches(text) for _, text in x_ticks) if tilt else 0.12)
    height = min(width, max(0.5, 0.3 * len(first.y_values)))
    present = [phase for phase in Phase if any(d.counts[..., phase].any() for d in diagrams)]
    disagree = any((d.agreement < 1).any() for d in diagrams)
    levels = len(first.contour.levels) if first.contour else 0
    keys = single.LINE * max(4, len(present) + disagree + levels) + 0.1
    top, second = 0.4, 0.4 + height + 0.14
    top_keys = second + height + below
    total = top_keys + keys + 2 * single.LINE + 0.1
    drawn = Figure(figsize=(single.WIDTH, total), facecolor="white")
    place = lambda x, y, w, h: drawn.add_axes(  # noqa: E731
        (x / single.WIDTH, 1 - (y + h) / total, w / single.WIDTH, h / total)
    )
    for index, (name, diagram) in enumerate(panels.items()):
        x = left + index * (width + single.GAP)
        upper, lower = place(x, top, width, height), place(x, second, width, height)
        for axes in (upper, lower):
            single.set_axes(axes, diagram, x_ticks, y_ticks, tilt, first=index == 0)
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
    _keys(place(left, top_keys, KEY, keys), place(left + KEY + 0.5, top_keys, KEY, keys), keys, diagrams, present)
    runs = sum(len(d.runs) for d in diagrams)
    seeds = style.seeds_text(np.concatenate([d.seeds.ravel() for d in diagrams]))
    for line, text in enumerate((f"definition: {first.definition}", f"{runs} runs  ·  {seeds}")):
        text = single.clip(text, single.WIDTH - left - single.MARGIN)
        drawn.text(left / single.WIDTH, (0.06 + single.LINE * line) / total, text, size=7, color="#555555")
    return drawn


def _keys(key: Any, bar: Any, height: float, diagrams: list, present: list[Phase]) -> None:
    for axes in (key, bar):
        axes.set(xlim=(0, KEY), ylim=(-height, 0))  # in inches
        axes.set_axis_off()
    single.contour_key(key, single.phase_key(key, present, diagrams), diagrams[0])
    ticks = [(v, f"{v:g}") for v in (0, 0.5, 1)]
    single.colour_bar(bar, ACCURACIES, Normalize(0, 1), ticks, "last test accuracy, mean over seeds (lower maps)")
