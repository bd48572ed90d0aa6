"""Where to sample next: points that close in on the boundary of an event over two axes.

The first ones are a scrambled Sobol sequence. Later ones are those, out of many, at which the next outcome is least
certain by a fit of P to the runs so far (`sweeps.boundary`): with P̄ the mean of P over the bootstrap's replicates, that
outcome's variance is P̄ (1 - P̄) = mean of P (1 - P) + variance of P, noise and ignorance together. One run in ten goes
to the largest gap between runs, so that what no run has come near to is found too.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from jaxgen import FieldError
from sweeps.axes.scales import Range, kind
from sweeps.statistics import boundary
from sweeps.statistics.boundary import Boundary

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
        check_count("seeds", self.seeds)

    @property
    def ranges(self) -> tuple[Range, Range]:
        """Both sides from end to end."""
        x, y = (
            side if isinstance(side, Range) else Range(side[0], side[-1], kind(list(side)) == "log")
            for side in (self.x, self.y)
        )
        return x, y

    def fit(self, x: ArrayLike, y: ArrayLike, event: ArrayLike, seeds: ArrayLike, key: int = 0) -> Boundary | None:
        """The boundary fitted to the runs whose event is known, not NaN; None where there are none."""
        known = np.isfinite(np.asarray(event, float))
        if not known.any():
            return None
        decided = (np.asarray(values)[known] for values in (x, y, event, seeds))
        return boundary.fit(*decided, self.ranges, replicates=REPLICATES, key=key)

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


def _values(name: str, side: Iterable[float]) -> tuple[float, ...]:
    try:
        values = tuple(sorted(float(v) for v in side))
    except (TypeError, ValueError, OverflowError):
        raise FieldError(name, side, "must be a Range or a list of numbers") from None
    if len(set(values)) < max(len(values), 2) or not np.isfinite(values).all():
        raise FieldError(name, side, "must have at least two values, all finite and different")
    if kind(list(values)) == "symlog":
        raise FieldError(name, side, "must stand on a linear or logarithmic scale: leave the 0 out")
    return values


def _allowed(shares: np.ndarray, side: Side, ends: Range) -> np.ndarray:
    """The values at shares of the way along a side, rounded; all values of a list have equal shares of it."""
    if isinstance(side, Range):
        rounded = [float(f"{value:.{DIGITS}g}") for value in ends.from_unit(shares)]
        return np.clip(rounded, ends.low, ends.high)
    return np.asarray(side)[np.minimum((shares * len(side)).astype(int), len(side) - 1)]


def propose(
    x: ArrayLike,
    y: ArrayLike,
    event: ArrayLike,
    seeds: ArrayLike,
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
    check_count("batch", batch)
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


def unseen(plane: Plane, x: ArrayLike, y: ArrayLike) -> float:
    """The radius, in sides of the plane, of the largest disc without runs around a point that may be sampled.

    An island of the event, or of its absence, that is no larger can have been missed.

    Args:
      plane: what was sampled.
      x, y: (runs,) values on the axes.
    """
    at = plane.to_unit(np.stack([np.asarray(x, float), np.asarray(y, float)], 1))
    return float(KDTree(at).query(plane.to_unit(plane.points(SEARCHED, (0,))))[0].max())


def check_count(name: str, value: object) -> None:
    """FieldError where a value is no whole number from 1 to its `MOST`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST[name]:
        raise FieldError(name, value, f"must be a whole number of at least 1, at most {MOST[name]:,}")
