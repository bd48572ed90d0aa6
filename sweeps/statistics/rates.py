"""How sure one can be of rates that were measured on a few seeds."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sweeps.statistics.checks import check_all, plain, quantile


def wilson(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[Any, Any]:
    """Wilson's score interval of a rate, low and high, for numbers or arrays; NaN where there are no trials.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = successes / n (Wilson 1927).

    >>> tuple(round(v, 4) for v in wilson(8, 10))
    (0.4902, 0.9433)

    Raises:
      FieldError: `successes` is below 0 or above `trials`, or `confidence` is not in (0, 1).
    """
    k, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    check_all("successes", k, ~((k >= 0) & (k <= n)), "must be in [0, trials]")
    z = quantile(confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low = np.where((k == 0) & (n > 0), 0, centre - half)
    return plain(low), plain(np.where((k == n) & (n > 0), 1, centre + half))


def share_interval(least: int, most: int, count: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's exact interval (1934) of a share of which the successes are in [least, most]."""
    alpha = (1 - confidence) / 2
    low = stats.beta.ppf(alpha, least, count - least + 1) if least else 0.0
    high = stats.beta.ppf(1 - alpha, most + 1, count - most) if most < count else 1.0
    return float(low), float(high)
