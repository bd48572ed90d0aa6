"""Where the probability of an event crosses one half over two axes: a smooth fit to runs, with its uncertainty.

The fit is that of `sweeps.statistics.surface`.

Uncertainty, of each point by itself and of the area, is put together of
  - a bootstrap: a replicate draws as many whole seeds as there are, with replacement, and fits again. It also draws the
    centre of the prior from the prior (Osband et al. 2018, arXiv 1806.03335), so that replicates differ where there
    are no runs, such as between the cells of a coarse grid. Below twelve seeds single runs are drawn. With few units
    quantiles are taken further out, with n units at Φ(-√(n/(n-1)) t) for the quantile t of Student's distribution
    with n - 1 degrees of freedom (Hesterberg 2015, expanded percentiles, doi 10.1080/00031305.2015.1089789);
  - a jackknife over up to 64 seeds (`jackknife`), as runs of one seed share what they start from all over the
    plane: the fit without each gives an interval of the area, and how far the line as a whole may be displaced. Below
    three seeds nothing is known. Where runs were drawn, the two are added in squares, else the wider counts;
  - the bias of a smooth fit, which neither sees: half-widths around the line are taken BIAS times as wide, those of
    whole lines WHOLE times. With these numbers `scripts/benchmarks/coverage.py` finds at least nominal coverage in
    nearly all its worlds;
  - what lies between runs: between neighbours on a grid, at one of which all runs and at the other none had the event,
    the line may be anywhere, and a share of the plane that runs may leave unseen (see `fit`) is never ruled out.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, stats
from scipy.special import expit
from threadpoolctl import threadpool_limits

from jaxgen import FieldError
from sweeps.axes.scales import Range
from sweeps.statistics import band, jackknife, surface
from sweeps.statistics.band import STEPS
from sweeps.statistics.estimate import Estimate

LEAST_SEEDS = 12  # that are drawn
MOST_SEEDS = 64  # that are left out one by one
BIAS, WHOLE = 1.2, 1.5  # by which half-widths of points and of whole lines are multiplied: see the module
BINS = 64  # along each axis, into which runs are gathered where there are more than BINS² points
Axis = Range | Literal["linear", "log"]
"""A side of the plane, or how it runs between the ends of the values there are."""


@dataclasses.dataclass(frozen=True)
class Boundary:
    """A fit of P over a rectangle of two axes, the plane.

    Intervals of 95 % hold in nearly all worlds that `scripts/benchmarks/coverage.py` tries (docs/coverage.md). Not
    covered are the area between two lines close together, at five seeds .91 on 12 × 12 cells and .83 on 17 × 17, and
    whole lines of trained networks, .88 on 17 × 17 cells.

    Attributes:
      x, y: the plane's sides.
      x_grid, y_grid: (RESOLUTION,) values along them, evenly spaced as they run.
      p: (y, x) the probability on that grid.
      low, high: (y, x) its interval, of each point by itself.
      whole_low, whole_high: (y, x) wider ones: the whole line is where they hold ½, with this confidence.
      area: share of the plane where P > ½.
      bounds: ends of the area's interval if all undecided runs failed, the lower, and if all succeeded, the upper.
      length: of the line P = ½, in sides of the plane, both taken as 1.
      runs, undecided: how many the fit is of, and how many it leaves out.
      units: sampling units that it is of: seeds, or runs where no seeds were given.
      confidence: of all intervals.
      radius, spread: ℓ and s that were chosen.
      weights, replicates: (K,) b and w of the fit, and (replicates, K) of the bootstrap.
    """

    x: Range
    y: Range
    x_grid: np.ndarray
    y_grid: np.ndarray
    p: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole_low: np.ndarray
    whole_high: np.ndarray
    area: Estimate[float]
    bounds: tuple[float, float]
    length: Estimate[float]
    runs: int
    undecided: int
    units: int
    confidence: float
    radius: float
    spread: float
    weights: np.ndarray
    replicates: np.ndarray

    def probability(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """P at axis values (arrays that broadcast); NaN outside the plane: it is never extrapolated."""
        return expit(self._design(x, y) @ self.weights)

    def replicated(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """P of every replicate at axis values, (replicates, …); NaN outside the plane."""
        return np.moveaxis(expit(self._design(x, y) @ self.replicates.T), -1, 0)

    def contour(self) -> list[np.ndarray]:
        """The line P = ½ as polylines (points, 2) in axis values; none where P is ½ nowhere."""
        lines = band.lines(_square(self.radius) @ self.weights)
        return [np.stack([self.x.from_unit(line[:, 0]), self.y.from_unit(line[:, 1])], 1) for line in lines]

    @property
    def band(self) -> np.ndarray:
        """(y, x) whether the interval of P holds ½, of each point by itself."""
        return (self.low < 0.5) & (self.high > 0.5)

    @property
    def whole_band(self) -> np.ndarray:
        """(y, x) where the line may lie, all of it at once."""
        return (self.whole_low < 0.5) & (self.whole_high > 0.5)

    @property
    def uncertainty(self) -> float:
        """Share of the plane in the band, or the width of the area's interval where that is larger."""
        return max(float(band.share(self.band)), self.area.high - self.area.low)

    def _design(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        u, v = np.broadcast_arrays(self.x.to_unit(np.asarray(x)), self.y.to_unit(np.asarray(y)))
        inside = (np.minimum(u, v) >= -1e-9) & (np.maximum(u, v) <= 1 + 1e-9)
        return np.where(inside[..., None], surface.basis(u, v, self.radius), np.nan)


@threadpool_limits.wrap(limits=1, user_api="blas")  # the matrices are small: threads wait for each other
def fit(
    x: ArrayLike,
    y: ArrayLike,
    event: ArrayLike,
    seeds: ArrayLike | None = None,
    plane: tuple[Axis, Axis] = ("linear", "linear"),
    *,
    replicates: int = 400,
    confidence: float = 0.95,
    key: int = 0,
) -> Boundary:
    """Fits P(event | x, y) to runs; the module says how.

    Where the event happened in all runs, or in none, there is no line, and the area is 1 or 0. Its interval is then a
    rule of three: with n points spread evenly over the plane, at least m runs at each, and a share a of the plane on
    the other side of a line, all runs agree with a probability of at most (1 - a (1 - 2⁻ᵐ))ⁿ.

    Args:
      x, y: (runs,) values on the axes.
      event: (runs,) whether it happened; NaN where that is undecided: the fit is to the others.
      seeds: (runs,) of the runs; when None, every run is a unit of its own.
      plane: its sides, x and y; with "linear" or "log" one runs from the least of the values to the largest.
      replicates: of the bootstrap.
      confidence: of the intervals.
      key: of the bootstrap's random numbers; equal input gives equal results.

    Raises:
      FieldError: there are no runs, arrays differ in length, a value is no finite number, not above 0 on a logarithmic
        axis or outside the range, an axis has no extent, or another argument is not allowed.
    """
    happened = np.asarray(event, float)
    if happened.ndim != 1 or not np.isfinite(happened).any():
        raise FieldError("event", happened.shape, "must be one value per run, of at least one run that is decided")
    known = ~np.isnan(happened)
    if not np.isin(happened[known], (0, 1)).all():
        raise FieldError("event", happened[known].max(), "must be true or false, or NaN")
    if not 0 < confidence < 1:
        raise FieldError("confidence", confidence, "must be in (0, 1)")
    if isinstance(replicates, bool) or not isinstance(replicates, int) or replicates < 1:
        raise FieldError("replicates", replicates, "must be a whole number of at least 1")
    x_axis, u = _placed("x", x, plane[0], len(happened))
    y_axis, v = _placed("y", y, plane[1], len(happened))
    if not known.all():
        again = functools.partial(fit, plane=(x_axis, y_axis), replicates=replicates, confidence=confidence, key=key)
        return _with_undecided(again, np.stack([x, y]), happened, seeds)
    points, point = _gathered(u, v)
    unit, each, units, chance = _units(seeds, point, happened)
    shape = len(chance), len(points)
    trials, events = (sparse.csr_array((w, (unit, point)), shape) for w in (each, each * happened))
    counts, happenings = (np.bincount(point, w, len(points))[None] for w in (np.ones_like(happened), happened))
    rng = np.random.default_rng(key)
    drawn = rng.multinomial(units, chance, replicates)
    model, weights = surface.chosen(points, counts, happenings)
    centre = rng.standard_normal((replicates, len(model.precision))) / np.sqrt(model.precision)
    start = np.repeat(weights, replicates, 0)
    replicated = model.mode(drawn @ trials, drawn @ events, centre, start, surface.ROUGH)

    square, tails = _square(model.radius), _tails(units, confidence)
    logit, logits = square @ weights[0], np.moveaxis(square @ replicated.T, -1, 0)
    below, above = np.abs(np.quantile(logits, tails, axis=0) - logit)
    of, found = "runs" if seeds is None else "seeds", units if seeds is None else len(np.unique(seeds))
    of_fit = functools.partial(_estimate, confidence=confidence, units=found, resampled=of)
    area = of_fit(float(band.share(logit > 0)), np.quantile(band.share(logits > 0), tails))
    if happened.min() == happened.max():
        area = of_fit(float(happened[0]), happened[[0, 0]])
    length = of_fit(band.length(logit), np.quantile([band.length(one) for one in logits], tails))
    if seeds is not None and found <= MOST_SEEDS:
        without = np.moveaxis(square @ _without_each(model, weights, seeds, point, happened).T, -1, 0)
        moved = band.moved(logit, band.displacement(logit, without, confidence))
        both = np.maximum if units == found else np.hypot  # drawn runs do not have in them what seeds share
        (below, above), units = (both(one, other) for one, other in zip((below, above), moved)), found
        area = area.at_least(float(jackknife.half_width(band.share(without > 0), confidence)))
        lengths = np.array([band.length(one) for one in without])
        length = length.at_least(float(jackknife.half_width(lengths, confidence)))
    between = band.between(points, counts[0], happenings[0])
    beyond = _unseen(len(points), int(counts.min()), confidence)
    area, ends = _area(area, float(band.share(between)) / 2, beyond), []
    length = dataclasses.replace(length, low=max(length.low, 0.0))
    for factor in (BIAS, WHOLE * band.simultaneous(logit, logits, confidence)):
        wide = np.where(band.reached(logit, factor * np.maximum(below, above)), factor, 1)
        ends += [np.where(between, 0, expit(logit - wide * below)), np.where(between, 1, expit(logit + wide * above))]
    return Boundary(
        x=x_axis,
        y=y_axis,
        x_grid=x_axis.from_unit(STEPS),
        y_grid=y_axis.from_unit(STEPS),
        p=expit(logit),
        low=ends[0],
        high=ends[1],
        whole_low=ends[2],
        whole_high=ends[3],
        area=area,
        bounds=(area.low, area.high),
        length=length,
        runs=len(happened),
        undecided=0,
        units=units,
        confidence=confidence,
        radius=model.radius,
        spread=model.spread,
        weights=weights[0],
        replicates=replicated,
    )


def _with_undecided(
    again: Callable[..., Boundary], places: np.ndarray, event: np.ndarray, seeds: ArrayLike | None
) -> Boundary:
    """The fit to the runs that are decided, with what the area is if the others failed, and if they succeeded."""
    known = ~np.isnan(event)
    found = again(*places[:, known], event[known], seeds if seeds is None else np.asarray(seeds)[known])
    failed, succeeded = (again(*places, np.where(known, event, outcome), seeds) for outcome in (0, 1))
    bounds = min(failed.area.low, found.area.low), max(succeeded.area.high, found.area.high)
    return dataclasses.replace(found, bounds=bounds, undecided=int((~known).sum()))


def _placed(name: str, values: ArrayLike, side: Axis, runs: int) -> tuple[Range, np.ndarray]:
    """An axis, and where the values stand on it from 0 to 1."""
    if not isinstance(side, Range) and side not in ("linear", "log"):
        raise FieldError(f"plane.{name}", side, "must be linear or log, or a Range: a boundary needs numbers")
    try:
        numbers = np.asarray(values, float)
    except (TypeError, ValueError, OverflowError):
        raise FieldError(name, values, "must be numbers") from None
    if numbers.shape != (runs,):
        raise FieldError(name, numbers.shape, f"must be one value for each of the {runs} runs")
    if not np.isfinite(numbers).all():
        raise FieldError(name, float(numbers[~np.isfinite(numbers)][0]), "must be finite")
    try:
        axis = side if isinstance(side, Range) else Range(numbers.min(), numbers.max(), side == "log")
    except FieldError as error:
        raise error.within(f"plane.{name}") from None
    if numbers.min() < axis.low or numbers.max() > axis.high:
        value = float(numbers.min() if numbers.min() < axis.low else numbers.max())
        raise FieldError(name, value, f"must be in its range, [{axis.low:g}, {axis.high:g}]")
    return axis, np.clip(axis.to_unit(numbers), 0, 1)


def _gathered(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points (points, 2) at which there are runs, and each run's; many are taken together, at their mean."""
    runs = np.stack([u, v], 1)
    points, point = np.unique(runs, axis=0, return_inverse=True)
    if len(points) <= BINS**2:
        return points, point.ravel()
    _, point = np.unique(np.floor(runs * (BINS - 1e-6)), axis=0, return_inverse=True)
    point = point.ravel()
    return np.stack([np.bincount(point, w) / np.bincount(point) for w in runs.T], 1), point


def _units(
    seeds: ArrayLike | None, point: np.ndarray, happened: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """What the bootstrap draws: seeds, or runs where these are too few. Runs at a point that agree are of one kind.

    Returns:
      For each run the kind of unit that it is of and its share in one such unit, both (runs,); how many units a
      replicate draws; the chance of each kind, (kinds,).
    """
    if seeds is not None:
        if np.shape(seeds) != point.shape:
            raise FieldError("seeds", np.shape(seeds), f"must be one for each of the {len(point)} runs")
        found, unit = np.unique(seeds, return_inverse=True)
        if len(found) >= LEAST_SEEDS:
            return unit.ravel(), np.ones(len(point)), len(found), np.full(len(found), 1 / len(found))
    _, unit, count = np.unique(2 * point + happened, return_inverse=True, return_counts=True)
    return unit.ravel(), 1 / count[unit.ravel()], len(point), count / len(point)


def _without_each(
    model: surface.Model, weights: np.ndarray, seeds: ArrayLike, point: np.ndarray, happened: np.ndarray
) -> np.ndarray:
    """The weights (seeds, K) of the fit without each seed in turn, of the model that was chosen with all."""
    found, unit = np.unique(seeds, return_inverse=True)
    shape = len(found), len(model.design)
    own = [sparse.csr_array((w, (unit.ravel(), point)), shape).toarray() for w in (np.ones(len(point)), happened)]
    trials, events = (one.sum(0) - one for one in own)
    start = np.repeat(weights, len(found), 0)
    return model.mode(trials, events, np.zeros_like(start), start, surface.ROUGH)


def _estimate(value: float, ends: np.ndarray, confidence: float, units: int, resampled: str) -> Estimate[float]:
    """The value lies in its interval: a percentile interval alone need not hold it."""
    return Estimate(value, float(min(value, ends[0])), float(max(value, ends[1])), confidence, units, resampled)


def _area(found: Estimate[float], reach: float, beyond: float) -> Estimate[float]:
    """The area's interval times BIAS, at least `reach` to each side; a share `beyond` may be on either side, unseen."""
    down, up = (max(BIAS * half, reach) for half in (found.value - found.low, found.high - found.value))
    low, high = min(found.value - down, 1 - beyond), max(found.value + up, beyond)
    return dataclasses.replace(found, low=max(low, 0.0), high=min(high, 1.0))


def _tails(units: int, confidence: float) -> list[float]:
    """Shares of replicates at which an interval ends, from the number of units that were drawn."""
    if units < 2:
        return [0.0, 1.0]
    low = float(stats.norm.cdf((units / (units - 1)) ** 0.5 * stats.t.ppf((1 - confidence) / 2, units - 1)))
    return [low, 1 - low]


def _unseen(points: int, least: int, confidence: float) -> float:
    """The largest share of the plane beyond a line that runs which all agree do not rule out; see `fit`."""
    return min(1.0, (1 - ((1 - confidence) / 2) ** (1 / points)) / (1 - 0.5**least))


@functools.lru_cache(maxsize=len(surface.LENGTHS))
def _square(radius: float) -> np.ndarray:
    return surface.basis(*np.meshgrid(STEPS, STEPS), radius)
