"""Where to sample next: rounds of runs that close in on the boundary of an event over two axes.

The first round is a scrambled Sobol sequence. Each later one fits P to the runs so far (`sweeps.boundary`) and takes,
out of many points, those at which the next outcome is least certain: with P̄ the mean of P over the bootstrap's
replicates, that outcome's variance is P̄ (1 - P̄) = mean of P (1 - P) + variance of P, noise and ignorance together. One
run in ten goes to the largest gap between runs, so that what no run has come near to is found too; rounds do not end
before the largest disc without runs is within the goal (`unseen`).
"""

import collections
import dataclasses
import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from jaxgen import Experiment, FieldError
from jaxgen.component import unknown
from sweeps import boundary, gather
from sweeps.boundary import Boundary, Range
from sweeps.engine import run
from sweeps.files import write_text
from sweeps.labels import ACCURACIES, Labelling, find
from sweeps.options import Options
from sweeps.results import Results
from sweeps.scales import scale
from sweeps.spec import Sweep
from sweeps.workdir import check_place, check_same, read_specification

SCHEMA = 1
CANDIDATES = 11  # log₂ of how many points are looked at
SEARCHED = 14  # log₂ of how many are looked at for the largest gap
ALL_CELLS = 2**13  # a grid of so many cells at most is looked at wholly
DIGITS = 6  # of values on a continuous axis
EXPLORED = 10  # one of so many runs goes to the largest gap
POWER = 2  # of the variance: larger keeps nearer to the line
REACH = 0.7  # of a chosen point over others, in mean distances of the batch over what is uncertain
LEFT = 0.25  # share of its score that a chosen point keeps
REPLICATES = 200
MOST = {"budget": 100_000, "batch": 10_000, "seeds": 1_000}  # a round of so many is proposed in seconds

Side = Range | Sequence[float]
Point = tuple[float, float, int]


@dataclasses.dataclass(frozen=True)
class Plane:
    """What may be sampled.

    Attributes:
      x, y: a `Range`, or the values that are allowed.
      seeds: how many runs a point may have, with seeds 0 … seeds - 1.

    Raises:
      FieldError: values are not distinct finite numbers, or fewer than two, or stand on no scale; `seeds` is below 1
        or above 1,000.
    """

    x: Side
    y: Side
    seeds: int = 16

    def __post_init__(self):
        for name in ("x", "y"):
            side = getattr(self, name)
            if not isinstance(side, Range):
                object.__setattr__(self, name, _values(name, side))
        _check_count("seeds", self.seeds)

    @property
    def ranges(self) -> tuple[Range, Range]:
        """Both sides from end to end."""
        x, y = (
            side if isinstance(side, Range) else Range(side[0], side[-1], scale(list(side)) == "log")
            for side in (self.x, self.y)
        )
        return x, y

    def fit(self, x: Any, y: Any, event: Any, seeds: Any, key: int = 0) -> Boundary | None:
        """The boundary fitted to the runs whose event is known, not NaN; None where there are none."""
        known = np.isfinite(np.asarray(event, float))
        if not known.any():
            return None
        across, up = self.ranges
        x, y, event, seeds = (np.asarray(values)[known] for values in (x, y, event, seeds))
        return boundary.fit(
            x,
            y,
            event,
            seeds,
            x_scale="log" if across.log else "linear",
            y_scale="log" if up.log else "linear",
            x_range=(across.low, across.high),
            y_range=(up.low, up.high),
            replicates=REPLICATES,
            key=key,
        )

    def points(self, power: int, key: Sequence[int]) -> np.ndarray:
        """Distinct points that may be sampled, (points, 2) axis values: 2^power of a scrambled Sobol sequence.

        On a grid of few cells the others follow.
        """
        sides = self.x, self.y
        shares = qmc.Sobol(2, rng=np.random.default_rng(key)).random_base2(power)
        points = np.stack([_allowed(*one) for one in zip(shares.T, sides, self.ranges)], 1)
        lists = [side for side in sides if not isinstance(side, Range)]
        if len(lists) == 2 and len(lists[0]) * len(lists[1]) <= ALL_CELLS:
            points = np.concatenate([points, list(itertools.product(*lists))])
        _, first = np.unique(points, axis=0, return_index=True)
        return points[np.sort(first)]

    def to_unit(self, points: np.ndarray) -> np.ndarray:
        """Points (points, 2) in shares of both sides."""
        return np.stack([side.to_unit(values) for side, values in zip(self.ranges, points.T)], 1)


def _values(name: str, side: Any) -> tuple[float, ...]:
    try:
        values = tuple(sorted(float(v) for v in side))
    except (TypeError, ValueError, OverflowError):
        raise FieldError(name, side, "must be a Range or a list of numbers") from None
    if len(set(values)) < max(len(values), 2) or not np.isfinite(values).all():
        raise FieldError(name, side, "must have at least two values, all finite and different")
    if scale(list(values)) == "categorical":
        raise FieldError(name, side, "must stand on a linear or logarithmic scale: leave the 0 out")
    return values


def _allowed(shares: np.ndarray, side: Side, ends: Range) -> np.ndarray:
    """The values at shares of the way along a side, rounded; all values of a list have equal shares of it."""
    if isinstance(side, Range):
        rounded = [float(f"{value:.{DIGITS}g}") for value in ends.from_unit(shares)]
        return np.clip(rounded, ends.low, ends.high)
    return np.asarray(side)[np.minimum((shares * len(side)).astype(int), len(side) - 1)]


def propose(
    x: Any,
    y: Any,
    event: Any,
    seeds: Any,
    plane: Plane,
    batch: int,
    *,
    key: int = 0,
    fitted: Boundary | None = None,
) -> list[Point]:
    """The next runs, from the runs so far; the module says how. Nothing is trained or stored.

    Args:
      x, y: (runs,) values on the axes; no runs: the first round.
      event: (runs,) whether it happened; NaN where that is undecided.
      seeds: (runs,) of the runs.
      plane: what may be sampled.
      batch: how many runs are wanted.
      key: of the random numbers; with equal runs, in any order, it gives equal points.
      fitted: what `plane.fit` gives for these runs, should it be at hand.

    Returns:
      Points (x, y, seed), none twice and none among the runs so far; fewer than `batch` only where no others are left.
      A point is given a seed that it has not had, of those with the fewest runs.
    """
    _check_count("batch", batch)
    ran = np.stack([np.asarray(x, float), np.asarray(y, float)], 1)
    had: dict[tuple[float, float], set[int]] = collections.defaultdict(set)
    for (one, other), seed in zip(ran.tolist(), np.asarray(seeds, int).tolist()):
        had[one, other].add(seed)
    points = plane.points(max(CANDIDATES, (4 * batch).bit_length()), (key, len(ran)))
    left = np.array([plane.seeds - len(had.get((one, other), ())) for one, other in points.tolist()])
    points, left = points[left > 0], left[left > 0]
    fitted = fitted or plane.fit(x, y, event, seeds, key)
    if fitted is None or not len(points):
        again = itertools.chain(*(np.flatnonzero(left > turn) for turn in range(plane.seeds)))
        chosen = [int(i) for i in itertools.islice(again, batch)]
    else:
        chosen = _chosen(
            plane.to_unit(points),
            plane.to_unit(ran),
            fitted.replicated(points[:, 0], points[:, 1]).mean(0),
            left,
            batch,
        )
    rng = np.random.default_rng((key, len(ran), 1))
    uses, found = collections.Counter(np.asarray(seeds, int).tolist()), []
    for one, other in points[chosen].tolist():
        free = [seed for seed in rng.permutation(plane.seeds).tolist() if seed not in had[one, other]]
        seed = min(
            free, key=uses.__getitem__
        )  # at random, or it would go with the place: Sobol points follow a pattern
        had[one, other].add(seed)
        uses[seed] += 1
        found.append((one, other, seed))
    return found


def _chosen(points: np.ndarray, ran: np.ndarray, p: np.ndarray, left: np.ndarray, batch: int) -> list[int]:
    """Which points are taken, one after another; each lowers the scores of its neighbours, and of itself.

    Args:
      points, ran: (points, 2) and (runs, 2) in shares of both sides.
      p: (points,) P̄.
      left: (points,) how often each can be taken.
      batch: how many to take.
    """
    score = (4 * p * (1 - p)) ** POWER + 1e-12
    reach = REACH * (score.mean() / score.max() / batch) ** 0.5
    gap = cdist(points, ran).min(1)
    left = left.copy()
    chosen: list[int] = []
    while len(chosen) < batch and left.any():
        explore = len(chosen) % EXPLORED == EXPLORED - 1 and gap.max() > 0
        best = int(gap.argmax() if explore else np.where(left > 0, score, -1).argmax())
        distance = np.hypot(*(points - points[best]).T)
        score *= 1 - (1 - LEFT) * np.exp(-0.5 * (distance / reach) ** 2)
        gap = np.minimum(gap, distance)
        left[best] -= 1
        chosen.append(best)
    return chosen


def unseen(plane: Plane, x: Any, y: Any) -> float:
    """The radius, in sides of the plane, of the largest disc without runs around a point that may be sampled.

    An island of the event, or of its absence, that is no larger can have been missed.

    Args:
      plane: what was sampled.
      x, y: (runs,) values on the axes.
    """
    at = plane.to_unit(np.stack([np.asarray(x, float), np.asarray(y, float)], 1))
    return float(KDTree(at).query(plane.to_unit(plane.points(SEARCHED, (0,))))[0].max())


def _disc(radius: float) -> float:
    """The share of the plane in a disc within it."""
    return min(np.pi * radius**2, 1.0)


def outcomes(
    results: Results, x: str, y: str, *, labels: str | Labelling = "four_phases"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `propose` has to know of stored runs: x, y, event (NaN where undecided) and seeds, each (runs,).

    Args:
      results: the runs.
      x, y: dotted paths of the axes.
      labels: what runs are called, and which labels are the event; the sweep's own definition decides, with a budget
        within the training.

    Raises:
      FieldError: there is no such field or labelling.
    """
    labelling, runs = find(labels), results.runs
    for path in (x, y):
        if path not in runs:
            raise unknown(path, [c for c in map(str, runs.columns) if "/" not in c])
    curves = results.curves(*dict.fromkeys([*ACCURACIES, *labelling.curves]))
    label = labelling(gather.observe(runs, curves, gather.within_training(results.definition(), runs)))
    return runs[x].to_numpy(float), runs[y].to_numpy(float), labelling.events(label), runs["seed"].to_numpy(int)


def refine(
    base: Experiment,
    axes: Mapping[str, Side],
    workdir: str | Path,
    *,
    budget: int,
    batch: int = 64,
    goal: float | None = None,
    seeds: int = 16,
    key: int = 0,
    labels: str | Labelling = "four_phases",
    name: str = "refinement",
    definition: dict[str, Any] | None = None,
    description: str = "",
    changed: Sequence[str] = (),
    **options: Any,
) -> Results:
    """Trains rounds of runs around the boundary of an event, until it is known well enough or the budget is used up.

    Stopped at any moment, the same call goes on where it was: `refine.json` in the workdir holds the points of each
    round before it is trained. A larger budget, or a smaller goal, adds rounds; a round that was begun is finished.

    Args:
      base: the experiment that the points override.
      axes: two dotted paths, x and y, each with a `Range`, out of which any value of six digits is taken, or with the
        list of values that are allowed.
      workdir: directory of the results; made if it does not exist.
      budget: runs in all rounds together, at most 100,000.
      batch: runs in a round, at most 10,000.
      goal: stop when `Boundary.uncertainty`, and the largest disc without runs, are at most this share of the plane.
      seeds: how many runs a point may have, with seeds 0 … seeds - 1.
      key: of the random numbers: equal input gives equal rounds.
      labels: what runs are called, and which labels are the event (`sweeps.labels`); undecided runs are not fitted.
      name, definition, description, changed: as in `sweeps.run`.
      **options: see `sweeps.Options`; `max_hours` is for all rounds together.

    Returns:
      The results of all rounds; where they were stopped, of fewer runs than `run_ids` names.

    Raises:
      FieldError: an argument is not allowed, an axis is structure, so that each value would be a compiled program, or
        the workdir holds rounds over other axes, or of another key.
    """
    path, labelling, begun = Path(workdir), find(labels), time.monotonic()
    plane, settings, rounds = checked(base, axes, path, budget=budget, batch=batch, goal=goal, seeds=seeds, key=key)
    hours = Options(**options).max_hours
    check_same(path, name, base, as_sweep(axes, rounds or [propose([], [], [], [], plane, 1)]))
    if not rounds:
        _begin(path, settings, rounds, propose([], [], [], [], plane, min(batch, budget), key=key))
    while True:
        if hours is not None:
            options["max_hours"] = max(hours - (time.monotonic() - begun) / 3600, 1e-9)
        sweep = as_sweep(axes, rounds)
        results = run(
            base,
            sweep,
            path,
            name=name,
            definition=definition,
            description=description,
            changed=changed,
            **options,
        )
        x, y, event, seed = outcomes(results, *axes, labels=labelling)
        if len(x) < len(sweep) or len(sweep) >= budget:
            return results
        fitted = plane.fit(x, y, event, seed, key)
        if goal is not None and fitted is not None and max(fitted.uncertainty, _disc(unseen(plane, x, y))) <= goal:
            return results
        points = propose(x, y, event, seed, plane, min(batch, budget - len(sweep)), key=key, fitted=fitted)
        if not points:
            return results
        _begin(path, settings, rounds, points)
        if hours is not None and time.monotonic() - begun >= 3600 * hours:
            return Results(path, {base.override(point).run_id for point in as_sweep(axes, rounds)})


def checked(
    base: Experiment,
    axes: Mapping[str, Side],
    path: Path,
    *,
    budget: int,
    batch: int = 64,
    goal: float | None = None,
    seeds: int = 16,
    key: int = 0,
) -> tuple[Plane, dict[str, Any], list[list[Point]]]:
    """What `refine` may sample, what its workdir must hold, and the rounds that were begun there; raises as it does."""
    plane = _plane(base, axes, seeds)
    _check_count("budget", budget)
    _check_count("batch", batch)
    if isinstance(key, bool) or not isinstance(key, int) or key < 0:
        raise FieldError("key", key, "must be a whole number of at least 0")
    if goal is not None and not (isinstance(goal, (int, float)) and not isinstance(goal, bool) and 0 <= goal <= 1):
        raise FieldError("goal", goal, "must be a share of the plane, in [0, 1]")
    settings = {"axes": {axis: _plain(side) for axis, side in zip(axes, (plane.x, plane.y))}, "key": key}
    check_place(path)
    rounds = _stored(path / "refine.json", settings)
    if not rounds and read_specification(path) is not None:
        raise FieldError("workdir", str(path), "holds a sweep that was not refined: use another directory")
    return plane, settings, rounds


def _begin(path: Path, settings: dict[str, Any], rounds: list[list[Point]], points: list[Point]) -> None:
    """Adds a round, on disk too."""
    rounds.append(points)
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / "refine.json", json.dumps({"schema": SCHEMA, **settings, "rounds": rounds}))


def _plane(base: Experiment, axes: Any, seeds: int) -> Plane:
    """The plane of these fields of an experiment, all checked."""
    if not isinstance(axes, Mapping) or len(axes) != 2:
        raise FieldError("axes", axes, "must be two dotted paths, each with a Range or a list of values")
    for path in axes:
        if path not in base.paths():
            raise unknown(path, base.paths())
        if path in gather.SEEDS or path not in base.leaf_paths():
            why = "is set for each point" if path in gather.SEEDS else "is structure: each value is a compiled program"
            raise FieldError(path, None, f"{why}; refined are fields that hold a number per run")
        if isinstance(axes[path], Range) and isinstance(base.flat()[path], int):
            raise FieldError(path, axes[path], "takes whole numbers: give the list of values that are allowed")
    try:
        x, y = axes.values()
        plane = Plane(x, y, seeds)
    except FieldError as error:
        raise FieldError(dict(zip("xy", axes)).get(error.field, error.field), error.value, error.allowed) from None
    for path, side in zip(axes, (plane.x, plane.y)):
        for value in (side.low, side.high) if isinstance(side, Range) else side:
            base.override({path: value})
    return plane


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST[name]:
        raise FieldError(name, value, f"must be a whole number of at least 1, at most {MOST[name]:,}")


def _plain(side: Side) -> Any:
    return dataclasses.asdict(side) if isinstance(side, Range) else list(side)


def as_sweep(axes: Iterable[str], rounds: list[list[Point]]) -> Sweep:
    """The points of all rounds as a sweep; `axes` are the dotted paths of x and y."""
    points = [dict(zip((*axes, "seed"), point)) for one in rounds for point in one]
    values = {path: sorted({point[path] for point in points}) for path in (*axes, "seed")}
    return Sweep(len(points), points.__getitem__, values)


def _stored(path: Path, settings: dict[str, Any]) -> list[list[Point]]:
    """The rounds that were begun in a workdir; none where it has no file of them."""
    try:
        held = json.loads(path.read_text())
        rounds = [[(float(x), float(y), int(seed)) for x, y, seed in one] for one in held["rounds"]]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise FieldError("workdir", str(path.parent), f"its refine.json cannot be read: {error}") from None
    if held.get("schema") != SCHEMA:
        raise FieldError("workdir", str(path.parent), f"its refine.json has schema {held.get('schema')}, not {SCHEMA}")
    for name, value in settings.items():
        if held.get(name) != json.loads(json.dumps(value)):
            why = f"holds rounds with {name} = {held.get(name)}: use another directory"
            raise FieldError(name, value, why)
    return rounds
