"""How sure one can be of rates that were measured on a few seeds."""

from typing import Any

import numpy as np

from sweeps.statistics.checks import check_all, plain, quantile


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
    z = quantile(confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low = np.where((k == 0) & (n > 0), 0, centre - half)
    return plain(low), plain(np.where((k == n) & (n > 0), 1, centre + half))
