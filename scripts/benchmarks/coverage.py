"""Measures how often intervals of 95 % hold the truth, over worlds in which it is known.

  python scripts/benchmarks/coverage.py --markdown=coverage.md                      # an hour and a half on two cores
  python scripts/benchmarks/coverage.py --repeats=40 --worlds=monotone,shifted --sizes=12x12x3
  python scripts/benchmarks/coverage.py --worlds= --numbers=median,critical

Planes are [0, 1]², with cells × cells × seeds runs (--sizes); outcomes are drawn with P(u, v) = 1 / (1 + exp(-f)):
  monotone  a straight line, P from 10 to 90 % within .13 of an axis      S      a curved line
  island    a disc of radius .22                                         stripe two lines .3 apart
  step      a line along an axis, between cells, and no noise            noisy  P rises over the whole plane
  none      P = .02 everywhere                                           shifted seeds move the curve by .04 of an axis
  trained   (a + b) mod 13 on a small network (tests/data/refinement.npz): cells and seeds of 32 × 32 × 16 runs, whose
            fit is the truth; seeds are drawn without replacement, so that coverage looks a little too good
What is looked at is the area where P > ½, each point of the line P = ½ (the mean over it), and the whole line. P is the
mean over seeds.

Numbers (--numbers), of so many seeds:
  critical   `critical_value` of outcomes at 6, 12 or 17 x, of a smooth rise, with thresholds that differ between seeds,
             of a step, and near the edge of the axis
  exponent   `power_law` of times with noise, with exponents that differ between seeds
  median     `kaplan_meier` of times, lognormal, of two kinds of run, seen at few evaluations, and with a budget that
             half of the runs do not meet
  restricted mean  of the same times, `grouped_restricted_mean`
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small

# isort: split
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import contourpy
import numpy as np
from absl import flags
from scipy import ndimage, stats
from scipy.special import expit

from jaxgen.components import unknown
from sweeps.axes.scales import Range
from sweeps.cli import command
from sweeps.statistics import boundary, grouped_restricted_mean, kaplan_meier
from sweeps.statistics.band import RESOLUTION
from sweeps.statistics.fits import critical_value, power_law
from sweeps.storage.files import write_text

OUTCOMES = Path(__file__).parents[2] / "tests" / "data" / "refinement.npz"
FINE = np.linspace(0, 1, 401)
BAR = 0.92
SQUARE = Range(0, 1), Range(0, 1)

REPEATS = flags.DEFINE_integer("repeats", 400, "Repeats of each world and size.", lower_bound=1)
WORLDS_FLAG = flags.DEFINE_list("worlds", None, "Which worlds; all when left out.")
SIZES = flags.DEFINE_list("sizes", ["6x6x3", "12x12x3", "12x12x5", "17x17x5"], "Cells x cells x seeds.")
NUMBERS_FLAG = flags.DEFINE_list("numbers", None, "Which numbers; all when left out.")
MARKDOWN = flags.DEFINE_string("markdown", None, "Also write the tables to this file.")
PROCESSES = flags.DEFINE_integer("processes", os.cpu_count(), "How many processes.", lower_bound=1)


@dataclasses.dataclass(frozen=True)
class World:
    """Log-odds over the unit square, and how far seeds move it along u, as a standard deviation."""

    logit: Callable[[np.ndarray, np.ndarray], np.ndarray]
    shift: float = 0.0


def curve(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (v - 0.25 - 0.5 * (u - 0.1) ** 2 - 0.12 * np.sin(5 * u)) / 0.03


WORLDS = {
    "monotone": World(lambda u, v: (0.6 * u + 0.8 * v - 0.7) / 0.03),
    "S": World(curve),
    "island": World(lambda u, v: (0.22 - np.hypot(u - 0.5, v - 0.5)) / 0.03),
    "stripe": World(lambda u, v: (0.15 - np.abs(v - 0.3 - 0.4 * u)) / 0.03),
    "step": World(lambda u, v: np.where(u > 0.53, 1e3, -1e3) + 0 * v),
    "noisy": World(lambda u, v: (v - 0.3 - 0.4 * u) / 0.25),
    "none": World(lambda u, v: np.full(np.shape(u), -4.0)),
    "shifted": World(lambda u, v: (0.6 * u + 0.8 * v - 0.7) / 0.03, 0.04),
    "trained": None,
}


def measure(name: str, cells: int, seeds: int, repeats: int) -> dict[str, float]:
    """Coverage of the area, of points of the line and of the whole line, and the mean width of the area's interval."""
    truth, draw = (_trained if WORLDS[name] is None else _known)(name)
    area = float(np.trapezoid(np.trapezoid((truth > 0.5) * 1.0, FINE), FINE))
    line = _line(truth)
    held: dict[str, list[float]] = {"area": [], "width": [], "points": [], "line": []}
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, cells, seeds, list(WORLDS).index(name)])
        found = boundary.fit(*draw(rng, cells, seeds), plane=SQUARE, replicates=200)
        held["area"].append(found.area.low - 1e-9 <= area <= found.area.high + 1e-9)
        held["width"].append(found.area.high - found.area.low)
        if len(line):
            held["points"].append(_inside(found.low, found.high, line).mean())
            held["line"].append(_inside(found.whole_low, found.whole_high, line).all())
    return {key: float(np.mean(values)) if values else np.nan for key, values in held.items()}


def _known(name: str) -> tuple[np.ndarray, Callable]:
    """P of the mean seed on the fine grid, and a function that draws runs."""
    world = WORLDS[name]
    u, v = np.meshgrid(FINE, FINE)
    at, weight = np.polynomial.hermite_e.hermegauss(31 if world.shift else 1)
    truth = sum(w * expit(world.logit(u + world.shift * a, v)) for a, w in zip(at, weight / weight.sum()))

    def draw(rng: np.random.Generator, cells: int, seeds: int) -> tuple[np.ndarray, ...]:
        x, y, seed = _grid(cells, seeds)
        moved = world.shift * rng.normal(size=seeds)[seed]
        return x, y, rng.random(len(x)) < expit(world.logit(x + moved, y)), seed

    return truth, draw


def _trained(_: str) -> tuple[np.ndarray, Callable]:
    with np.load(OUTCOMES) as file:
        happened = np.unpackbits(file["happened"])[: 16 * 32 * 32].reshape(16, 32, 32).astype(bool)
    side = np.linspace(0, 1, 32)
    seed, y, x = (a.ravel() for a in np.meshgrid(np.arange(16), side, side, indexing="ij"))
    whole = boundary.fit(x, y, happened.ravel(), seed, plane=SQUARE, replicates=1)

    def draw(rng: np.random.Generator, cells: int, seeds: int) -> tuple[np.ndarray, ...]:
        x, y, seed = _grid(cells, seeds)
        column, row = (np.round(31 * a).astype(int) for a in (x, y))
        return side[column], side[row], happened[rng.permutation(16)[seed], row, column], seed

    return whole.probability(*np.meshgrid(FINE, FINE)), draw


def _grid(cells: int, seeds: int) -> list[np.ndarray]:
    side = np.linspace(0, 1, cells)
    return [a.ravel() for a in np.meshgrid(side, side, np.arange(seeds))]


def _line(truth: np.ndarray) -> np.ndarray:
    """Points (points, 2) of the true line, evenly spaced."""
    found = []
    for line in contourpy.contour_generator(FINE, FINE, truth).lines(0.5):
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
        at = np.linspace(0, along[-1], max(2, round(100 * along[-1])))
        found.append(np.stack([np.interp(at, along, part) for part in line.T], 1))
    return np.concatenate(found) if found else np.zeros((0, 2))


def _inside(low: np.ndarray, high: np.ndarray, line: np.ndarray) -> np.ndarray:
    least, most = (
        ndimage.map_coordinates(ends, line[:, ::-1].T * (RESOLUTION - 1), order=1, mode="nearest")
        for ends in (low, high)
    )
    return (least <= 0.5) & (most >= 0.5)


def _critical(kind: str, points: int, seeds: int, rng: np.random.Generator) -> bool:
    middle, slope, spread = {
        "smooth": (0.47, 20, 0.0),
        "shifted": (0.47, 60, 0.06),
        "step": (0.47, 1e6, 0.0),
        "edge": (0.93, 20, 0.03),
    }[kind]
    x, seed = np.tile(np.linspace(0, 1, points), seeds), np.repeat(np.arange(seeds), points)
    own = middle + spread * rng.normal(size=seeds)
    return bool(critical_value(x, rng.random(len(x)) < expit(slope * (x - own[seed])), seed).holds(middle))


def _exponent(kind: str, points: int, seeds: int, rng: np.random.Generator) -> bool:
    x, seed = np.tile(np.geomspace(1, 100, points), seeds), np.repeat(np.arange(seeds), points)
    own = -1.5 + (0.1 if kind == "shifted" else 0) * rng.normal(size=seeds)
    noise = rng.exponential(size=len(x)) if kind == "skewed" else np.exp(0.3 * rng.normal(size=len(x)))
    return bool(power_law(x, 7 * x ** own[seed] * noise, seed).holds(-1.5))


def _times(kind: str, rng: np.random.Generator, count: int) -> np.ndarray:
    if kind == "two kinds":
        return np.where(rng.random(count) < 0.55, 100, 700) * np.exp(0.2 * rng.normal(size=count))
    times = 400 * np.exp((1.0 if kind == "half censored" else 0.5) * rng.normal(size=count))
    return np.ceil(times / 200) * 200 if kind == "coarse" else 2.5 * times if kind == "half censored" else times


def _median(kind: str, _: int, seeds: int, rng: np.random.Generator) -> bool:
    times = _times(kind, rng, seeds)
    return bool(kaplan_meier(np.minimum(times, BUDGET), times <= BUDGET).median.holds(MEDIANS[kind]))


def _restricted(kind: str, _: int, seeds: int, rng: np.random.Generator) -> bool:
    times = _times(kind, rng, seeds)
    of = np.zeros(seeds, int), 1, np.minimum(times, BUDGET), times <= BUDGET
    return bool(grouped_restricted_mean(*of, BUDGET)[0].holds(_restricted_mean(kind)))


@functools.cache
def _restricted_mean(kind: str) -> float:
    return float(np.minimum(_times(kind, np.random.default_rng(0), 4_000_000), BUDGET).mean())


BUDGET = 1000
KINDS = ["lognormal", "two kinds", "coarse", "half censored"]
EARLY = float(100 * np.exp(0.2 * stats.norm.ppf(0.5 / 0.55)))  # hardly any of the late kind is as early
MEDIANS = dict(zip(KINDS, [400, EARLY, 400, 1000]))
OF_SEEDS = [(1, 3), (1, 5), (1, 8), (1, 16)]
NUMBERS: dict[str, tuple[Callable[..., bool], list[str], list[tuple[int, int]]]] = {
    "critical": (_critical, ["smooth", "shifted", "step", "edge"], [(6, 3), (12, 3), (12, 5), (17, 5)]),
    "exponent": (_exponent, ["noise", "shifted", "skewed"], [(6, 3), (12, 3), (12, 5), (17, 5)]),
    "median": (_median, KINDS, OF_SEEDS),
    "restricted mean": (_restricted, KINDS, OF_SEEDS),
}


def measure_number(name: str, kind: str, points: int, seeds: int, repeats: int) -> float:
    """Share of repeats in which the interval holds the truth."""
    holds = NUMBERS[name][0]
    return float(
        np.mean([holds(kind, points, seeds, np.random.default_rng([r, points, seeds])) for r in range(repeats)])
    )


def tables() -> Iterator[str]:
    """The measured tables as Markdown, row by row."""
    worlds = list(WORLDS) if WORLDS_FLAG.value is None else WORLDS_FLAG.value
    numbers = list(NUMBERS) if NUMBERS_FLAG.value is None else NUMBERS_FLAG.value
    for name, known in ((worlds, WORLDS), (numbers, NUMBERS)):
        for one in name:
            if one not in known:
                raise unknown(one, list(known))
    sizes = [(text, *map(int, text.split("x"))) for text in SIZES.value]
    with ProcessPoolExecutor(PROCESSES.value, get_context("spawn")) as pool:
        planes = [
            (world, text, pool.submit(measure, world, cells, seeds, REPEATS.value))
            for world, (text, cells, _, seeds) in itertools.product(worlds, sizes)
        ]
        asked = [
            (name, kind, size, pool.submit(measure_number, name, kind, *size, 5 * REPEATS.value))
            for name in numbers
            for kind, size in itertools.product(*NUMBERS[name][1:])
        ]
        if planes:
            yield "| world | runs | area | its width | points of the line | whole line |\n|---|---|---|---|---|---|"
        for world, text, job in planes:
            found: Any = job.result()
            cells = [_said(found["area"]), f"{found['width']:.2f}", _said(found["points"]), _said(found["line"])]
            yield f"| {' | '.join([world, text.replace('x', ' × '), *cells])} |"
        if asked:
            yield "\n| number | of | x | seeds | coverage |\n|---|---|---|---|---|"
        for name, kind, (points, seeds), job in asked:
            yield f"| {name} | {kind} | {points if points > 1 else ''} | {seeds} | {_said(job.result())} |"


def _said(share: float) -> str:
    """A coverage, bold where it is below the bar."""
    return "–" if np.isnan(share) else f"{share:.3f}" if share >= BAR else f"**{share:.3f}**"


def main() -> None:
    rows = []
    for row in tables():
        print(row, flush=True)
        rows.append(row)
    if MARKDOWN.value:
        write_text(Path(MARKDOWN.value), "\n".join(rows) + "\n")


if __name__ == "__main__":
    command.main(main)
