"""Laws fitted to runs: where success begins, powers, and how well curves fall on one another."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, special

from jaxgen import FieldError
from sweeps.statistics import jackknife
from sweeps.statistics.checks import check_all
from sweeps.statistics.estimate import Estimate

RIDGE = 1e-3  # keeps the slope finite where some x separates failure from success
SURE = 6  # seeds of which none on one side is rare enough to rule it out: 2 · 2⁻⁶ < 5 %
GROUPS = 200  # more seeds or runs are left out in so many groups


@dataclasses.dataclass(frozen=True)
class CriticalValue(Estimate[float]):
    """Where P(success | x) = 1/2, with P = 1 / (1 + exp(-slope (x - value))), or that in ln x.

    The value is -inf below all observed x, inf above (where all succeed, or none does, success is taken to grow with
    x), and NaN where the fitted P is 1/2 everywhere.

    Attributes:
      slope: of the log-odds, per unit of x or of ln x; NaN where all succeed or none does.
    """

    slope: float


def critical_value(
    x: ArrayLike,
    success: ArrayLike,
    seeds: ArrayLike | None = None,
    log: bool = False,
    confidence: float = 0.95,
) -> CriticalValue:
    """The x at which half of the runs succeed, by logistic regression, with a jackknife's interval.

    Minimises Σ [log(1 + exp η) - success · η] + ρ b² / 2 over η = a + b u, with u = (x - mean) / standard deviation
    and ρ = 0.001; the value is where η = 0. The interval is that of `jackknife` over whole seeds, so that runs
    of one seed at several x count as dependent, of arctan(u / 2), in which a value that is infinite without some seed
    has a place; more than 200 seeds are left out in 200 groups. To s² is added h²/12n, the variance of a mean of n
    seeds' values that x so far apart tell to an interval, h around the value.

    Where all runs up to some x fail and all from the next x on succeed, or the reverse, any value between the two is
    as good: the interval has both. An end is infinite where it lies beyond all x, and below three seeds; below six if
    all runs succeed, or none does.

    Args:
      x: (runs,) the control parameter.
      success: (runs,) whether each run succeeded.
      seeds: (runs,) the seed of each run; None: runs are taken one by one.
      log: the fit is in ln x.
      confidence: of the interval.

    Raises:
      FieldError: there are fewer than two different x, one is not finite (with `log`: not above 0), shapes differ,
        `success` is not true or false, or `confidence` is out of range.
    """
    x, success, units, unit = _points(x, "success", success, "seeds", seeds)
    check_all("success", success, (success != 0) & (success != 1), "must be true or false")
    check_all("confidence", confidence, not 0 < confidence < 1, "must be in (0, 1)")
    z = _logs(x, log)
    values, place = np.unique(z, return_inverse=True)
    u = (values - z.mean()) / z.std()
    group, groups = _groups(unit, units)
    shape = groups, len(u)
    runs, won = (sparse.csr_array((n, (group, place)), shape).toarray() for n in (np.ones(len(x)), success))
    whole = _half(u, runs.sum(axis=0)[None], won.sum(axis=0)[None], np.zeros((2, 1)), 1.0)
    rising = -1.0 if whole.slope[0] < 0 else 1.0
    without = _half(u, runs.sum(axis=0) - runs, won.sum(axis=0) - won, whole.parameters, rising)
    gap = np.diff(u)[np.clip(np.searchsorted(u, whole.value[0]) - 1, 0, len(u) - 2)]
    rounding = gap / (12 * units) ** 0.5 if whole.low[0] == whole.high[0] else 0.0
    rounded = (rounding, units, confidence)
    low = -_upper_end(-whole.low[0], -without.low, *rounded)
    found = np.array([whole.value[0], low, _upper_end(whole.high[0], without.high, *rounded)])
    found = np.where(found > u[-1], np.inf, np.where(found < u[0], -np.inf, found))
    inside = np.interp(found, u, values)  # an end at an observed x is that x, to the last digit
    value, low, high = np.where(np.isfinite(found), np.exp(inside) if log else inside, found).tolist()
    slope = float(whole.slope[0] / z.std())
    return CriticalValue(value, low, high, confidence, units, _resampled(seeds), slope)


def _upper_end(value: float, without: np.ndarray, rounding: float, units: int, confidence: float) -> float:
    """The upper end of the interval of a value of which some may be infinite."""
    whole, without = np.arctan(value / 2), np.arctan(without / 2)
    if np.isnan([whole, *without]).any() or (units < SURE and (np.abs(without) == np.pi / 2).all()):
        return np.inf
    half = jackknife.half_width(without, confidence, rounding * np.cos(whole) ** 2 / 2)
    end = float(whole + half)
    return np.inf if end >= np.pi / 2 else 2 * np.tan(end) if end != whole else value


@dataclasses.dataclass(frozen=True)
class PowerLaw(Estimate[float]):
    """The exponent of y = prefactor · x^exponent.

    Attributes:
      prefactor: of the fit.
      r2: share of the variance of ln y that the fit explains; NaN where y is constant.
    """

    prefactor: float
    r2: float


def power_law(x: ArrayLike, y: ArrayLike, seeds: ArrayLike | None = None, confidence: float = 0.95) -> PowerLaw:
    """The power of x that y follows, by least squares of ln y on ln x, with a jackknife's interval.

    The interval is that of `jackknife` over seeds; with all x for each, that of the mean of their slopes by
    Student's t. Infinite below three seeds. Times that were not reached (inf) have no place in this fit: left out,
    they bend it. Fit medians per x (`kaplan_meier`), or only x at which all runs reached it.

    Args:
      x, y: (points,) above 0 and finite.
      seeds: (points,) the seed of each point; None: points are taken one by one.
      confidence: of the interval.

    Raises:
      FieldError: there are fewer than two different x, an x or y is not above 0 or not finite, shapes differ, or
        `confidence` is out of range.
    """
    x, y, units, unit = _points(x, "y", y, "seeds", seeds)
    check_all(
        "y", y, y == np.inf, "is a time that was not reached: fit medians, or only x at which all runs reached it"
    )
    check_all("y", y, ~(y > 0), "must be above 0")
    check_all("confidence", confidence, not 0 < confidence < 1, "must be in (0, 1)")
    log_x, log_y = _logs(x, True), np.log(y)
    u, v = log_x - log_x.mean(), log_y - log_y.mean()
    terms = np.stack([np.ones(len(u)), u, v, u * u, u * v], axis=1)
    group, groups = _groups(unit, units)
    sums = np.stack([np.bincount(group, term, minlength=groups) for term in terms.T], axis=1)
    half = float(jackknife.half_width(_slope(sums.sum(axis=0) - sums), confidence))
    half = np.inf if np.isnan(half) else half  # without some seed there is one x alone
    exponent = float((u @ v) / (u @ u))
    r2 = 1 - ((v - exponent * u) ** 2).sum() / (v @ v) if np.ptp(y) else np.nan
    prefactor = np.exp(log_y.mean() - exponent * log_x.mean())
    of = confidence, units, _resampled(seeds)
    return PowerLaw(exponent, exponent - half, exponent + half, *of, float(prefactor), float(r2))


def collapse_score(x: ArrayLike, y: ArrayLike, curve: ArrayLike) -> float:
    """How far several curves y(x) are from being one: 0 where they fall on one another, about 1 where y is noise.

    Each curve in turn is interpolated linearly, and the points of the others within its range are compared with it
    (Bhattacharjee and Seno 2001, doi 10.1088/0305-4470/34/33/302). score = mean of rᵢ² / (1 + aᵢ² + bᵢ²) over the
    variance of all y, with rᵢ = yᵢ - aᵢ y₁ - bᵢ y₂, a and b the weights of the interpolation: their squares take off
    what noise in y₁ and y₂ adds (Gasser, Sroka and Jennen-Steinmetz 1986, doi 10.1093/biomet/73.3.625). n points of
    one curve at one x are averaged, and their squared weight is divided by n.

    The score alone decides nothing: where curves are alike, a wrong variable often scores below .1. What can be said is
    that one variable scores less than another, and how far it is above the noise of the seeds: `compare_collapses`.

    Above 1 curves are further apart than noise would be. What does not overlap is not compared: a scaling is no good
    for pulling curves apart. Take the logarithm of a y that spans decades; of x, it changes little.

    Args:
      x: (points,) the proposed scaling variable.
      y: (points,) what should depend on it alone.
      curve: (points,) which curve each point is of: two or more.

    Returns:
      The score; NaN where no curves overlap, or y is constant.

    Raises:
      FieldError: shapes differ, a value is not finite, or there are fewer than two curves.
    """
    x, y, curves, which = _points(x, "y", y, "curve", curve)
    check_all("y", y, ~np.isfinite(y), "must be finite")
    if curves < 2:
        raise FieldError("curve", curves, "must tell two curves or more apart")
    return _score(x, y, which)


def _compared(x: np.ndarray, y: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The squares that `collapse_score` is the mean of, for all points within another curve's range."""
    squares = [np.zeros(0)]
    for base in np.unique(which):
        at, place, n = np.unique(x[which == base], return_inverse=True, return_counts=True)
        mean = np.bincount(place, y[which == base]) / n
        inside = (which != base) & (x >= at[0]) & (x <= at[-1])
        right = np.searchsorted(at, x[inside])
        left = np.maximum(right - 1, 0)
        gap = at[right] - at[left]
        b = np.divide(x[inside] - at[left], gap, out=np.zeros(len(gap)), where=gap > 0)
        residual = y[inside] - (1 - b) * mean[left] - b * mean[right]
        squares.append(residual**2 / (1 + (1 - b) ** 2 / n[left] + b**2 / n[right]))
    return np.concatenate(squares)


@dataclasses.dataclass(frozen=True)
class Collapse:
    """How well curves fall on one another over one of several proposed variables, and how much worse than the best.

    Attributes:
      score: the `collapse_score`.
      worse: how far the score is above the least of all variables', on the same seeds: where its interval is above 0,
        the best is told apart from this one.
      floor: what the score would be were the curves one but for the noise between seeds: their variance at one x of
        one curve over the variance of all y; NaN where no two seeds share a point.
      overlap: how many of the comparisons of a point with another curve were possible, as a share: two variables are
        comparable where it is about the same.
    """

    score: Estimate[float]
    worse: Estimate[float]
    floor: float
    overlap: float

    @property
    def over_floor(self) -> float:
        """The score over its noise floor: about 1 where seeds leave nothing to explain, inf without noise."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.float64(self.score.value) / self.floor)


def compare_collapses(
    scalings: Mapping[str, ArrayLike], y: ArrayLike, curve: ArrayLike, seeds: ArrayLike, confidence: float = 0.95
) -> dict[str, Collapse]:
    """Which of several proposed scaling variables lets curves fall on one another best.

    Intervals are those of `jackknife` over seeds, the same ones for all variables; infinite below three. For a choice
    between two that were named beforehand see `collapse_gain`: the best of several is the luckiest of them, too.

    Args:
      scalings: (points,) of each variable, by its name.
      y: (points,) what should depend on the right one alone.
      curve: (points,) which curve each point is of.
      seeds: (points,) the seed of each point; each has points on several curves.
      confidence: of the intervals.

    Returns:
      The `Collapse` over each variable, by its name.

    Raises:
      FieldError: as `collapse_score`, there is no variable, or `confidence` is out of range.
    """
    if not scalings:
        raise FieldError("scalings", None, "must have a variable or more, by name")
    scores = {name: _scores(x, y, curve, seeds) for name, x in scalings.items()}
    best = min(scores, key=lambda name: np.nan_to_num(scores[name][0], nan=np.inf))
    found = {}
    for name, x in scalings.items():
        places, values, curves, which = _points(x, "y", y, "curve", curve)
        overlap = len(_compared(places, values, which)) / (len(places) * (curves - 1))
        score, worse = (_jackknifed(one, seeds, confidence) for one in (scores[name], scores[name] - scores[best]))
        found[name] = Collapse(score, worse, _floor(places, values, which), overlap)
    return found


def collapse_gain(
    x: ArrayLike, other: ArrayLike, y: ArrayLike, curve: ArrayLike, seeds: ArrayLike, confidence: float = 0.95
) -> Estimate[float]:
    """By how much the `collapse_score` over another variable exceeds that over x: above 0 where x collapses better.

    The interval is that of `jackknife` over seeds, each left out of both scores; infinite below three.

    Args:
      x, other: (points,) the two variables, chosen before their scores are known.
      y, curve, seeds: (points,) as for `compare_collapses`.
      confidence: of the interval.

    Raises:
      FieldError: as `compare_collapses`.
    """
    return _jackknifed(_scores(other, y, curve, seeds) - _scores(x, y, curve, seeds), seeds, confidence)


def _scores(x: ArrayLike, y: ArrayLike, curve: ArrayLike, seeds: ArrayLike) -> np.ndarray:
    """The `collapse_score` of all points, and then without each seed in turn."""
    whole = collapse_score(x, y, curve)
    x, y, units, unit = _points(x, "y", y, "seeds", seeds)
    which, (group, groups) = np.unique(curve, return_inverse=True)[1], _groups(unit, units)
    kept = (group != left_out for left_out in range(groups))
    return np.array([whole, *(_score(x[part], y[part], which[part]) for part in kept)])


def _jackknifed(scores: np.ndarray, seeds: ArrayLike, confidence: float) -> Estimate[float]:
    """The first of the scores, with the interval that the others, without each seed, give it."""
    check_all("confidence", confidence, not 0 < confidence < 1, "must be in (0, 1)")
    value, half = float(scores[0]), float(jackknife.half_width(scores[1:], confidence))
    ends = (-np.inf, np.inf) if np.isnan([value, half]).any() else (value - half, value + half)
    return Estimate(value, *ends, confidence, len(np.unique(seeds)), "seeds")


def _score(x: np.ndarray, y: np.ndarray, which: np.ndarray) -> float:
    """The `collapse_score` of checked points; NaN of a single curve."""
    compared = _compared(x, y, which)
    return float(compared.mean() / y.var(ddof=1)) if len(compared) and np.ptp(y) else np.nan


def _floor(x: np.ndarray, y: np.ndarray, which: np.ndarray) -> float:
    """The variance of y between points at one x of one curve, over that of all y."""
    _, place = np.unique(np.stack([which, x]), axis=1, return_inverse=True)
    count = np.bincount(place.ravel())
    mean = np.bincount(place.ravel(), y) / count
    spare = len(y) - len(count)
    return float(np.sum((y - mean[place.ravel()]) ** 2) / spare / y.var(ddof=1)) if spare and np.ptp(y) else np.nan


@dataclasses.dataclass(frozen=True)
class _Half:
    """Fits of resamples: parameters (2, R) of η = a + b u, and (R,) where η = 0, with the ends it may lie between."""

    parameters: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slope: np.ndarray


def _half(u: np.ndarray, trials: np.ndarray, successes: np.ndarray, start: np.ndarray, rising: float) -> _Half:
    """Where half succeed, of (R, X) trials and successes at u (X,); `rising` says where it is if all or none do."""
    decided = (successes == trials).all(axis=1) | (successes == 0).all(axis=1)
    a, b = _logistic(u, trials, successes, start, decided)
    sure = successes.sum(axis=1) * 2 - trials.sum(axis=1)  # the sign of a where the fit is flat
    flat = decided | (np.abs(b) < 1e-9)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(flat, np.where(sure == 0, np.nan, -rising * np.sign(sure) * np.inf), -a / b)
    low, high = value.copy(), value.copy()
    first, last = {}, {}
    for name, there in (("failure", trials > successes), ("success", successes > 0)):
        first[name] = np.where(there, u, np.inf).min(axis=1)
        last[name] = np.where(there, u, -np.inf).max(axis=1)
    for one, other in (("failure", "success"), ("success", "failure")):
        apart = (last[one] < first[other]) & ~decided
        low, high = np.where(apart, last[one], low), np.where(apart, first[other], high)
    return _Half(np.stack([a, b]), np.clip(value, low, high), low, high, np.where(decided, np.nan, b))


def _logistic(
    u: np.ndarray, trials: np.ndarray, successes: np.ndarray, start: np.ndarray, decided: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method on all resamples at once.

    No log-odds changes by more than 1 in a step: then each step lowers the loss, as the third derivative of
    log(1 + exp η) is at most its second (Bach 2010, doi 10.1214/09-EJS521).
    """
    powers = np.stack([np.ones(len(u)), u, u**2], axis=1)
    a, b = np.repeat(start, len(trials), axis=1)
    b[decided] = 0
    for _ in range(500):
        p = special.expit(a[:, None] + np.multiply.outer(b, u))
        expected = trials * p
        slope_a, slope_b = ((successes - expected) @ powers[:, :2]).T - np.stack([np.zeros(len(b)), RIDGE * b])
        aa, ab, bb = ((expected - expected * p) @ powers).T + np.array([[1e-12], [0], [RIDGE]])
        det = aa * bb - ab**2
        step_a, step_b = (bb * slope_a - ab * slope_b) / det, (aa * slope_b - ab * slope_a) / det
        largest = np.maximum(np.abs(step_a + step_b * u[0]), np.abs(step_a + step_b * u[-1]))
        part = np.where(decided, 0, 1 / np.maximum(largest, 1))
        a, b = a + part * step_a, b + part * step_b
        if (part * largest < 1e-9).all():
            break
    return a, b


def _slope(sums: np.ndarray) -> np.ndarray:
    """Least-squares slopes of (R, 5) sums of 1, u, v, u², uv; NaN where u is constant."""
    n, u, v, uu, uv = sums.T
    spread = n * uu - u**2
    known = spread > 1e-9 * n * uu
    return np.divide(n * uv - u * v, spread, out=np.full(len(n), np.nan), where=known)


def _resampled(seeds: ArrayLike | None) -> str:
    return "runs" if seeds is None else "seeds"


def _points(
    x: ArrayLike, name: str, y: ArrayLike, unit_name: str, units: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Checked x and y, how many units there are, and which each point is of; without units each is one."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    units = np.arange(x.size) if units is None else np.asarray(units)
    for other, values in ((name, y), (unit_name, units)):
        if x.ndim != 1 or values.shape != x.shape:
            raise FieldError(other, values.shape, f"must have one value per x: {x.shape}")
    check_all("x", x, ~np.isfinite(x), "must be finite")
    names, unit = np.unique(units, return_inverse=True)
    return x, y, len(names), unit


def _logs(x: np.ndarray, log: bool) -> np.ndarray:
    """ln x, or x itself; two different values at least."""
    check_all("x", x, log & (x <= 0), "must be above 0 to have a logarithm")
    z = np.log(x) if log else x
    if not len(x) or z.std() == 0:
        raise FieldError("x", x[:1].tolist(), "must have two different values or more")
    return z


def _groups(unit: np.ndarray, units: int) -> tuple[np.ndarray, int]:
    """What is left out at a time: which of them each point is of, and how many there are."""
    if units <= GROUPS:
        return unit, units
    return np.random.default_rng(0).permutation(units)[unit] % GROUPS, GROUPS
