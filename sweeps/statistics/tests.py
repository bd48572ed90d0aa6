"""Whether two arms differ, from a few seeds of each."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sweeps.statistics.checks import censored, check_all, plain


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
    arms = [censored(ended_a, reached_a), censored(ended_b, reached_b)]
    if not all(len(ended) for ended, _ in arms):
        return LogRank(np.nan, np.nan)
    steps, events = np.unique(np.concatenate([ended[reached] for ended, reached in arms]), return_counts=True)
    a, b = (len(ended) - np.searchsorted(np.sort(ended), steps) for ended, _ in arms)  # at risk
    if not ((a > 0) & (b > 0) & (events < a + b)).any():
        return LogRank(1.0, 0.0)  # of which scipy makes 0/0, or by rounding p = 0
    found = stats.logrank(*(stats.CensoredData.right_censored(ended, ~reached) for ended, reached in arms))
    return LogRank(float(found.pvalue), float(found.statistic))


def mcnemar(only_a: ArrayLike, only_b: ArrayLike) -> Any:
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
    return plain(np.minimum(1, 2 * stats.binom.cdf(np.minimum(a, b), a + b, 0.5)))


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
