"""Effects: quantities by seed, of which a claim says within which bounds their mean is, and their intervals."""

import dataclasses
import enum
import functools
import itertools
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.errors import check_type
from sweeps.statistics.rates import share_interval
from sweeps.statistics.units import UNITS, least_mean, mean_interval, unit_means, unit_text

CONFIDENCE = 0.95


class Verdict(enum.StrEnum):
    """What stored runs say of a claim."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"
    ERROR = "ERROR"


class Bounds(NamedTuple):
    """What is known of a quantity where it could not be watched to its end: for each seed it is in [low, high]."""

    low: pd.Series
    high: pd.Series


@dataclasses.dataclass(frozen=True)
class Effect:
    """A quantity of which a claim says that its mean over seeds is above a bound, below one, or between two.

    Attributes:
      name: what it is, with its unit.
      values: one per seed, indexed by it, or by seed and split; NaN where nothing is known, so that the mean may be
        anything. Of `Bounds` the lower ends, with which alone a claim can pass.
      above: the bound; None where there is none: a quantity that is only told, or one that is `below` another.
      note: what a reader has to know, e.g. of which evaluations it is.
      within: (low, high) between which a value must lie, e.g. (0, 1) of an accuracy. The interval then holds whatever
        the distribution is, where Student's t of a few skewed values does not: for single bounded means.
      below: the bound from above. With both, two-sided: PASS shows that the mean is equal to something within a margin.
      published: the paper's own number, printed beside.
      gate: whether it is a condition of the claim: unless it passes, the claim is UNDECIDED, whatever else is found.
      share: whether a value is 1 where something happened and else 0; see `share_of_seeds`.
      upper: the upper ends, with which alone a claim can fail; like `values` where these are known.
    """

    name: str
    values: Any
    above: float | None = 0.0
    note: str = ""
    within: tuple[float, float] | None = None
    below: float | None = None
    published: float | None = None
    gate: bool = False
    share: bool = False
    upper: pd.Series = dataclasses.field(init=False)

    def __post_init__(self):
        if not isinstance(self.name, str) or not isinstance(self.note, str):
            raise FieldError("effect.name", self.name, "name and note must be text")
        for field in ("above", "below", "published"):
            bound = getattr(self, field)
            number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
            if bound is not None and not (number and abs(bound) <= sys.float_info.max):
                raise FieldError(f"effect.{field}", bound, "must be a finite number, or None")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise FieldError("effect.below", self.below, f"must be more than above = {self.above}, or above None")
        for field in ("share", "gate"):
            check_type(f"effect.{field}", getattr(self, field), bool, "true or false")
        if self.gate and not self.is_bounded:
            raise FieldError("effect.gate", True, "needs a bound, above or below")
        if self.share:
            object.__setattr__(self, "within", (0, 1))
        limits = _limits(self.within)
        both = self.values if isinstance(self.values, Bounds) else (self.values, self.values)
        try:
            for field, ends, unknown in zip(("values", "upper"), both, limits):
                object.__setattr__(self, field, pd.Series(ends, dtype=float).fillna(unknown))
        except (TypeError, ValueError, OverflowError):
            raise FieldError("effect.values", self.values, "must be a number for each seed") from None
        self._check_values(limits)

    def _check_values(self, limits: tuple[float, float]) -> None:
        if self.values.index.nlevels > len(UNITS):
            raise FieldError("effect.values", self.values.index.names, "must be by seed, or by seed and split")
        if self.within is None:
            return
        for ends in (self.values, self.upper):
            wrong = ~ends.isin(limits) if self.share else (ends < limits[0]) | (ends > limits[1])
            if wrong.any():
                allowed = "must be 0 or 1" if self.share else f"must be in [{limits[0]:g}, {limits[1]:g}]"
                raise FieldError("effect.values", float(ends[wrong].iloc[0]), allowed)
        units = list(unit_means(self.values.to_numpy(), self.values.index).values())
        if len(units) > 1 or len(units[0]) != len(self.values):
            why = "needs independent values, and several share a seed or a split: hold one of them"
            raise FieldError("effect.within", self.within, why)

    @functools.cached_property
    def known(self) -> pd.Series:
        """Whether anything is known of each seed."""
        low, high = _limits(self.within)
        return ~((self.values == low) & (self.upper == high))

    @functools.cached_property
    def unit(self) -> str:
        """What was taken as independent, and how many there are: "8 seeds", "10 splits", "5 seeds × 5 splits"."""
        return unit_text(self.values.to_numpy(), self.values.index)

    @property
    def method(self) -> str:
        """Of what kind the interval is."""
        if self.share:
            return "Clopper–Pearson, of a share"
        return "Student's t" if self.within is None else "betting, of a mean in [{:g}, {:g}]".format(*self.within)

    @property
    def seeds(self) -> int:
        """How many seeds it was measured on."""
        return int(self.known.sum())

    @property
    def mean(self) -> float:
        """Mean over the seeds that are known: of their lower ends, or of the upper ones where one has no lower end."""
        low, high = (float(ends[self.known].mean()) for ends in (self.values, self.upper))
        return high if low == -np.inf else low

    @property
    def relation(self) -> str:
        """What the true mean of these seeds is to `mean`: "≥ " or "≤ " where some are bounds, else empty."""
        low, high = (ends[self.known] for ends in (self.values, self.upper))
        return "" if low.equals(high) else "≤ " if (low == -np.inf).any() else "≥ "

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """`interval_at` 95 %."""
        return self.interval_at(CONFIDENCE)

    def interval_at(self, confidence: float) -> tuple[float, float]:
        """An interval of the mean: Student's t, mean ± t · s / √n; for `within` and `share` one that is exact.

        The lower end is that of the lower bounds, the upper that of the upper ones. What is truly infinite counts with
        the farthest finite value, which is nearer to the others: the end is a bound all the same. Where seeds and
        splits cross, (s / √n)² is the sum of those of the means by seed and of the means by split, with one degree of
        freedom less than there are of the fewer. Infinite where there is a seed of which no bound on that side is
        known; below three seeds, where s says little; and where all values are equal, from which s is not known
        either, unless they are n with 2 · 2⁻ⁿ ≤ 1 - confidence (six at 95 %), which bound a median by the sign test:
        a mean that hangs on rare exceptions is not covered. Nor is, by t, that of values with a skewness beyond .5: an
        end that should be wrong in 2.5 % of cases is so in .049 at .8 and .11 at 2 (a difference of arms that are
        alike has none); `scripts/benchmarks/claims_coverage.py` measures it.
        """
        if self.within is None:
            return mean_interval(self.values, self.upper, confidence)
        low, high = self.within
        if self.share:
            return share_interval(int(self.values.sum()), int(self.upper.sum()), len(self.values), confidence)
        from_low, from_high = (self.values - low) / (high - low), (high - self.upper) / (high - low)
        least, rest = (least_mean(part.to_numpy(), (1 - confidence) / 2) for part in (from_low, from_high))
        return low + (high - low) * least, high - (high - low) * rest

    @property
    def is_bounded(self) -> bool:
        """Whether something is claimed of it."""
        return self.above is not None or self.below is not None

    @property
    def claimed(self) -> str:
        """What is claimed, and the published number: "> 0", "in (-0.1, 0.1)"; empty where there is neither."""
        low, high = self.above, self.below
        if low is not None and high is not None:
            said = f"in ({low:g}, {high:g})"
        else:
            said = f"> {low:g}" if low is not None else f"< {high:g}" if high is not None else ""
        told = "" if self.published is None else f"published {self.published:g}"
        return "; ".join(part for part in (said, told) if part)

    @property
    def verdict(self) -> Verdict | None:
        """PASS: the interval is within the bounds; FAIL: none of it is; UNDECIDED otherwise. None without a bound."""
        return self.verdict_at(CONFIDENCE)

    def verdict_at(self, confidence: float) -> Verdict | None:
        """`verdict` by the interval at another confidence."""
        if not self.is_bounded:
            return None
        low, high = self.interval if confidence == CONFIDENCE else self.interval_at(confidence)
        if (self.above is not None and high <= self.above) or (self.below is not None and low >= self.below):
            return Verdict.FAIL
        sure = (self.above is None or low > self.above) and (self.below is None or high < self.below)
        return Verdict.PASS if sure else Verdict.UNDECIDED


def _limits(within: Any) -> tuple[float, float]:
    """Between which numbers values lie."""
    if within is None:
        return -np.inf, np.inf
    try:
        low, high = map(float, within)
    except (TypeError, ValueError, OverflowError):
        low = high = np.nan
    if not -np.inf < low < high < np.inf:
        raise FieldError("effect.within", within, "must be two finite numbers, the lower first")
    return low, high


def share_of_seeds(name: str, happened: pd.Series, above: float | None = 0.5, note: str = "") -> Effect:
    """The share of seeds in which something happened, with its exact interval: half of them are exceeded by six of six.

    Args:
      name: what happened.
      happened: true or false by seed; NaN where it is not known, which counts as false for PASS and as true for FAIL.
      above: the share that the claim exceeds.
      note: see `Effect`.

    Raises:
      FieldError: a value is something else.
    """
    return Effect(f"share of seeds: {name}", happened, above, note, share=True)


def near(name: str, values: Any, published: float, tolerance: float, note: str = "", **options: Any) -> Effect:
    """A mean over seeds that is a published number, give or take a tolerance that is stated beforehand."""
    low, high = published - tolerance, published + tolerance
    return Effect(name, values, low, note, below=high, published=published, **options)


def ordered(name: str, arms: Mapping[str, pd.Series], within: tuple[float, float] | None = None) -> list[Effect]:
    """That several arms are in an order, the lowest first: the difference of each to the one before, seed by seed.

    And each by itself, told only; `within` is of these.
    """
    steps = [
        Effect(f"{name}, {higher} - {lower}", arms[higher] - arms[lower]) for lower, higher in itertools.pairwise(arms)
    ]
    return steps + [Effect(f"{name}, {arm}", values, None, within=within) for arm, values in arms.items()]


def trend(name: str, arms: Mapping[float, pd.Series], above: float | None = 0.0, **options: Any) -> Effect:
    """How a quantity changes along an axis: the least-squares slope of each seed over the arms' numbers.

    b = Σ (x - x̄) y / Σ (x - x̄)², in units of the quantity per unit of the axis; NaN for a seed that an arm lacks.

    Raises:
      FieldError: there are fewer than two different numbers.
    """
    x = np.array([*arms], float)
    if len(x) < 2 or not np.ptp(x) > 0:
        raise FieldError("trend", list(arms), "needs arms at two numbers or more")
    centred = x - x.mean()
    table = pd.DataFrame({number: values for number, values in arms.items()})
    slopes = (table * centred).sum(axis=1, skipna=False) / (centred**2).sum()
    return Effect(f"slope of {name}", slopes, above, **options)
