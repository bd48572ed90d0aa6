"""How sure one can be of a rate or a time that was measured on a few seeds."""

import numpy as np
from scipy import stats


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a rate of `successes` in `trials`.

    >>> [round(v, 4) for v in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, "wilson")
    return float(interval.low), float(interval.high)


def censored_median(ended: np.ndarray, reached: np.ndarray) -> float:
    """Kaplan–Meier median of times of which some are only known to exceed `ended`; inf where half was never reached.

    >>> censored_median(np.array([100.0, 200.0, 3000.0]), np.array([True, True, False]))
    200.0
    >>> censored_median(np.array([100.0, 3000.0, 3000.0]), np.array([True, False, False]))
    inf
    """
    if not reached.any():
        return float("inf")
    survival = stats.ecdf(stats.CensoredData.right_censored(ended, ~reached)).sf
    below = survival.probabilities <= 0.5
    return float(survival.quantiles[below][0]) if below.any() else float("inf")
