"""The caption of a phase diagram as text: what it is of, how sure it is, and how to make it again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sweeps.diagrams.diagram import Contour, Diagram
from sweeps.diagrams.guessing import SAID, Guess
from sweeps.diagrams.values import ValueMap
from sweeps.report import style
from sweeps.report.provenance import Provenance
from sweeps.statistics.boundary import Boundary
from sweeps.statistics.jackknife import LEAST_UNITS
from sweeps.storage.files import write_text

LISTED = 4  # values of a field


def write_caption(diagram: Diagram, path: str | Path, panels: str) -> None:
    """Writes `caption` beside a figure, with the ending .txt."""
    write_text(Path(path).with_suffix(".txt"), caption(diagram, panels) + "\n")


def caption(diagram: Diagram, panels: str = "") -> str:
    """What is drawn, seeds, definition, intervals, censored runs, versions, and the command that trains a run again.

    Args:
      diagram: a `sweeps.Diagram`.
      panels: in which panels of the figure its fitted line is; none if empty.
    """
    origin = Provenance.of(diagram.source)
    order = dict.fromkeys([*(path for path in origin.fields if path in diagram.held), *diagram.held])
    fixed = ", ".join(f"{path} = {style.value_text(diagram.held[path])}" for path in order)
    low, high = diagram.probability_interval()
    unknown = diagram.undecided
    late = ~diagram.times()[1]
    untold = f", of {int((late & unknown).sum())} it is not known; all of these" if (late & unknown).any() else " and"
    few = (diagram.median_interval()[0] == 0).any()
    totals = diagram.counts.sum((0, 1))
    x_count, y_count = (
        f"in {axis.bins} bins" if axis.bins else f"{len(axis.values)}{unit}"
        for axis, unit in zip(diagram.axes, (" values", ""))
    )
    labels = {axis.name: axis.label for axis in diagram.axes}
    names = [f"{diagram.labelling.names[i]} {totals[i]}" for i in style.present([diagram])]
    lines = [
        f"{origin.name or 'Phase diagram'}: {_described(diagram, origin)}".rstrip(": "),
        f"{len(diagram.runs)} runs over {diagram.x_axis.label} ({x_count}) and {diagram.y_axis.label} ({y_count}), "
        f"{style.cells_text(diagram)} ({diagram.sampled})"
        + (f"; held: {fixed}" if fixed else "")
        + "".join(f"; {path} goes with {labels[axis]}" for path, axis in diagram.followers.items())
        + (f"; taken together over {', '.join(diagram.pooled)}" if diagram.pooled else "")
        + ".",
        *(f"{axis.label} is computed from {_and(axis.fields)}." for axis in diagram.axes if axis.derived),
        *([_mixed(diagram)] if diagram.mixed else []),
        *_zeros(diagram, ", also for the line" if diagram.boundary is not None else ""),
        f"Labels ({diagram.labelling.name}): {diagram.definition}. Runs: {', '.join(names)}.",
        f"P({diagram.labelling.event_name}) of a cell: Wilson interval at 95 %, ± {np.nanmean(high - low) / 2:.2f} on "
        "average.",
        f"Times are Kaplan–Meier medians over the seeds of a cell, known to the interval between two evaluations; "
        f"{int((late & ~unknown).sum())} of {len(late)} runs did not reach the threshold{untold} are censored."
        + (" In the table, a lower end of 0 of a median says that nothing is known of it." if few else ""),
    ]
    if near := style.unresolved_text(diagram):
        every = " or ".join(f"{steps:g}" for steps in sorted(diagram.runs["training.evaluate_every"].unique()))
        lines.append(f"{near}, from comprehension to grokking or back (dots): delays are known to ± {every} steps.")
    if (found := diagram.guess) and found.chance > SAID:
        lines.append(_guessed(diagram, found))
    if left := origin.unfinished(diagram.source):
        lines.append(f"Not finished: {left}.")
    if turned := style.undecided_text(diagram):
        lines.append(
            f"Undecided runs were not watched to the budget{_stop_rule(diagram)}; they are left out of P: {turned} of "
            f"{int((diagram.seeds > 0).sum())} to the other side of ½, through which no line is drawn."
        )
    if diagram.boundary is not None:
        drawn = f" ({panels})" if panels else ", not drawn here"
        lines.append(f"Line{drawn}: {style.boundary_text(diagram)}, {_drawn(diagram, diagram.boundary)}.")
    if diagram.contour is not None:
        lines.append(_contour(diagram, diagram.contour))
    if diagram.overlays:
        lines.append(f"Theory (dash-dotted): {_overlays(diagram)}.")
    lines.append(f"Trained with {origin.versions}.")
    said = [" ".join(line.split()) for line in lines]
    return "\n".join([*said, f"Any run again, e.g.: {origin.replay}{diagram.runs['run_id'].iloc[0]}"])


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _overlays(diagram: Diagram) -> str:
    """The names of what theories say, which of them are not seen, and what they were computed from."""
    said = []
    for one in diagram.overlays:
        where = "over the curves" if one.along == "step" else "over the map"
        if one.along != "step" and not len(diagram.map_lines()[one.name]):
            where = "nowhere on the map"
        said.append(f"{one.name} ({where}{f', from {_and(one.fields)}' if one.fields else ''})")
    return "; ".join(said)


def _mixed(diagram: Diagram) -> str:
    return (
        f"Runs of a cell differ in more than their seeds ({len(np.unique(diagram.units))} in all): the intervals of a "
        "cell take its runs as draws of one kind, which they are not."
    )


def _guessed(diagram: Diagram, found: Guess) -> str:
    """How likely a run that guesses is to cross the threshold, and what makes it less so."""
    told = f"A run that guesses, right with a chance of {found.rate:.2g}, is at the threshold on its {found.rows} "
    told += f"{diagram.definition.split} "
    often = {0: "at the last", 1: "at some"}.get(diagram.definition.sustained, "at so many in a row")
    less = f"; --sustained={found.sustained} makes it less than {SAID:.0%}" if found.sustained else ""
    told += f"rows {often} of {found.looks} evaluations with a chance of {found.chance:.0%}, were these independent"
    return f"{told}{less}."


def values_caption(values: ValueMap, statistic: str) -> str:
    """What a map of values shows: statistic, number, runs, which are left out, and the definition if one applies."""
    origin = Provenance.of(values.source)
    size = ", times the size of the system" if statistic.startswith("susceptibility") else ""
    lines = [
        f"{origin.name or 'Values'}: {statistic} over the seeds of a cell of {values.name}{size}.",
        f"{int(values.seeds.sum())} runs over {values.x_axis.label} ({len(values.x_values)}) and "
        f"{values.y_axis.label} ({len(values.y_values)}), {style.seeds_text(values.seeds)}"
        + "".join(f"; {said}" for said in style.left_out_texts(values))
        + ".",
        *_zeros(values),
    ]
    if values.statistics.left_out.any():
        lines.append("Runs without a finite value count in nothing: of times these are runs that did not get there.")
    if values.undecided is not None and values.undecided.any():
        lines.append("Undecided runs were not watched to the budget: what they hold is of an earlier step.")
    if values.definition is not None:
        lines.append(f"Definition: {values.definition}.")
    return "\n".join(" ".join(line.split()) for line in lines)


def _zeros(drawn: Diagram | ValueMap, more: str = "") -> list[str]:
    """Where 0 stands on logarithmic axes, as a line if it does on any."""
    return [f"{said}{more}."] if (said := style.zero_text(drawn)) else []


def _contour(diagram: Diagram, contour: Contour) -> str:
    """What a contour's lines part, and where its side at or above the levels lies."""
    values, levels = contour.values, contour.levels
    cells = [f"{level:g} in {int((values >= level).sum())}" for level in levels]
    dashed = f" ({', '.join(f'{level:g}' for level in levels[:-1])} dashed)" if len(levels) > 1 else ""
    said = f"Contour: the largest {contour.probe} up to the budget, mean over seeds{dashed}"
    said += f"; it is at or above {', '.join(cells)} of {int(np.isfinite(values).sum())} cells"
    if np.isnan(values).all():
        return f"{said}."
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    at = f"{diagram.x_axis.label} {style.value_text(diagram.x_values[column])}"
    at += f", {diagram.y_axis.label} {style.value_text(diagram.y_values[row])}"
    return f"{said}, and most, {np.nanmax(values):.3g}, at {at}."


def _drawn(diagram: Diagram, boundary: Boundary) -> str:
    """What the intervals of the line and the area took as the sampling unit."""
    seeds = (diagram.units == diagram.runs["seed"]).all()
    units, name = boundary.units, "seed" if seeds else "train split"
    if units < LEAST_UNITS:
        return f"of {units} {name}{'s' if units > 1 else ''}: no interval is known below {LEAST_UNITS}"
    return f"bootstrap and jackknife over the {units} {name}s"


def _stop_rule(diagram: Diagram) -> str:
    """What the stop rule asked of the runs, where it ended undecided ones."""
    runs = diagram.runs
    if not (diagram.undecided & (runs["status"] == "stopped")).any() or "training.stop_threshold" not in runs:
        return ""
    levels = ", ".join(f"{level:g}" for level in sorted(runs["training.stop_threshold"].unique()))
    rules = runs[["training.stop_metric", "training.stop_below"]].drop_duplicates().to_numpy()
    said = " or ".join(f"{metric} {'≤' if below else '≥'}" for metric, below in rules)
    return f" (runs are stopped at {said} {levels})"


def _described(diagram: Diagram, origin: Provenance) -> str:
    """The sweep's description, and the values that these runs have of the fields in which it may not hold."""
    said = []
    for path in (path for path in origin.changed if path in diagram.runs):
        column = diagram.runs[path].drop_duplicates()
        texts = list(map(style.value_text, column.sort_values() if column.dtype.kind in "iuf" else column))
        if len(texts) > LISTED:
            texts = [f"{texts[0]} … {texts[-1]} ({len(texts)} values)"]
        said.append(f"{path} = {', '.join(texts)}")
    return ", ".join(filter(None, [origin.description, f"with {'; '.join(said)}" if said else ""]))
