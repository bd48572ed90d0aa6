"""Means over what is independent, seeds or train splits or both, and their intervals from a few of them."""

import numpy as np
import pandas as pd
from scipy import optimize, stats

from sweeps.statistics.jackknife import LEAST_UNITS

UNITS = "seeds", "splits"
STAKES = np.array([0.5, 0.75, 0.9, 1.0])
"""Shares of the capital that bets on a bounded mean put at risk: near all of it, as a few seeds ask for."""


def unit_means(values: np.ndarray, index: pd.Index) -> dict[str, np.ndarray]:
    """The means by seed, by split, or by both, whichever are independent: those that vary.

    Where each split has one seed (or the other way round), its runs are no more than a seed's (a split's).
    """
    if index.nlevels == 1:
        return {UNITS[0]: values}
    levels = [pd.factorize(index.get_level_values(level))[0] for level in (0, 1)]
    seeds, splits = (level.max(initial=-1) + 1 for level in levels)
    if splits <= 1 or splits == len(values) > 1 < seeds:
        chosen = [0]
    elif seeds == 1 or seeds == len(values):
        chosen = [1]
    else:
        chosen = [0, 1]
    return {UNITS[i]: np.bincount(levels[i], values) / np.bincount(levels[i]) for i in chosen}


def unit_text(values: np.ndarray, index: pd.Index) -> str:
    """What was taken as independent, and how many there are: "8 seeds", "10 splits", "5 seeds × 5 splits"."""
    return " × ".join(f"{len(means)} {name}" for name, means in unit_means(values, index).items())


def mean_interval(low: pd.Series, high: pd.Series, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of a mean over units, of lower bounds below, of upper ones above."""
    return -upper_end(-low.to_numpy(), low.index, confidence), upper_end(high.to_numpy(), high.index, confidence)


def upper_end(values: np.ndarray, index: pd.Index, confidence: float) -> float:
    """The upper end of the t interval of a mean of upper bounds."""
    if (values == np.inf).any():
        return np.inf
    finite = values[np.isfinite(values)]
    if len(finite):
        values = np.maximum(values, finite.min())
    means = unit_means(values, index).values()
    count = min(map(len, means))
    few = 2 * 0.5**count > 1 - confidence
    if count < LEAST_UNITS or (few and (values == values[0]).all()):
        return np.inf
    if not len(finite):
        return -np.inf
    error = sum(mean.var(ddof=1) / len(mean) for mean in means) ** 0.5
    return float(values.mean() + stats.t.ppf((1 + confidence) / 2, count - 1) * error)


def least_mean(values: np.ndarray, alpha: float) -> float:
    """What the mean of numbers in [0, 1] is below with a probability of at most α, whatever their distribution.

    The least m with K(m) = ¼ Σ_θ Πᵢ (1 - θ + θ xᵢ/m) ≤ 1/α, θ one of `STAKES`: the capital of four gamblers who start
    with ¼ and put the share θ of theirs on "xᵢ > m". At the true mean E K = 1, as the xᵢ are independent, so that K
    exceeds 1/α with a probability of at most α (Markov), and K falls with m. This is a confidence bound by betting
    (Waudby-Smith and Ramdas 2024, arXiv 2010.09686) with stakes that are fixed beforehand; so the order of the values
    does not matter, and at three to eight values it is tighter than with stakes learned on the way.

    Args:
      values: (n,) in [0, 1], or lower bounds of such.
      alpha: in (0, 1).

    >>> round(least_mean(np.ones(8), 0.025), 2)
    0.59
    """

    def gain(m: float) -> float:
        return float(np.prod(1 - STAKES + STAKES * values[:, None] / m, axis=0).mean() - 1 / alpha)

    least = 1e-9
    return optimize.brentq(gain, least, 1) if gain(least) > 0 else 0.0
