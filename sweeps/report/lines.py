"""Curves for print: of groups of rows along the steps, an arm in each panel, or over what groups go by, all in one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sweeps.report import drawing, style

INKS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a07800", "#56b4e9", "#7a3e9d", "#444444"
COLUMNS, HEIGHT, KEY = 3, 1.45, 2.1  # panels side by side; inches of one; of the key of a single panel
TOP, BELOW = 0.3, 0.42  # inches
TICKS = 10  # below numbers, at most
DASHES = drawing.DASHED, (0, (6, 2)), (0, (6, 2, 1, 2)), (0, (2, 2))  # of levels, in their order
SPREAD = 0.6  # of the distance of two numbers that the dots of all arms take
Levels: TypeAlias = Mapping[str, Mapping[str, float]]
Entry: TypeAlias = tuple[str, str, str | tuple[int, tuple[float, ...]]]  # of a key: text, colour, dashes


def draw_lines(
    table: pd.DataFrame, path: str | Path, over: str, levels: Levels, marks: Mapping[str, float], what: str = ""
) -> None:
    """Writes a figure of curves: each seed thin, over numbers a dot, and the mean over seeds thick.

    In the mean along steps runs that ended keep their last value.

    Args:
      table: columns arm, group, seed, step, value.
      path: ends in .png, .svg or .pdf.
      over: what the groups' numbers are; along the steps if empty.
      levels: {name: {arm: value}}, horizontal lines.
      marks: {name: place}, vertical lines.
      what: of which the values are, beside the first panel.
    """
    make = _over_numbers if over else _along_steps

    def figure() -> Figure:
        drawn = make(table, over, levels, marks)
        drawn.axes[0].set_ylabel(drawing.clip(what, HEIGHT), labelpad=2)
        return drawn

    drawing.save(figure, path)


def lines_caption(
    table: pd.DataFrame, over: str, levels: Levels, marks: Mapping[str, float], groups: Mapping[Any, str]
) -> str:
    """What a figure of curves shows: arms, seeds, what its lines are, and of which probes its groups are."""
    seeds = table.groupby("arm", sort=False)["seed"].nunique()
    arms = ", ".join(f"{arm} ({_seeds(count)})" for arm, count in seeds.items())
    shown = f"last values over {over}, a dot for each seed, lines are their means"
    if not over:
        shown = "over steps, each seed thin, the mean over seeds thick, in which runs that ended keep their last value"
    lines = [f"Curves of {arms or 'no stored run'}: {shown}."]
    probes = [f"{group} {probe}" for group, probe in groups.items()]
    some = [probes[0], "…", probes[-1]] if over and len(probes) > 2 else probes
    lines.append(f"Of the probes: {', '.join(some)}.")
    for name, by_arm in levels.items():
        lines.append(f"{name} (dashed): {', '.join(f'{arm} {value:.3g}' for arm, value in by_arm.items())}.")
    lines += [f"Dotted: {name}, {place:g}." for name, place in marks.items()]
    return "\n".join(lines) + "\n"


def _along_steps(table: pd.DataFrame, over: str, levels: Levels, marks: Mapping[str, float]) -> Figure:
    arms, groups = ([*dict.fromkeys(table[column])] for column in ("arm", "group"))
    columns = min(max(len(arms), 1), COLUMNS)
    rows = -(-max(len(arms), 1) // columns)
    entries: list[Entry] = [(str(group), INKS[i], "solid") for i, group in enumerate(groups)]
    entries += _other_entries(levels, marks)
    key = drawing.LINE * -(-len(entries) // columns) + 0.12
    total = rows * (TOP + HEIGHT + BELOW) + key
    left = 0.5
    width = (drawing.WIDTH - left - drawing.MARGIN - drawing.GAP * (columns - 1)) / columns
    drawn = Figure(figsize=(drawing.WIDTH, total), facecolor="white")
    for i, arm in enumerate(arms):
        x, y = left + i % columns * (width + drawing.GAP), i // columns * (TOP + HEIGHT + BELOW) + TOP
        axes = drawn.add_axes((x / drawing.WIDTH, 1 - (y + HEIGHT) / total, width / drawing.WIDTH, HEIGHT / total))
        some = table[(table["arm"] == arm) & (table["step"] > 0)]
        for j, group in enumerate(groups):
            one = some[some["group"] == group].groupby(["seed", "step"])["value"].mean().unstack(0)
            axes.plot(one.index, one.to_numpy(), color=INKS[j], linewidth=0.4, alpha=0.5)
            axes.plot(one.index, one.ffill().mean(axis=1), color=INKS[j], linewidth=1.3)
        _references(axes, {name: by_arm.get(arm, np.nan) for name, by_arm in levels.items()}, marks)
        axes.set(xscale="log", ylim=_span(table["value"], levels))
        axes.set_title(drawing.clip(arm, width), loc="left", size=8, pad=3)
        axes.set_xlabel("step", labelpad=1)
        if len(steps := some["step"].unique()) > 1:
            axes.xaxis.set_minor_locator(NullLocator())
            drawing.set_x_ticks(axes, style.round_ticks(min(steps), max(steps), True, 4))
        if i % columns:
            axes.tick_params(labelleft=False)
        _open(axes)
    _key(drawn, entries, left, total, key, width + drawing.GAP, columns)
    return drawn


def _over_numbers(table: pd.DataFrame, over: str, levels: Levels, marks: Mapping[str, float]) -> Figure:
    arms = [*dict.fromkeys(table["arm"])]
    left, height = 0.5, 2.4
    width = drawing.WIDTH - left - drawing.MARGIN - KEY - drawing.GAP
    total = TOP + height + BELOW
    drawn = Figure(figsize=(drawing.WIDTH, total), facecolor="white")
    axes = drawn.add_axes((left / drawing.WIDTH, BELOW / total, width / drawing.WIDTH, height / total))
    last = table.sort_values("step", kind="stable").groupby(["arm", "group", "seed"], sort=False)["value"].last()
    numbers = np.array(sorted({*table["group"]}), float)
    apart = SPREAD * min(np.diff(numbers), default=1.0)  # so that seeds of one arm do not hide those of another
    for i, arm in enumerate(arms):
        by_seed = last[arm].unstack().sort_index()
        axes.plot(by_seed.index, by_seed.mean(axis=1), color=INKS[i], linewidth=1.2)
        at = by_seed.index.to_numpy(float)[:, None] + apart * ((i + 0.5) / len(arms) - 0.5) + 0 * by_seed
        axes.scatter(at, by_seed, s=3, color=INKS[i], linewidths=0, alpha=0.8)
    shared = {name: float(np.mean([*by_arm.values()])) if by_arm else np.nan for name, by_arm in levels.items()}
    _references(axes, shared, marks)
    axes.set(ylim=_span(table["value"], levels))
    axes.set_xlabel(drawing.clip(over, width), labelpad=2)
    shown = numbers[:: -(-len(numbers) // TICKS) or 1]
    drawing.set_x_ticks(axes, [(at, style.value_text(float(at))) for at in shown])
    _open(axes)
    seeds = table.groupby("arm", sort=False)["seed"].nunique()
    entries: list[Entry] = [(f"{arm} ({_seeds(seeds[arm])})", INKS[i], "solid") for i, arm in enumerate(arms)]
    entries += _other_entries(levels, marks)
    _key(drawn, entries, left + width + drawing.GAP, total, total - TOP, KEY, 1)
    return drawn


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


def _references(axes: Axes, levels: Mapping[str, float], marks: Mapping[str, float]) -> None:
    for i, value in enumerate(levels.values()):
        if np.isnan(value):  # of another arm
            continue
        axes.axhline(value, color="#000000", linewidth=0.8, linestyle=DASHES[i % len(DASHES)])
    for place in marks.values():
        axes.axvline(place, color="#000000", linewidth=0.8, linestyle=drawing.DOTTED)


def _span(values: pd.Series, levels: Levels) -> tuple[float, float]:
    """Limits that hold all values with a little room."""
    all_ = [*values.astype(float), *(value for by_arm in levels.values() for value in by_arm.values())]
    low, high = (min(all_), max(all_)) if all_ else (0.0, 1.0)
    room = 0.04 * (high - low or 1.0)
    return low - room, high + room


def _open(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _other_entries(levels: Levels, marks: Mapping[str, float]) -> list[Entry]:
    dashed: list[Entry] = [(name, "#000000", DASHES[i % len(DASHES)]) for i, name in enumerate(levels)]
    return [*dashed, *((name, "#000000", drawing.DOTTED) for name in marks)]


def _key(
    drawn: Figure, entries: list[Entry], left: float, total: float, height: float, width: float, columns: int
) -> None:
    """A line and its meaning for each entry, below or beside the panels, in so many columns of so many inches."""
    room = width * columns
    key = drawn.add_axes((left / drawing.WIDTH, 0, room / drawing.WIDTH, height / total))
    key.set(xlim=(0, room), ylim=(-height, 0))
    key.set_axis_off()
    for i, (text, ink, dashes) in enumerate(entries):
        x, y = i % columns * width, -drawing.LINE * (i // columns) - 0.05
        key.plot([x, x + 0.2], [y, y], color=ink, linewidth=1.3, linestyle=dashes)
        key.text(x + 0.26, y, drawing.clip(text, width - 0.4), size=7, va="center")
