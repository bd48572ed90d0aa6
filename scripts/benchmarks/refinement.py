"""Measures how many runs a boundary takes: dense grids, Sobol points and rounds of refinement.

  export OPENBLAS_NUM_THREADS=1  # matrices are small
  python scripts/benchmarks/refinement.py --json=refinement.json --picture=docs/refinement.png
  python scripts/benchmarks/refinement.py --repeats=3 --worlds=trained
  python scripts/benchmarks/refinement.py --train=out/refinement --repeats=0

The error of a boundary is the share of the plane that lies on another side of P = ½ than in truth. Worlds:
  known    a curved boundary of known shape; outcomes are drawn, with P rising from 10 to 90 % over a tenth of an axis
  trained  (a + b) mod 13 on a small network, train fraction × weight decay: 32 × 32 cells × 16 seeds, trained once
           (three and a half minutes on two cores; --train) and kept in tests/data/refinement.npz. Truth is the fit to
           all 16,384. Grids are cells of these; each repeat chooses their seeds anew. Runs that are taken are among
           those behind the truth, an eighth of them at most: large numbers look a little too good.

Ways to spend the runs:
  raw      dense grid, several seeds per cell; the line where the cells' rates, interpolated, are ½
  dense    the same runs, with the fit of sweeps.boundary
  sobol    a Sobol sequence, one run at each point, with the fit
  refined  rounds of sweeps.studies.proposal.propose, with the fit

Ratios are mean errors of refined over those of dense and sobol with four times the runs. 95 % intervals are Student's t
over repeats.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy import stats
from scipy.interpolate import RegularGridInterpolator
from scipy.special import expit

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps.axes.scales import Range
from sweeps.cli import command
from sweeps.report.drawing import save
from sweeps.report.style import log_ticks
from sweeps.statistics import band, boundary
from sweeps.statistics.boundary import Boundary
from sweeps.storage.files import write_text
from sweeps.studies import proposal, refine

OUTCOMES = Path(__file__).parents[2] / "tests" / "data" / "refinement.npz"
BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=13, train_fraction=0.5),
    model=jg.models.QuadraticMLP(width=32),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1, b2=0.98),
    training=jg.Training(steps=1000, evaluate_every=50, stop_threshold=0.95, stop_patience=50),
)
AXES = {
    "task.train_fraction": sweeps.linspace(0.4, 0.95, 32),
    "optimizer.weight_decay": sweeps.logspace(-1.5, 0.75, 32),
}
SEEDS = 16
BATCH = 48
LOOKS = {
    "raw": ("#8c8c8c", "x", "dense grid, contour of rates"),
    "dense": ("#cf5a1c", "s", "dense grid, fit"),
    "sobol": ("#43a59b", "^", "Sobol points, fit"),
    "refined": ("#14568c", "o", "refined, fit"),
}

REPEATS = flags.DEFINE_integer("repeats", 24, "Repeats with other outcomes, keys and seeds.", lower_bound=0)
WORLDS = flags.DEFINE_list("worlds", ["known", "trained"], "Which worlds.")
MOST = flags.DEFINE_integer("most", 3500, "Dense grids have at most so many runs.", lower_bound=400)
JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")
PICTURE = flags.DEFINE_string("picture", None, "Draw error against runs (.png, .svg, .pdf).")
TRAIN = flags.DEFINE_string("train", None, "First train the reference in this workdir, and store its outcomes.")


@dataclasses.dataclass(frozen=True)
class World:
    """What can be measured.

    Attributes:
      plane: what may be sampled.
      outcome: from x, y and seeds, each (runs,), to events (runs,).
      truth: (y, x) whether P > ½ on the grid of a fitted boundary.
      grids: cells along an axis, and seeds per cell, of its dense grids.
    """

    plane: proposal.Plane
    outcome: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    truth: np.ndarray
    grids: list[tuple[int, int]]

    def error(self, fitted: Boundary) -> float:
        """Share of the plane on the wrong side."""
        return float(np.mean((fitted.p > 0.5) != self.truth))


def known(repeat: int, way: str) -> World:
    """Outcomes of independent seeds around a curve, drawn for each way by itself."""
    rng, steps = np.random.default_rng([repeat, list(LOOKS).index(way)]), np.linspace(0, 1, band.RESOLUTION)
    above = lambda u, v: v - 0.25 - 0.5 * (u - 0.1) ** 2 - 0.12 * np.sin(5 * u)  # noqa: E731
    outcome = lambda x, y, seed: rng.random(len(x)) < expit(above(x, y) / 0.025)  # noqa: E731
    truth = above(*np.meshgrid(steps, steps)) > 0
    return World(proposal.Plane(Range(0, 1), Range(0, 1)), outcome, truth, [(12, 3), (17, 3), (24, 3), (34, 3)])


def trained(repeat: int, way: str) -> World:
    """Outcomes of trained networks, the same for all ways."""
    x, y, happened = outcomes()
    seeds = np.random.default_rng([repeat, 2]).permutation(SEEDS)
    plane = proposal.Plane(x, y, SEEDS)

    def outcome(one: np.ndarray, other: np.ndarray, seed: np.ndarray) -> np.ndarray:
        return happened[seeds[seed.astype(int)], np.searchsorted(y, other), np.searchsorted(x, one)]

    yy, xx, seed = (a.ravel() for a in np.meshgrid(y, x, np.arange(SEEDS), indexing="ij"))
    truth = fitted(plane, (xx, yy, outcome(xx, yy, seed), seed)).p > 0.5
    return World(plane, outcome, truth, [(8, 4), (11, 4), (16, 4), (22, 4)])


def outcomes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train fractions, weight decays, and whether each run (seed, weight decay, train fraction) generalised in time."""
    with np.load(OUTCOMES) as file:
        shape = SEEDS, len(file["y"]), len(file["x"])
        return file["x"], file["y"], np.unpackbits(file["happened"])[: np.prod(shape)].reshape(shape).astype(bool)


def train(workdir: str) -> None:
    """Trains the reference and stores its outcomes."""
    axes = [sweeps.sweep(path, values) for path, values in AXES.items()]
    definition = {"threshold": 0.9, "budget": 1000, "gap": 200}
    results = sweeps.run(BASE, sweeps.product(sweeps.seeds(SEEDS), *axes), workdir, definition=definition)
    x, y, event, seed = refine.outcomes(results, *AXES)
    if len(x) < SEEDS * 32**2 or np.isnan(event).any():
        raise FieldError("train", workdir, "its runs are not all stored and decided: the same command continues")
    values = np.unique(x), np.unique(y)
    happened = np.zeros((SEEDS, 32, 32), bool)
    happened[seed, np.searchsorted(values[1], y), np.searchsorted(values[0], x)] = event > 0
    np.savez_compressed(OUTCOMES, x=values[0], y=values[1], happened=np.packbits(happened))


def fitted(plane: proposal.Plane, runs: tuple[np.ndarray, ...]) -> Boundary:
    """The fit alone, with hardly any of its uncertainty."""
    return boundary.fit(*runs, plane.ranges, replicates=1)


def dense(world: World, cells: int, seeds: int) -> tuple[float, float]:
    """Errors of the contour of rates and of the fit."""
    steps = np.linspace(0, 1, cells)
    sides = []
    for side, ends in zip((world.plane.x, world.plane.y), world.plane.ranges):
        places = np.round(steps * (len(side) - 1)).astype(int) if isinstance(side, tuple) else None
        sides.append(ends.from_unit(steps) if places is None else np.array(side)[places])
    y, x, seed = (a.ravel() for a in np.meshgrid(sides[1], sides[0], np.arange(seeds), indexing="ij"))
    event = world.outcome(x, y, seed)
    units = [ends.to_unit(side) for ends, side in zip(world.plane.ranges, sides)]
    rates = RegularGridInterpolator(units[::-1], event.reshape(cells, cells, seeds).mean(-1))
    fine = np.linspace(0, 1, band.RESOLUTION)
    raw = rates(tuple(np.meshgrid(fine, fine, indexing="ij"))) > 0.5
    return float(np.mean(raw != world.truth)), world.error(fitted(world.plane, (x, y, event, seed)))


def sobol(world: World, runs: int, key: int) -> float:
    """Error of the fit to Sobol points."""
    x, y, seed = map(np.array, zip(*proposal.propose([], [], [], [], world.plane, runs, key=key)))
    return world.error(fitted(world.plane, (x, y, world.outcome(x, y, seed), seed)))


def refined(world: World, sizes: list[int], key: int) -> list[float]:
    """Errors of the fit after so many runs, in rounds."""
    x, y, event, seed = np.zeros((4, 0))
    errors = []
    for size in sizes:
        while len(x) < size:
            batch = min(BATCH, size - len(x))
            points = proposal.propose(x, y, event, seed, world.plane, batch, key=key)
            new = tuple(map(np.array, zip(*points)))
            x, y, event, seed = map(np.append, (x, y, event, seed), (new[0], new[1], world.outcome(*new), new[2]))
        errors.append(world.error(fitted(world.plane, (x, y, event, seed))))
    return errors


def measure(make: Callable[[int, str], World], repeats: int, most: int) -> dict[str, Any]:
    """Errors by way and number of runs, one for each repeat."""
    found: dict[str, dict[int, list[float]]] = {way: {} for way in LOOKS}
    for repeat in range(repeats):
        grid, points, rounds = (make(repeat, way) for way in ("dense", "sobol", "refined"))
        grids = [(cells, seeds) for cells, seeds in grid.grids if cells**2 * seeds <= most]
        for cells, seeds in grids:
            for way, error in zip(("raw", "dense"), dense(grid, cells, seeds)):
                found[way].setdefault(cells**2 * seeds, []).append(error)
        quarters = [cells**2 * seeds // 4 for cells, seeds in grids]
        for size in sorted({quarters[0], *(4 * quarter for quarter in quarters)}):
            found["sobol"].setdefault(size, []).append(sobol(points, size, repeat))
        for size, error in zip(quarters, refined(rounds, quarters, repeat)):
            found["refined"].setdefault(size, []).append(error)
    return {"errors": found}


def ratios(errors: dict[str, dict[int, list[float]]]) -> dict[str, dict[int, dict[str, float]]]:
    """By way and its runs: mean error of refined at a quarter of them over that of the way, with its interval.

    The interval is that of log(mean / mean) by the delta method, on the paired repeats.
    """
    found: dict[str, dict[int, dict[str, float]]] = {}
    for way in ("dense", "sobol"):
        for runs in [n for n in errors[way] if n // 4 in errors["refined"]]:
            few, many = np.array(errors["refined"][runs // 4]), np.array(errors[way][runs])
            low, high = mean_interval(few / few.mean() - many / many.mean())
            ratio = few.mean() / many.mean()
            said = {"ratio": ratio, "low": ratio * np.exp(low), "high": ratio * np.exp(high)}
            found.setdefault(way, {})[runs] = said
    return found


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of a mean."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.inf
    return float(values.mean() - half), float(values.mean() + half)


def report(name: str, measured: dict[str, Any]) -> None:
    print(name)
    for way, by_runs in measured["errors"].items():
        for runs, errors in by_runs.items():
            low, high = mean_interval(np.array(errors))
            print(f"  {way:8}{runs:>6} runs: error {np.mean(errors):.4f} [{low:.4f}, {high:.4f}]")
    for way, by_runs in measured["ratios"].items():
        for runs, ratio in by_runs.items():
            span = f"{ratio['ratio']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            print(f"  refined with {runs // 4} runs has {span} of the error of {way} with {runs}")


def draw(found: dict[str, Any]) -> Figure:
    titles = {"known": "boundary of known shape", "trained": "(a + b) mod 13, trained networks"}
    figure = Figure(figsize=(7, 3), facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, (name, measured) in zip(panels, found.items()):
        axes.set(xscale="log", yscale="log", xlabel="runs", title=titles[name])
        for way, (colour, marker, label) in LOOKS.items():
            runs = sorted(measured["errors"][way])
            values = [np.array(measured["errors"][way][n]) for n in runs]
            middle = np.array([v.mean() for v in values])
            low, high = np.array([mean_interval(v) for v in values]).T
            spans = [np.minimum(middle - low, 0.9 * middle), high - middle]
            look = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1, "capsize": 2}
            axes.errorbar(runs, middle, spans, label=label, **look)
        axes.grid(which="major", color="#dddddd", linewidth=0.5)
    for axis in (*(axes.xaxis for axes in panels), panels[0].yaxis):
        ticks = log_ticks(*axis.get_view_interval(), 8)
        axis.set_ticks([at for at, _ in ticks], labels=[text for _, text in ticks])
        axis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("share of the plane on the wrong side")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7, frameon=False
    )
    return figure


def main() -> None:
    worlds = {"known": known, "trained": trained}
    for name in WORLDS.value:
        if name not in worlds:
            raise FieldError("worlds", name, f"must be among {', '.join(worlds)}")
    if TRAIN.value:
        train(TRAIN.value)
    found = {}
    for name in WORLDS.value if REPEATS.value else []:
        found[name] = measure(worlds[name], REPEATS.value, MOST.value)
        found[name]["ratios"] = ratios(found[name]["errors"])
        report(name, found[name])
    if JSON.value:
        write_text(Path(JSON.value), json.dumps(found, indent=1))
    if PICTURE.value and found:
        save(lambda: draw(found), PICTURE.value)


if __name__ == "__main__":
    command.main(main)
