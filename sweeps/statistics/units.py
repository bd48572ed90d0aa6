"""Means over what is independent, seeds or train splits or both, and their intervals from a few of them."""

from typing import TypeVar

import numpy as np
import pandas as pd
from scipy import optimize, stats

from sweeps.statistics.estimate import Estimate
from sweeps.statistics.jackknife import LEAST_UNITS
from sweeps.statistics.rates import share_interval

Ends = TypeVar("Ends", np.ndarray, pd.Series)
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


def unit_estimate(
    low: pd.Series,
    high: pd.Series,
    within: tuple[float, float] | None = None,
    share: bool = False,
    confidence: float = 0.95,
) -> Estimate[float]:
    """The mean over units of values that are known to lie in [low, high], each the same where one is known exactly.

    The interval is Student's t, mean ± t · s / √n; for `within` and `share` one that is exact. The lower end is that of
    the lower bounds, the upper that of the upper ones. What is truly infinite counts with the farthest finite value,
    which is nearer to the others: the end is a bound all the same. Where seeds and splits cross, (s / √n)² is the sum
    of those of the means by seed and of the means by split, with one degree of freedom less than there are of the
    fewer. Infinite where there is a unit of which no bound on that side is known; below three units, where s says
    little; and where all values are equal, from which s is not known either, unless they are n that are not `few`: a
    mean that hangs on rare exceptions is not covered. Nor is, by t, that of values with a skewness beyond .5: an end
    that should be wrong in 2.5 % of cases is so in .049 at .8 and .11 at 2 (a difference of arms that are alike has
    none); `scripts/benchmarks/claims_coverage.py` measures it.

    Args:
      low, high: by unit, as `unit_means` takes them; infinite, or the end of `within`, where nothing is known.
      within: between which numbers each value lies; the interval is then `least_mean`'s, whatever the distribution is.
      share: whether a value is 1 where something happened and else 0; the interval is then Clopper and Pearson's.
      confidence: of the interval.

    Returns:
      The mean of the units of which something is known: of their lower ends, or of the upper ones where one has no
      lower end; NaN where there are none.
    """
    means = unit_means(low.to_numpy(), low.index)
    told = known(low.to_numpy(), high.to_numpy(), within)
    with np.errstate(invalid="ignore"):  # of -inf and inf there is no mean
        least, most = (float(ends.to_numpy()[told].mean()) if told.any() else np.nan for ends in (low, high))
    if share:
        ends = share_interval(int(low.sum()), int(high.sum()), len(low), confidence)
    elif within is None:
        ends = mean_interval(low, high, confidence)
    else:
        base, span = within[0], within[1] - within[0]
        shares = (low - base) / span, (base + span - high) / span
        below, above = (least_mean(part.to_numpy(), (1 - confidence) / 2) for part in shares)
        ends = base + span * below, base + span - span * above
    units = min(map(len, means.values()))
    return Estimate(most if least == -np.inf else least, *ends, confidence, units, " × ".join(means))


def known(low: Ends, high: Ends, within: tuple[float, float] | None = None) -> Ends:
    """Whether anything is known of each value: it is not just in all of `within`, or anywhere."""
    least, most = (-np.inf, np.inf) if within is None else within
    return ~((low == least) & (high == most))


def few(units: int, confidence: float) -> bool:
    """Whether n units that agree may do so by chance, 2 · 2⁻ⁿ > 1 - confidence: below six at 95 %, by the sign test."""
    return 2 * 0.5**units > 1 - confidence


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
    if count < LEAST_UNITS or (few(count, confidence) and (values == values[0]).all()):
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
