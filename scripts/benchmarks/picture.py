"""Lane-steps per second against lanes, a line for each peer."""

import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sweeps.report.drawing import save
from sweeps.report.style import log_ticks

LOOKS = {
    "ours": ("#14568c", "o"),
    "wide": ("#43a59b", "s"),
    "jax": ("#5f2d7f", "D"),
    "torch": ("#cf5a1c", "v"),
    "torch-procs": ("#b8450c", "^"),
    "torch-vmap": ("#b8860b", "P"),
}


def draw(case: str, measured: dict[str, Any], path: Path) -> None:
    """Draws the median and the range over rounds of every peer of a case against the lanes it trained at once."""
    save(lambda: _figure(case, measured), path)


def _figure(case: str, measured: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(5, 3.2), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="lanes trained at once", ylabel="lane-steps per second", title=case)
    for name, (colour, marker) in LOOKS.items():
        points = {}
        for said, peer in measured["peers"].items():
            if said.partition("@")[0] == name:
                points[peer["lanes"]] = peer["rates"]
        if points:
            lanes = sorted(points)
            middle = [statistics.median(points[n]) for n in lanes]
            below = [m - min(points[n]) for m, n in zip(middle, lanes)]
            above = [max(points[n]) - m for m, n in zip(middle, lanes)]
            look = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1, "capsize": 2}
            axes.errorbar(lanes, middle, [below, above], label=name, **look)
    for axis in (axes.xaxis, axes.yaxis):
        ticks = log_ticks(*axis.get_view_interval(), 8)
        axis.set_ticks([at for at, _ in ticks], labels=[text for _, text in ticks])
        axis.set_minor_locator(NullLocator())
    axes.grid(which="major", color="#dddddd", linewidth=0.5)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
