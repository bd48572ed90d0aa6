"""Uncertainty from few sampling units: what an estimate becomes without each of them."""

import numpy as np
from scipy import stats

LEAST_UNITS = 3  # fewer say too little of how units differ


def half_width(without: np.ndarray, confidence: float, rounding: float = 0.0) -> np.ndarray:
    """Half of the interval t s around an estimate, from its values without each unit in turn.

    s² = (n - 1)/n Σⱼ (θ₍ⱼ₎ - θ̄)² over the n values θ₍ⱼ₎, t the quantile of Student's distribution with n - 1 degrees of
    freedom (Tukey 1958; Efron and Stein 1981, doi 10.1214/aos/1176345462). For a mean this is the ordinary interval.

    Args:
      without: (units, …) the estimates.
      confidence: of the interval.
      rounding: a standard error that is not seen in them; its square is added to s².

    Returns:
      (…); inf below three units.
    """
    units = len(without)
    if units < LEAST_UNITS:
        return np.full(without.shape[1:], np.inf)
    without = without - without[:1]  # so that equal ones differ by nothing
    spread = ((without - without.mean(0)) ** 2).sum(0) * (units - 1) / units
    return np.asarray(stats.t.ppf((1 + confidence) / 2, units - 1) * np.sqrt(spread + rounding**2))
