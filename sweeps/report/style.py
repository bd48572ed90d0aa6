"""What the figure and the page share: colours, names, and how values are laid out along an axis."""

from typing import Any

import numpy as np

from sweeps.phases import Phase

# Okabe–Ito hues, moved apart in lightness so that the phases also differ in grey.
COLOURS = {
    Phase.COMPREHENSION: "#14568c",
    Phase.GROKKING: "#f2ca52",
    Phase.MEMORISATION: "#cf5a1c",
    Phase.CONFUSION: "#aeb8c2",
    Phase.TEST_FIRST: "#c07fb0",
    Phase.DIVERGED: "#1b1b1e",
    Phase.UNDECIDED: "#eae7df",
}
# The same hues, dark enough for a thin line on white.
INKS = COLOURS | {
    Phase.GROKKING: "#b8860b",
    Phase.MEMORISATION: "#b8450c",
    Phase.CONFUSION: "#66727e",
    Phase.TEST_FIRST: "#9a4f88",
    Phase.UNDECIDED: "#8d8672",
}
NAMES = {phase: phase.name.lower().replace("_", " ") for phase in Phase}
NOT_REACHED, NOT_REACHED_LINES = "#d4d4d4", "#7c7c7c"
EMPTY_LINES = "#c9c9c9"
CHOSEN = "#e6007e"  # neither a phase nor a contour
TRAIN_INK = "#8c8c8c"
TIME_SHADES = ["#f5e690", "#a3d39c", "#43a59b", "#1f6a86", "#23315f"]  # from early to late
ACCURACY_SHADES = ["#f4f1ea", "#c9d8b6", "#7fb091", "#3a7d74", "#12474f"]  # from none to all correct
RATE_SHADES = ["#f7f3f8", "#cdb9dc", "#9a6fb5", "#5f2d7f", "#33104a"]  # from none to all

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def label(path: str) -> str:
    """The name of an axis in words.

    >>> label("task.train_fraction")
    'train fraction'
    """
    return path.rpartition(".")[2].replace("_", " ")


def value_text(value: Any, digits: int = 4) -> str:
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


def scale(values: list) -> str:
    """How an axis runs: "linear", "log", or "categorical" (cells of one size, each under its value).

    Numbers above 0 whose ratios are nearer to constant than their differences are logarithmic. Texts, truth values and
    a single value are categorical; so are numbers with a 0 that stands beside a logarithmic sweep.

    >>> scale([0.01, 0.1, 1.0]), scale([0.2, 0.4, 0.6]), scale([0.0, 0.01, 0.1, 1.0]), scale(["MLP", "Transformer"])
    ('log', 'linear', 'categorical', 'categorical')
    """
    if len(values) < 2 or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        return "categorical"
    numbers = np.asarray(values, float)
    if not np.isfinite(numbers).all():
        return "categorical"
    gaps = np.diff(numbers)
    if numbers[0] == 0 and len(numbers) > 2 and scale(values[1:]) == "log":
        return "categorical"
    if numbers[0] <= 0:
        return "linear"
    if len(numbers) == 2:
        return "log" if numbers[1] >= 10 * numbers[0] else "linear"
    ratios = np.diff(np.log(numbers))
    return "log" if np.std(ratios) / np.mean(ratios) < np.std(gaps) / np.mean(gaps) else "linear"


def positions(values: list, kind: str) -> np.ndarray:
    """Where the values stand on an axis of this `scale`: themselves, or 0, 1, 2 … on a categorical one."""
    return np.arange(len(values), dtype=float) if kind == "categorical" else np.asarray(values, float)


def edges(values: list, kind: str) -> np.ndarray:
    """The borders of the cells: half way to the neighbours (in the logarithm on a log axis), one more than values.

    >>> edges([1, 2, 3], "linear").tolist(), edges(["a", "b"], "categorical").tolist()
    ([0.5, 1.5, 2.5, 3.5], [-0.5, 0.5, 1.5])
    """
    at = positions(values, kind)
    at = np.log(at) if kind == "log" else at
    steps = np.diff(at) if len(at) > 1 else np.ones(1)
    borders = np.concatenate([[at[0] - steps[0] / 2], at[:-1] + np.diff(at) / 2, [at[-1] + steps[-1] / 2]])
    return np.exp(borders) if kind == "log" else borders


def all_edges(diagram: Any) -> list[np.ndarray]:
    """The borders of a diagram's cells along x and along y."""
    return [edges(values, scale(values)) for values in (diagram.x_values, diagram.y_values)]


def ticks(values: list, most: int) -> list[tuple[float, str]]:
    """At most `most` positions along an axis with the texts that stand there; a categorical axis has up to twelve.

    >>> ticks([0.01, 0.1, 1.0, 10.0, 100.0], 6), ticks(["MLP", "CNN"], 6)
    ([(0.01, '0.01'), (0.1, '0.1'), (1.0, '1'), (10.0, '10'), (100.0, '100')], [(0.0, 'MLP'), (1.0, 'CNN')])
    """
    kind = scale(values)
    at = positions(values, kind).tolist()
    if kind == "categorical" or len(values) < most:
        return [(at[i], value_text(values[i], 3)) for i in range(0, len(at), -(-len(at) // 12))]
    borders = edges(values, kind)
    return (log_ticks if kind == "log" else _linear_ticks)(borders[0], borders[-1], most)


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


def inner(low: np.ndarray, high: np.ndarray, share: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The middle `share` of the way from `low` to `high` as the axis runs.

    >>> inner(np.array([0.0]), np.array([1.0]), np.array([0.5]), "linear")
    (array([0.25]), array([0.75]))
    """
    if kind == "log":
        low, high = inner(np.log(low), np.log(high), share, "linear")
        return np.exp(low), np.exp(high)
    middle, half = (low + high) / 2, (high - low) / 2 * share
    return middle - half, middle + half


def runner_up(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For cells (…, phases): the second most frequent phase and its share of the runs, 0 where seeds agree."""
    rest = counts.copy()
    np.put_along_axis(rest, counts.argmax(-1)[..., None], 0, -1)
    return rest.argmax(-1), rest.max(-1) / np.maximum(counts.sum(-1), 1)


def example_cells(counts: np.ndarray) -> dict[Phase, int]:
    """For each phase present the (flat) index of the cell with its largest share of runs, of equals the middle one."""
    counts = counts.reshape(-1, counts.shape[-1])
    share = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    found = {}
    for phase in Phase:
        if counts[:, phase].any():
            best = np.flatnonzero(share[:, phase] == share[:, phase].max())
            found[phase] = int(best[len(best) // 2])
    return found


def colour_times(diagram: Any) -> tuple[np.ndarray, tuple[float, float]]:
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


def step_range(diagram: Any) -> tuple[float, float]:
    """The steps that a log axis of curves covers: from the first evaluation after step 0 to the last, or the budget."""
    steps, budget = diagram.curves["step"], diagram.definition.budget
    low = float(np.min(steps, where=steps > 0, initial=budget))
    return low, float(max(np.nanmax(steps), budget, 2 * low))


def seeds_text(seeds: np.ndarray) -> str:
    """How many seeds the cells that have runs hold: "3 seeds per cell", "1–8 seeds per cell"."""
    held = seeds[seeds > 0]
    low, high = int(held.min()), int(held.max())
    return f"{low}–{high} seeds per cell" if low < high else f"{low} seed{'s' * (low > 1)} per cell"
