"""How sure one can be of times that were measured on a few seeds, and that not all of them reached."""

import dataclasses
import warnings

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from sweeps.statistics.checks import censored, check_all, indices, quantile
from sweeps.statistics.estimate import Estimate
from sweeps.statistics.jackknife import LEAST_UNITS

HALF = 0.5 + 1e-9  # a product of fractions that should be 1/2 may be a rounding error above it


@dataclasses.dataclass(frozen=True)
class Survival:
    """Kaplan–Meier estimate of S(t), the share of runs that have not reached something by step t.

    Times are steps of evaluations: what is seen at one was reached at some step after the evaluation before. Nothing
    here is more precise than that.

    Attributes:
      times: (k,) distinct steps at which runs reached it or were last watched, ascending. S is 1 before the first.
      probabilities: (k,) S from that step until before the next.
      low, high: (k,) its pointwise interval (log-log Greenwood).
      at_risk: (k,) runs watched that had not reached it before that step.
      events: (k,) runs that reached it at that step.
      median: the first step with S ≤ 1/2; inf where half never reached it, NaN without runs. Its interval (Brookmeyer
        and Crowley 1982, doi 10.2307/2530286) ends at the first steps at which `low` and `high` are ≤ 1/2; inf where
        they never are. With n runs of which all lie on one side of the median with a probability 2 · 2⁻ⁿ above
        1 - confidence (n ≤ 5 at 95 %), nothing is known of its lower end, which is 0.
    """

    times: np.ndarray
    probabilities: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    median: Estimate[float]

    def restricted_mean(self, until: float) -> Estimate[float]:
        """Mean of min(T, until): ∫ S from 0 to `until`, ± t standard errors at the median's confidence.

        Beyond the last run watched S stays at its last value (Gill 1980), so there the mean is at most too large.
        The variance is m/(m-1) Σᵢ Aᵢ² dᵢ / (nᵢ (nᵢ - dᵢ)), Aᵢ = ∫ S from tᵢ to `until`, over the steps tᵢ with dᵢ
        events among nᵢ at risk, and m the runs whose min(T, until) is known (Kaplan and Meier 1958, §6.2): where it
        is known of all, this is the ordinary s/√m. t is Student's with m - 1. The ends are NaN where m ≤ 1.

        Raises:
          FieldError: `until` is not a finite number ≥ 0.
        """
        check_all("until", until, not 0 <= until < np.inf, "must be a finite number, 0 or above")
        confidence, resampled = self.median.confidence, self.median.resampled
        if not len(self.times):
            return Estimate(np.nan, np.nan, np.nan, confidence, 0, resampled)
        edges = np.append(np.minimum(self.times, until), until)
        areas = self.probabilities * np.diff(edges)
        after = np.cumsum(areas[::-1])[::-1]
        left = self.at_risk - self.events
        terms = np.divide(after**2 * self.events, self.at_risk * left, out=np.zeros(len(areas)), where=left > 0)
        lost = left - np.append(self.at_risk[1:], 0)
        known = int(self.at_risk[0] - lost[self.times < until].sum())
        error = np.sqrt(terms.sum() * known / (known - 1)) if known > 1 else np.nan
        value, half = float(edges[0] + areas.sum()), float(special.stdtrit(known - 1, (1 + confidence) / 2) * error)
        return Estimate(value, value - half, value + half, confidence, known, resampled)


def kaplan_meier(ended: ArrayLike, reached: ArrayLike, confidence: float = 0.95) -> Survival:
    """The `Survival` of runs of which some are only known not to have reached something by the step they `ended`.

    The interval is scipy's ("log-log"). Where S = 0, for which Greenwood has no variance, its upper end is that before
    times the exact one for none left of n at risk, 1 - (α/2)^(1/n) (Clopper and Pearson 1934): ten seeds that all
    reach it at one evaluation have a median known to that evaluation, three do not.

    Args:
      ended: (runs,) step at which it was reached, or else the last at which it was looked for; finite.
      reached: (runs,) whether it was.
      confidence: of the intervals.

    Raises:
      FieldError: shapes differ, a step is not finite, or `confidence` is not in (0, 1).
    """
    ended, reached = censored(ended, reached)
    quantile(confidence)
    if not len(ended):
        none = np.zeros(0)
        unknown = Estimate(np.nan, np.nan, np.nan, confidence, 0, "runs")
        return Survival(none, none, none, none, none.astype(int), none.astype(int), unknown)
    _, times, at_risk, events, first = _steps(np.zeros(len(ended), int), ended, reached)
    curve = stats.ecdf(stats.CensoredData.right_censored(ended, ~reached)).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that S = 1 and S = 0 have no interval: they get one here
        band = curve.confidence_interval(confidence, method="log-log")
    low, high = _close(curve.probabilities, band.low.probabilities, band.high.probabilities, at_risk, first, confidence)
    crossings = [float(np.min(times, where=s <= HALF, initial=np.inf)) for s in (curve.probabilities, low, high)]
    lower = crossings[1] if _bounds_the_median(len(ended), confidence) else 0.0
    median = Estimate(crossings[0], lower, crossings[2], confidence, len(ended), "runs")
    return Survival(times, curve.probabilities, low, high, at_risk, events, median)


def censored_median(ended: ArrayLike, reached: ArrayLike) -> float:
    """Kaplan–Meier median of times of which some are only known to exceed `ended`; inf where half was never reached.

    >>> censored_median(np.array([100.0, 200.0, 3000.0]), np.array([True, True, False]))
    200.0
    >>> censored_median(np.array([100.0, 3000.0, 3000.0]), np.array([True, False, False]))
    inf
    """
    return kaplan_meier(ended, reached).median.value


def grouped_median(
    groups: ArrayLike, count: int, ended: ArrayLike, reached: ArrayLike, confidence: float = 0.95
) -> Estimate[np.ndarray]:
    """The median of `kaplan_meier` for all groups at once, (count,); NaN for groups without runs.

    Args:
      groups: (runs,) index of each run's group, in [0, count).
      count: how many groups there are.
      ended, reached: (runs,) as for `kaplan_meier`.
      confidence: of the interval.

    Raises:
      FieldError: as `kaplan_meier`, or a group is not in [0, count).
    """
    z = quantile(confidence)
    found = np.full((3, count), np.nan)
    ended, reached = censored(ended, reached)
    groups = indices(groups, count, ended)
    if len(groups):
        groups, times, at_risk, events, first = _steps(groups, ended, reached)
        s, log_s = _survival(at_risk, events, first)
        left = at_risk - events
        terms = np.divide(events, at_risk * left, out=np.zeros(len(times)), where=left > 0)
        error = z * np.sqrt(np.maximum(_running(terms, first), 0))  # of log S; of log(-log S) it is error / |log S|
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            low, high = (np.exp(log_s * np.exp(sign * error / -log_s)) for sign in (1, -1))
        curves = np.stack([s, *_close(s, low, high, at_risk, first, confidence)])
        starts = np.flatnonzero(first)
        crossings = np.where(curves <= HALF, times, np.inf)
        found[:, groups[starts]] = np.minimum.reduceat(crossings, starts, axis=1)
        few = starts[~_bounds_the_median(at_risk[starts], confidence)]
        found[1, groups[few]] = 0
    return Estimate(found[0], found[1], found[2], confidence, np.bincount(groups, minlength=count), "runs")


def grouped_restricted_mean(
    groups: ArrayLike, count: int, ended: ArrayLike, reached: ArrayLike, until: float, confidence: float = 0.95
) -> Estimate[np.ndarray]:
    """The mean of `Survival.restricted_mean` for all groups at once, with an interval whatever censored runs did.

    Student's t over the n runs of a group, mean ± t s / √n: a run that had not reached it when it was last watched,
    before `until`, has that step in the mean of the lower end and `until` in that of the upper one, and s is the
    largest that any of these choices has. Where no run is censored, this is the ordinary interval. Where all runs
    agree exactly on a value v, or may do so, it reaches to [(1 - ε) v, (1 - ε) v + ε until], for a share of up to
    ε = 1 - (α/2)^(1/n) that no run was seen of may lie anywhere in [0, until] (Clopper and Pearson 1934).

    Args:
      groups, count, ended, reached: as for `grouped_median`.
      until: the restriction.
      confidence: of the interval, 1 - α.

    Returns:
      Of (count,); NaN for groups without runs, and the ends for groups of fewer than three runs.

    Raises:
      FieldError: as `grouped_median`, or `until` is not a finite number ≥ 0.
    """
    check_all("until", until, not 0 <= until < np.inf, "must be a finite number, 0 or above")
    quantile(confidence)
    value = np.full(count, np.nan)
    ended, reached = censored(ended, reached)
    groups = indices(groups, count, ended)
    if len(groups):
        group, times, at_risk, events, first = _steps(groups, ended, reached)
        starts, times = np.flatnonzero(first), np.minimum(times, until)
        following = np.append(np.where(first, until, times)[1:], until)  # the next step of the group, or the end
        areas = _survival(at_risk, events, first)[0] * (following - times)
        value[group[starts]] = times[starts] + np.add.reduceat(areas, starts)
    n = np.bincount(groups, minlength=count)
    low, high = _restricted_interval(groups, n, np.minimum(ended, until), reached, until, confidence)
    return Estimate(value, low, high, confidence, n, "runs")


def _restricted_interval(
    groups: np.ndarray, n: np.ndarray, least: np.ndarray, reached: np.ndarray, until: float, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high of `grouped_restricted_mean`, from the least that min(T, until) of each run can be."""
    count, most = len(n), np.where(reached, least, until)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [np.bincount(groups, ends, minlength=count) / n for ends in (least, most)]
        deviation = _largest_deviation(groups, n, least - means[0][groups], most - means[0][groups])
        half = special.stdtrit(n - 1, (1 + confidence) / 2) * deviation / np.sqrt(n)
        low, high = means[0] - half, means[1] + half
        others = 1 - ((1 - confidence) / 2) ** (1 / n)
    for ends in (least, most):
        first, last = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(first, groups, ends)
        np.maximum.at(last, groups, ends)
        same = np.where(first == last, first, np.nan)
        low, high = np.fmin(low, (1 - others) * same), np.fmax(high, same + others * (until - same))
    few = n < LEAST_UNITS
    return np.where(few, np.nan, np.clip(low, 0, until)), np.where(few, np.nan, np.clip(high, 0, until))


def _largest_deviation(groups: np.ndarray, n: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """The largest standard deviation that groups (count,) can have if each value is its `least` or its `most`.

    Where these differ, `most` is the same for all of a group. The variance is convex: it is largest where the values
    with the largest `least` are at their most, and the others at their least.
    """
    found = np.zeros(len(n))
    order = np.lexsort((-least, least == most, groups))
    groups, least, most = groups[order], least[order], most[order]
    start = np.flatnonzero(np.diff(groups, prepend=-1))
    if len(start):
        first = np.isin(np.arange(len(groups)), start)
        sums, squares = (np.repeat(np.add.reduceat(v, start), n[groups[start]]) for v in (least, least**2))
        none = squares - sums**2 / n[groups]
        some = squares + _running(most**2 - least**2, first) - (sums + _running(most - least, first)) ** 2 / n[groups]
        largest = np.maximum.reduceat(np.maximum(none, some), start)
        found[groups[start]] = np.sqrt(np.maximum(largest, 0) / np.maximum(n[groups[start]] - 1, 1))
    return found


def _bounds_the_median(runs: int | np.ndarray, confidence: float) -> bool | np.ndarray:
    """Whether so many runs all on one side of a median are rare enough to bound it, by the sign test."""
    return 0.5 ** np.asarray(runs) <= (1 - confidence) / 2


def _steps(groups: np.ndarray, ended: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, ...]:
    """For each group and step that occurs: group, step, runs at risk, events, and whether it is the group's first."""
    order = np.lexsort((ended, groups))
    groups, ended, reached = groups[order], ended[order], reached[order]
    other = np.diff(groups, prepend=-1) > 0
    at = np.flatnonzero(other | (np.diff(ended, prepend=-np.inf) > 0))
    at_risk = np.searchsorted(groups, groups[at], side="right") - at
    return groups[at], ended[at], at_risk, np.add.reduceat(reached, at, dtype=int), other[at]


def _survival(at_risk: np.ndarray, events: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S and log S at the steps of groups; where S is 0, which is the last of a group, log S is that before."""
    none = events == at_risk
    log_s = _running(np.log1p(-np.where(none, 0, events / at_risk)), first)
    return np.where(none, 0, np.exp(log_s)), log_s


def _running(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Cumulative sums that start anew at each group's first; each takes the last total off, so that no digits go."""
    starts = np.flatnonzero(first)
    anew = values.copy()
    anew[starts[1:]] -= np.add.reduceat(values, starts)[:-1]
    sums = np.cumsum(anew)
    return sums - np.repeat(sums[starts] - values[starts], np.diff(starts, append=len(values)))


def _close(
    s: np.ndarray, low: np.ndarray, high: np.ndarray, at_risk: np.ndarray, first: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of S, also where S is 1 (none has reached it) or 0 (all have); see `kaplan_meier`."""
    low, high = (np.where(s >= 1, 1, ends) for ends in (low, high))
    before = np.where(first, 1, np.roll(high, 1))
    none = s <= 0
    return np.where(none, 0, low), np.where(none, before * (1 - ((1 - confidence) / 2) ** (1 / at_risk)), high)
