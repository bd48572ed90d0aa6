"""What the figure and the page share: colours, and how names and values are printed."""

import numpy as np
from contourpy import contour_generator

from sweeps.axes import scales
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.values import ValueMap
from sweeps.statistics.boundary import Boundary
from sweeps.statistics.jackknife import LEAST_UNITS

THEORY_INKS = "#e6007e", "#00a0c6", "#5a9e00", "#8a3ffc"
"""Of overlays, in their order: on white and on every label's colour."""
NOT_REACHED, NOT_REACHED_LINES = "#d4d4d4", "#7c7c7c"
UNWATCHED = "#f4f1e8"
EMPTY_LINES = "#c9c9c9"
CHOSEN = "#e6007e"  # neither a phase nor a contour
TRAIN_INK = "#8c8c8c"
TIME_SHADES = ["#f5e690", "#a3d39c", "#43a59b", "#1f6a86", "#23315f"]  # from early to late
LAST_SHADES = ["#f4f1ea", "#c9d8b6", "#7fb091", "#3a7d74", "#12474f"]  # from none to all correct, or low to high
RATE_SHADES = ["#f7f3f8", "#cdb9dc", "#9a6fb5", "#5f2d7f", "#33104a"]  # from none to all

ROOM = 0.04
DECADES = 100  # values that span more are shown by their logarithm

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def value_text(value: object, digits: int = 4) -> str:
    """A value in print: numbers rounded, with a power of ten where they are very large or small.

    >>> value_text(0.304545454545), value_text(1e-7), value_text(3000), value_text("MLP")
    ('0.3045', '10⁻⁷', '3000', 'MLP')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if value == 0:
        return "0"
    if not np.isfinite(value) or (isinstance(value, int) and abs(value) < 1e7):
        return str(value)
    if 1e-4 <= abs(value) < 1e5:
        return f"{value:.{max(digits, 5 if abs(value) >= 100 else 0)}g}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa}·{power}"


def all_edges(diagram: Diagram | ValueMap) -> list[np.ndarray]:
    """The borders of a diagram's cells along x and along y."""
    return [axis.edges for axis in diagram.axes]


def ticks(values: list, most: int) -> list[tuple[float, str]]:
    """At most `most` positions along an axis with the texts that stand there; a categorical axis has up to twelve, a
    symmetric-log one its 0.

    >>> ticks([0.01, 0.1, 1.0, 10.0, 100.0], 6), ticks(["MLP", "CNN"], 6)
    ([(0.01, '0.01'), (0.1, '0.1'), (1.0, '1'), (10.0, '10'), (100.0, '100')], [(0.0, 'MLP'), (1.0, 'CNN')])
    """
    kind = scales.kind(values)
    at = scales.positions(values, kind).tolist()
    if kind == "categorical" or len(values) < most:
        return [(at[i], value_text(values[i], 3)) for i in range(0, len(at), -(-len(at) // 12))]
    borders = scales.edges(values, kind)
    if kind == "symlog":
        return [(at[0], "0"), *round_ticks(borders[1], borders[-1], True, most - 1)]
    return round_ticks(borders[0], borders[-1], kind == "log", most)


def zero_text(diagram: Diagram | ValueMap) -> str:
    """Where 0 stands on the axes that are logarithmic beside it, for a line may run there; empty where on none."""
    said = []
    for axis in diagram.axes:
        if axis.kind == "symlog":
            at, next_ = value_text(float(axis.positions[0])), value_text(axis.values[1])
            said.append(f"0 on the axis {axis.label} stands at {at}, one step of its scale below {next_}")
    return "; ".join(said)


def round_ticks(low: float, high: float, wide: bool, most: int) -> list[tuple[float, str]]:
    """At most `most` round numbers from `low` to `high`, along an axis that is logarithmic where it is `wide`."""
    return (log_ticks if wide else _linear_ticks)(low, high, most)


def log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most `most` round numbers from `low` to `high` that are spread over a log axis, with their texts."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for parts in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        found = [float(f"{part}e{power}") for power in range(first, last + 1) for part in parts]
        found = [v for v in found if low * 0.999 <= v <= high * 1.001]
        if len(found) <= most:
            break
    found = found[:: -(-len(found) // most)] if found else [low, high]
    return [(v, value_text(v, 3)) for v in found]


def _linear_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    power = 10.0 ** np.floor(np.log10((high - low) / most))
    step = next(part * power for part in (1, 2, 2.5, 5, 10, 20) if (high - low) / (part * power) <= most - 0.5)
    numbers = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return [(float(f"{v:.10g}"), value_text(float(f"{v:.10g}"))) for v in numbers]


def span(values: np.ndarray) -> tuple[float, float, bool]:
    """From where to where a scale of these values goes, and whether over the logarithm.

    From the least to the largest finite one, further where they are equal, and from 0 to 1 without any; over the
    logarithm where all are above 0 and span more than two decades.
    """
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return low, high if high > low else low + max(1, abs(low)), 0 < low < high / DECADES


def last_span(diagrams: list[Diagram]) -> tuple[float, float, bool]:
    """From where to where the colours of the last values on test go, and whether over the logarithm."""
    if diagrams[0].definition.is_accuracy:
        return 0.0, 1.0, False
    return span(np.concatenate([diagram.last_test.ravel() for diagram in diagrams]))


def curve_span(*diagrams: Diagram) -> tuple[float, float, bool]:
    """From where to where the metric's curves and threshold go; whether over the logarithm, of what is not 0, then."""
    d = diagrams[0].definition
    if d.is_accuracy:
        return 0.0, 1.0, False
    values = np.concatenate([[d.threshold], *(one.curves[name].ravel() for one in diagrams for name in d.curves)])
    positive = span(values[values != 0])
    return positive if positive[2] else span(values)


def axis_range(low: float, high: float, wide: bool) -> tuple[float, float]:
    """The ends of an axis with some room around what it shows."""
    if wide:
        room = (high / low) ** ROOM
        return low / room, high * room
    room = ROOM * (high - low)
    return low - room, high + room


def inner(low: np.ndarray, high: np.ndarray, share: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The middle `share` of the way from `low` to `high` as the axis runs.

    >>> inner(np.array([0.0]), np.array([1.0]), np.array([0.5]), "linear")
    (array([0.25]), array([0.75]))
    """
    if kind in scales.LOGARITHMIC:
        low, high = inner(np.log(low), np.log(high), share, "linear")
        return np.exp(low), np.exp(high)
    middle, half = (low + high) / 2, (high - low) / 2 * share
    return middle - half, middle + half


def map_name(diagram: Diagram) -> str:
    """What the map of labels is called."""
    return "Phase" if diagram.labelling.name == "four_phases" else diagram.labelling.name.replace("_", " ").capitalize()


def quantiles(steps: np.ndarray, values: np.ndarray, levels: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles over runs of curves (runs, evaluations), at the steps where more than half of the runs are observed.

    A run that has ended keeps its last value: left out, those that learn soonest would pull the median down by ending.

    Returns:
      The steps, ascending, and (levels, steps) values.
    """
    at, place = np.unique(steps, return_inverse=True)
    lined = np.full((len(steps), len(at)), np.nan)
    lined[np.arange(len(steps))[:, None], place.reshape(steps.shape)] = values
    for line in lined:
        known = np.flatnonzero(np.isfinite(line))
        if len(known):
            line[known[-1] :] = line[known[-1]]
    seen = np.isfinite(at) & (2 * np.isfinite(lined).sum(0) > len(steps))
    if not seen.any():
        return at[seen], np.zeros((len(levels), 0))
    return at[seen], np.nanquantile(lined[:, seen], levels, axis=0)


def boundary_text(diagram: Diagram) -> str:
    """What the fitted boundary's lines mean, with the share of the plane on its event's side."""
    lines, band = boundary_lines(diagram)
    drawn = {
        (True, True): "all of it in the 95 % band (dotted)",
        (True, False): "no band is known",
        (False, True): "no line, edges of its 95 % band (dotted)",
        (False, False): "no line",
    }[bool(lines), bool(band)]
    inside = f"; inside: {area_text(diagram.boundary, '{:.2f}')}" if diagram.boundary else ""
    return f"P({diagram.labelling.event_name}) = ½, {drawn}{inside}"


def area_text(boundary: Boundary, form: str) -> str:
    """The share of the plane with its interval; with undecided runs first what it may be whatever they did."""
    area = boundary.area
    value, low, high, least, most = map(form.format, (area.value, area.low, area.high, *boundary.bounds))
    few = f"(no interval: {boundary.units} seed{'s' * (boundary.units > 1)})"
    interval = few if boundary.units < LEAST_UNITS else f"[{low}, {high}]"
    runs = f"{boundary.undecided} undecided run{'s' if boundary.undecided > 1 else ''}"
    if not boundary.undecided:
        return f"{value} {interval} of the plane"
    return f"{least} to {most} whatever {runs} did, {value} {interval} by the others alone, of the plane"


def undecided_text(diagram: Diagram) -> str:
    """How many runs are undecided, and in how many cells they decide the side of P = 1/2; empty without any."""
    count, cells = int((diagram.seeds - diagram.decided).sum()), int(diagram.movable.sum())
    said = f"{count} undecided run{'s' if count > 1 else ''} could turn {cells} cell{'s' if cells != 1 else ''}"
    return said if count else ""


def left_out_texts(values: ValueMap) -> list[str]:
    """How many runs of a map of values have none, diverged, and are undecided, where there are any."""
    counts = {"without a value": values.statistics.left_out, "diverged": values.diverged}
    counts |= {} if values.undecided is None else {"undecided": values.undecided}
    totals = {said: int(count.sum()) for said, count in counts.items()}
    return [f"{total} run{'s' if total > 1 else ''} {said}" for said, total in totals.items() if total]


def unresolved_text(diagram: Diagram) -> str:
    """In how many cells the gap decides within what delays are known to; empty where in none."""
    count = int((~diagram.resolved).sum())
    if not count:
        return ""
    return f"{count} cell{'s turn' if count > 1 else ' turns'} within one interval between evaluations of the gap"


def boundary_lines(diagram: Diagram) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The lines of P = 1/2, and the edges of the band that holds all of it; each (points, 2) in axis coordinates.

    They are left out in the cells that undecided runs could turn.
    """
    boundary = diagram.boundary
    if boundary is None:
        return [], []
    columns, rows = (
        np.clip(np.searchsorted(edges, grid) - 1, 0, len(edges) - 2)
        for edges, grid in zip(all_edges(diagram), (boundary.x_grid, boundary.y_grid))
    )
    hidden = diagram.movable[np.ix_(rows, columns)]
    masked = lambda p: np.ma.array(p, mask=hidden)  # noqa: E731
    middle, low, high = (
        [np.asarray(line) for line in contour_generator(boundary.x_grid, boundary.y_grid, masked(p)).lines(0.5)]
        for p in (boundary.p, boundary.whole_low, boundary.whole_high)
    )
    return middle, low + high


def runner_up(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For cells (…, labels): the second most frequent label and its share of the runs, 0 where seeds agree."""
    rest = counts.copy()
    np.put_along_axis(rest, counts.argmax(-1)[..., None], 0, -1)
    return rest.argmax(-1), rest.max(-1) / np.maximum(counts.sum(-1), 1)


def present(diagrams: list[Diagram]) -> list[int]:
    """Which labels any of these diagrams has runs of."""
    runs = sum(diagram.counts.sum((0, 1)) for diagram in diagrams)
    return np.flatnonzero(runs).tolist()


def example_cells(counts: np.ndarray) -> dict[int, int]:
    """For each label present the (flat) index of the cell with its largest share of runs, of equals the middle one."""
    counts = counts.reshape(-1, counts.shape[-1])
    share = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    found = {}
    for label in np.flatnonzero(counts.any(0)).tolist():
        best = np.flatnonzero(share[:, label] == share[:, label].max())
        found[label] = int(best[len(best) // 2])
    return found


def colour_times(diagram: Diagram) -> tuple[np.ndarray, tuple[float, float]]:
    """The median times with NaN where they were not reached, and the first and last that a log colour scale shows."""
    steps, times = diagram.curves["step"], diagram.median_time
    first = np.min(steps, where=steps > 0, initial=diagram.definition.budget)
    times = np.where(np.isfinite(times), np.maximum(times, first), np.nan)  # step 0 has no place on a log scale
    if np.isnan(times).all():
        return times, (first, 2 * first)
    low, high = float(np.nanmin(times)), float(np.nanmax(times))
    return times, (low, high) if high > low else (low / 2, low * 2)


def not_reached(observed: np.ndarray, budget: int) -> str:
    """What is said of cells where half of the seeds did not reach the threshold within what was `observed` of them.

    >>> not_reached(np.array([1000, 1000]), 1000), not_reached(np.array([1000, 200]), 1000)
    ('not reached by step 1000', 'not reached by step 1000 or earlier end')
    """
    return f"not reached by step {budget}" + (" or earlier end" if (observed < budget).any() else "")


def unwatched(budget: int) -> str:
    """What is said of cells whose undecided runs might have reached the threshold."""
    return f"not watched to step {budget}"


def step_range(*diagrams: Diagram) -> tuple[float, float]:
    """The steps that a log axis of curves covers: from the first evaluation after step 0 to the last, or the budget."""
    steps = np.concatenate([diagram.curves["step"].ravel() for diagram in diagrams])
    budget = diagrams[0].definition.budget
    low = float(np.min(steps, where=steps > 0, initial=budget))
    return low, float(max(np.nanmax(steps), budget, 2 * low))


def seeds_text(seeds: np.ndarray, unit: str = "seed") -> str:
    """How many seeds the cells that have runs hold: "3 seeds per cell", "1–8 seeds per cell"."""
    held = seeds[seeds > 0]
    low, high = int(held.min()), int(held.max())
    return f"{low}–{high} {unit}s per cell" if low < high else f"{low} {unit}{'s' * (low > 1)} per cell"


def cells_text(*diagrams: Diagram) -> str:
    """`seeds_text` of the cells of diagrams; of runs, where those of a cell differ in more than their seed."""
    unit = "run" if any(diagram.mixed for diagram in diagrams) else "seed"
    return seeds_text(np.concatenate([diagram.seeds.ravel() for diagram in diagrams]), unit)
