"""How sure one can be of rates, times and means that were measured on a few seeds."""

import dataclasses
import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from jaxgen import FieldError
from sweeps.jackknife import LEAST_UNITS

HALF = 0.5 + 1e-9  # a product of fractions that should be 1/2 may be a rounding error above it


def wilson(successes: Any, trials: Any, confidence: float = 0.95) -> tuple[Any, Any]:
    """Wilson's score interval of a rate, low and high, for numbers or arrays; NaN where there are no trials.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = successes / n (Wilson 1927).

    >>> [round(v, 4) for v in wilson(8, 10)]
    [0.4902, 0.9433]

    Raises:
      FieldError: `successes` is below 0 or above `trials`, or `confidence` is not in (0, 1).
    """
    k, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    check_all("successes", k, ~((k >= 0) & (k <= n)), "must be in [0, trials]")
    z = _quantile(confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low = np.where((k == 0) & (n > 0), 0, centre - half)
    return _plain(low), _plain(np.where((k == n) & (n > 0), 1, centre + half))


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
      median: the first step with S ≤ 1/2; inf where half never reached it, NaN without runs.
      interval: the median's (Brookmeyer and Crowley 1982, doi 10.2307/2530286): the first steps at which `low` and
        `high` are ≤ 1/2; inf where they never are. With n runs of which all lie on one side of the median with a
        probability 2 · 2⁻ⁿ above 1 - confidence (n ≤ 5 at 95 %), nothing is known of its lower end, which is 0.
    """

    times: np.ndarray
    probabilities: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    median: float
    interval: tuple[float, float]

    def restricted_mean(self, until: float) -> tuple[float, float]:
        """Mean of min(T, until) and its standard error: ∫ S from 0 to `until`; NaN without runs.

        Beyond the last run watched S stays at its last value (Gill 1980), so there the mean is at most too large.
        The variance is m/(m-1) Σᵢ Aᵢ² dᵢ / (nᵢ (nᵢ - dᵢ)), Aᵢ = ∫ S from tᵢ to `until`, over the steps tᵢ with dᵢ
        events among nᵢ at risk, and m the runs whose min(T, until) is known (Kaplan and Meier 1958, §6.2): where it
        is known of all, this is the ordinary s/√m. NaN where m ≤ 1.

        Raises:
          FieldError: `until` is not a finite number ≥ 0.
        """
        check_all("until", until, not 0 <= until < np.inf, "must be a finite number, 0 or above")
        if not len(self.times):
            return np.nan, np.nan
        edges = np.append(np.minimum(self.times, until), until)
        areas = self.probabilities * np.diff(edges)
        after = np.cumsum(areas[::-1])[::-1]
        left = self.at_risk - self.events
        terms = np.divide(after**2 * self.events, self.at_risk * left, out=np.zeros(len(areas)), where=left > 0)
        lost = left - np.append(self.at_risk[1:], 0)
        known = self.at_risk[0] - lost[self.times < until].sum()
        error = np.sqrt(terms.sum() * known / (known - 1)) if known > 1 else np.nan
        return float(edges[0] + areas.sum()), float(error)


def kaplan_meier(ended: np.ndarray, reached: np.ndarray, confidence: float = 0.95) -> Survival:
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
    ended, reached = _times(ended, reached)
    _quantile(confidence)
    if not len(ended):
        none = np.zeros(0)
        return Survival(none, none, none, none, none.astype(int), none.astype(int), np.nan, (np.nan, np.nan))
    _, times, at_risk, events, first = _steps(np.zeros(len(ended), int), ended, reached)
    curve = stats.ecdf(stats.CensoredData.right_censored(ended, ~reached)).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that S = 1 and S = 0 have no interval: they get one here
        band = curve.confidence_interval(confidence, method="log-log")
    low, high = _close(curve.probabilities, band.low.probabilities, band.high.probabilities, at_risk, first, confidence)
    crossings = [float(np.min(times, where=s <= HALF, initial=np.inf)) for s in (curve.probabilities, low, high)]
    lower = crossings[1] if _bounds_the_median(len(ended), confidence) else 0.0
    return Survival(times, curve.probabilities, low, high, at_risk, events, crossings[0], (lower, crossings[2]))


def censored_median(ended: np.ndarray, reached: np.ndarray) -> float:
    """Kaplan–Meier median of times of which some are only known to exceed `ended`; inf where half was never reached.

    >>> censored_median(np.array([100.0, 200.0, 3000.0]), np.array([True, True, False]))
    200.0
    >>> censored_median(np.array([100.0, 3000.0, 3000.0]), np.array([True, False, False]))
    inf
    """
    return float(grouped_median(np.zeros(len(ended), int), 1, ended, reached)[0][0])


def grouped_median(
    groups: np.ndarray, count: int, ended: np.ndarray, reached: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The median of `kaplan_meier` and its interval's ends for all groups at once.

    Args:
      groups: (runs,) index of each run's group, in [0, count).
      count: how many groups there are.
      ended, reached: (runs,) as for `kaplan_meier`.
      confidence: of the interval.

    Returns:
      Medians, lower and upper ends, (count,) each; NaN for groups without runs.

    Raises:
      FieldError: as `kaplan_meier`, or a group is not in [0, count).
    """
    z = _quantile(confidence)
    found = np.full((3, count), np.nan)
    ended, reached = _times(ended, reached)
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
    return found[0], found[1], found[2]


def grouped_restricted_mean(
    groups: np.ndarray, count: int, ended: np.ndarray, reached: np.ndarray, until: float
) -> np.ndarray:
    """The mean of `Survival.restricted_mean` for all groups at once, (count,); NaN for groups without runs.

    Raises:
      FieldError: as `grouped_median`, or `until` is not a finite number ≥ 0.
    """
    check_all("until", until, not 0 <= until < np.inf, "must be a finite number, 0 or above")
    found = np.full(count, np.nan)
    ended, reached = _times(ended, reached)
    groups = indices(groups, count, ended)
    if len(groups):
        groups, times, at_risk, events, first = _steps(groups, ended, reached)
        starts, times = np.flatnonzero(first), np.minimum(times, until)
        following = np.append(np.where(first, until, times)[1:], until)  # the next step of the group, or the end
        areas = _survival(at_risk, events, first)[0] * (following - times)
        found[groups[starts]] = times[starts] + np.add.reduceat(areas, starts)
    return found


def grouped_restricted_interval(
    groups: np.ndarray, count: int, ended: np.ndarray, reached: np.ndarray, until: float, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """An interval of the mean of min(T, until) that holds whatever censored runs did, for all groups at once.

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
      Low and high, (count,) each, within [0, until]; NaN for groups of fewer than three runs.

    Raises:
      FieldError: as `grouped_restricted_mean`, or `confidence` is not in (0, 1).
    """
    check_all("until", until, not 0 <= until < np.inf, "must be a finite number, 0 or above")
    _quantile(confidence)
    ended, reached = _times(ended, reached)
    groups = indices(groups, count, ended)
    least = np.minimum(ended, until)
    most = np.where(reached, least, until)
    n = np.bincount(groups, minlength=count)
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


class LogRank(NamedTuple):
    """`p`, two-sided, and `statistic`, standard normal if the arms do not differ; above 0 where the first is sooner."""

    p: float
    statistic: float


def logrank(ended_a: np.ndarray, reached_a: np.ndarray, ended_b: np.ndarray, reached_b: np.ndarray) -> LogRank:
    """Whether two arms reach something at different rates: Mantel's log-rank test (1966), on unpaired runs.

    p = 1 where no step can tell the arms apart (neither reaches it, or all of both do at one evaluation); NaN where an
    arm has no runs.

    Args:
      ended_a, reached_a, ended_b, reached_b: (runs,) of each arm, as for `kaplan_meier`.

    Raises:
      FieldError: as `kaplan_meier`.
    """
    arms = [_times(ended_a, reached_a), _times(ended_b, reached_b)]
    if not all(len(ended) for ended, _ in arms):
        return LogRank(np.nan, np.nan)
    steps, events = np.unique(np.concatenate([ended[reached] for ended, reached in arms]), return_counts=True)
    a, b = (len(ended) - np.searchsorted(np.sort(ended), steps) for ended, _ in arms)  # at risk
    if not ((a > 0) & (b > 0) & (events < a + b)).any():
        return LogRank(1.0, 0.0)  # of which scipy makes 0/0, or by rounding p = 0
    found = stats.logrank(*(stats.CensoredData.right_censored(ended, ~reached) for ended, reached in arms))
    return LogRank(float(found.pvalue), float(found.statistic))


def mcnemar(only_a: Any, only_b: Any) -> Any:
    """Whether two arms succeed on different shares of the same seeds: McNemar's exact test, for numbers or arrays.

    Args:
      only_a, only_b: pairs in which just the first, just the second arm succeeded.

    Returns:
      Two-sided p of `only_a` successes in `only_a + only_b` fair trials; 1 where there are none.

    >>> round(mcnemar(21, 28), 2)
    0.39

    Raises:
      FieldError: a count is below 0.
    """
    a, b = np.broadcast_arrays(np.asarray(only_a, float), np.asarray(only_b, float))
    check_all("only_a", a, ~(a >= 0), "must be 0 or above")
    check_all("only_b", b, ~(b >= 0), "must be 0 or above")
    return _plain(np.minimum(1, 2 * stats.binom.cdf(np.minimum(a, b), a + b, 0.5)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """p adjusted for how many there are, of any shape: the i-th smallest of m times m - i + 1, never below one before.

    Rejecting where it is ≤ α keeps the chance of any false rejection ≤ α (Holm 1979). NaN stays and is not counted.

    >>> holm(np.array([0.01, 0.04, 0.03, np.nan])).tolist()
    [0.03, 0.06, 0.06, nan]

    Raises:
      FieldError: a value is not in [0, 1].
    """
    p = np.asarray(p_values, float)
    check_all("p_values", p, (p < 0) | (p > 1), "must be in [0, 1]")
    adjusted, known = np.full(p.shape, np.nan), ~np.isnan(p)
    order = np.argsort(p[known], kind="stable")
    raised = np.minimum(1, np.maximum.accumulate(p[known][order] * np.arange(len(order), 0, -1)))
    adjusted[known] = raised[np.argsort(order)]
    return adjusted


def check_all(name: str, value: Any, wrong: Any, allowed: str) -> None:
    """Raises a FieldError that names the first value, of an array or a number, that is wrong."""
    if np.any(wrong):
        raise FieldError(name, np.asarray(value)[np.asarray(wrong)].flat[0].item(), allowed)


def _plain(values: np.ndarray) -> Any:
    return values.item() if values.ndim == 0 else values


def _quantile(confidence: float) -> float:
    """How many standard errors an interval reaches to each side."""
    check_all("confidence", confidence, not 0 < confidence < 1, "must be in (0, 1)")
    return float(special.ndtri((1 + confidence) / 2))


def _times(ended: Any, reached: Any) -> tuple[np.ndarray, np.ndarray]:
    ended, reached = np.asarray(ended, float), np.asarray(reached, bool)
    if ended.ndim != 1 or ended.shape != reached.shape:
        raise FieldError("reached", reached.shape, f"must have one value per run, as ended: {ended.shape}")
    check_all("ended", ended, ~np.isfinite(ended), "must be finite: where it was not reached, the last step looked at")
    return ended, reached


def indices(groups: Any, count: int, of_runs: np.ndarray) -> np.ndarray:
    """The group of each run as an index; FieldError where there is not one in [0, count) for each."""
    groups = np.asarray(groups, int)
    if groups.ndim != 1 or groups.shape != of_runs.shape:
        raise FieldError("groups", groups.shape, f"must have one index per run: {of_runs.shape}")
    check_all("groups", groups, (groups < 0) | (groups >= count), f"must be in [0, {count})")
    return groups


def _bounds_the_median(runs: Any, confidence: float) -> Any:
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
