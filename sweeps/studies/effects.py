"""Effects: quantities of which a claim says within which bounds they are: means by seed, and what `laws` finds."""

import dataclasses
import enum
import functools
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypedDict, Unpack

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.errors import check_type
from sweeps.statistics.estimate import Estimate
from sweeps.statistics.units import UNITS, few, known, unit_estimate, unit_means, unit_text

CONFIDENCE = 0.95


class Verdict(enum.StrEnum):
    """What stored runs say of a claim."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"
    ERROR = "ERROR"


class Bounds(NamedTuple):
    """What is known of a quantity where it could not be watched to its end: for each seed it is in [low, high].

    The difference of two is what follows of that of the quantities, seed by seed.
    """

    low: pd.Series
    high: pd.Series

    def __sub__(self, other: "Bounds") -> "Bounds":
        with np.errstate(invalid="ignore"):
            low, high = self.low - other.high, self.high - other.low
        return Bounds(low.fillna(-np.inf), high.fillna(np.inf))


class Estimator(Protocol):
    """A function that gives an estimate at a confidence: `functools.partial(power_law, x, y, seeds)`, say."""

    def __call__(self, *, confidence: float) -> Estimate[float]:
        """The estimate with its interval at that confidence."""
        ...


Measured: TypeAlias = pd.Series | Bounds | Estimator | Sequence[float] | np.ndarray
"""What an effect is of."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """A quantity of which a claim says that it is above a bound, below one, or between two.

    It is the mean over seeds of values, with the interval of `unit_estimate`; or what an `Estimator` finds, such as
    those of `sweeps.laws`, with the interval that it gives at each confidence that a verdict asks for. An interval
    without width from so `few` units that they may agree by chance says nothing: it is then taken as infinite.

    Attributes:
      name: what it is, with its unit.
      measured: a value per seed, indexed by it, or by seed and split; NaN where nothing is known, so that the mean may
        be anything; or `Bounds` of such. Or an `Estimator`.
      above: the bound; None where there is none: a quantity that is only told, or one that is `below` another.
      note: what a reader has to know, e.g. of which evaluations it is.
      within: (low, high) between which a value must lie, e.g. (0, 1) of an accuracy. The interval then holds whatever
        the distribution is, where Student's t of a few skewed values does not: for single bounded means.
      below: the bound from above. With both, two-sided: PASS shows that the mean is equal to something within a margin.
      published: the paper's own number, printed beside.
      gate: whether it is a condition of the claim: unless it passes, the claim is UNDECIDED, whatever else is found.
      share: whether a value is 1 where something happened and else 0; see `share_of_seeds`.
      values: the values by seed; of `Bounds` the lower ends, with which alone a claim can pass; none of an `Estimator`.
      upper: the upper ends, with which alone a claim can fail; like `values` where these are known.
      at: gives the `Estimate` at a confidence.

    Raises:
      FieldError: something is not of its kind, or as an `Estimator` does.
    """

    name: str
    measured: Measured
    above: float | None = 0.0
    note: str = ""
    within: tuple[float, float] | None = None
    below: float | None = None
    published: float | None = None
    gate: bool = False
    share: bool = False
    values: pd.Series = dataclasses.field(init=False)
    upper: pd.Series = dataclasses.field(init=False)
    at: Callable[[float], Estimate[float]] = dataclasses.field(init=False, repr=False)

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
        low, high = _by_seed(self.measured, limits)
        object.__setattr__(self, "values", low)
        object.__setattr__(self, "upper", high)
        if callable(self.measured):
            if self.within is not None:
                raise FieldError("effect.within", self.within, "is for values by seed: an estimator has its own limits")
            find = functools.partial(_found, self.measured)
        else:
            self._check_values(limits)
            find = functools.partial(unit_estimate, low, high, self.within, self.share)
        object.__setattr__(self, "at", functools.cache(find))
        self.at(CONFIDENCE)  # what cannot be measured is seen here

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

    @property
    def estimate(self) -> Estimate[float]:
        """The estimate at 95 %."""
        return self.at(CONFIDENCE)

    @functools.cached_property
    def unit(self) -> str:
        """What was taken as independent, and how many there are: "8 seeds", "10 splits", "5 seeds × 5 splits"."""
        if callable(self.measured):
            return f"{self.estimate.units} {self.estimate.resampled}"
        return unit_text(self.values.to_numpy(), self.values.index)

    @property
    def method(self) -> str:
        """Of what kind the interval is."""
        if callable(self.measured):
            return f"resampling of {self.estimate.resampled}"
        if self.share:
            return "Clopper–Pearson, of a share"
        return "Student's t" if self.within is None else "betting, of a mean in [{:g}, {:g}]".format(*self.within)

    @property
    def seeds(self) -> int:
        """How many seeds it was measured on."""
        if callable(self.measured):
            return int(self.estimate.units)
        return len(self.values) - self.lost

    @property
    def lost(self) -> int:
        """Of how many values nothing is known."""
        return int((~known(self.values, self.upper, self.within)).sum())

    @property
    def relation(self) -> str:
        """What the true mean of these seeds is to the estimate: "≥ " or "≤ " where some are bounds, else empty."""
        told = known(self.values, self.upper, self.within)
        low, high = self.values[told], self.upper[told]
        return "" if low.equals(high) else "≤ " if (low == -np.inf).any() else "≥ "

    @property
    def text(self) -> str:
        """The mean with its interval, as tables have it: "≥ 0.31 [0.22, ∞]"; "–" where there is no seed."""
        return f"{self.relation}{self.estimate:.3g}".replace("inf", "∞") if self.seeds else "–"

    @property
    def of(self) -> str:
        """What the mean is over: "6 seeds (2 of 6 values are not known)"."""
        return self.unit + (f" ({self.lost} of {len(self.values)} values are not known)" if self.lost else "")

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
        found = self.at(confidence)
        if (self.above is not None and found.high <= self.above) or (
            self.below is not None and found.low >= self.below
        ):
            return Verdict.FAIL
        sure = (self.above is None or found.low > self.above) and (self.below is None or found.high < self.below)
        return Verdict.PASS if sure else Verdict.UNDECIDED


def _by_seed(measured: Measured, unknown: tuple[float, float]) -> tuple[pd.Series, pd.Series]:
    """The lower and upper ends by seed, with these where nothing is known; none of an estimator."""
    if isinstance(measured, Estimate) or (isinstance(measured, tuple) and not isinstance(measured, Bounds)):
        why = "must be a number for each seed; of an estimate, the function that gives it at a confidence"
        raise FieldError("effect.values", measured, why)
    both = () if callable(measured) else measured
    ends = both if isinstance(both, Bounds) else Bounds(both, both)
    try:
        low, high = (pd.Series(end, dtype=float).fillna(least) for end, least in zip(ends, unknown))
        for end in (low, high):
            end.map(float)  # lists within a list are a Series too
    except (TypeError, ValueError, OverflowError):
        raise FieldError("effect.values", measured, "must be a number for each seed") from None
    return low, high


def _found(find: Estimator, confidence: float) -> Estimate[float]:
    """What an estimator finds; with infinite ends where so few units agree that they may do so by chance."""
    found = find(confidence=confidence)
    if not isinstance(found, Estimate) or np.ndim(found.value):
        raise FieldError("effect.values", found, "must be a function of a confidence that gives an Estimate")
    agree = few(int(found.units), confidence) and np.isclose(found.low, found.high, rtol=1e-9, atol=1e-12)
    return dataclasses.replace(found, low=-np.inf, high=np.inf) if agree else found


def _limits(within: object) -> tuple[float, float]:
    """Between which numbers values lie."""
    if within is None:
        return -np.inf, np.inf
    try:
        low, high = map(float, within)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        low = high = np.nan
    if not -np.inf < low < high < np.inf:
        raise FieldError("effect.within", within, "must be two finite numbers, the lower first")
    return low, high


def share_of_seeds(
    name: str, happened: pd.Series, above: float | None = 0.5, note: str = "", gate: bool = False
) -> Effect:
    """The share of seeds in which something happened, with its exact interval: half of them are exceeded by six of six.

    Args:
      name: what happened.
      happened: true or false by seed; NaN where it is not known, which counts as false for PASS and as true for FAIL.
      above: the share that the claim exceeds.
      note, gate: see `Effect`.

    Raises:
      FieldError: a value is something else.
    """
    return Effect(f"share of seeds: {name}", happened, above, note, share=True, gate=gate)


class Told(TypedDict, total=False):
    """What an `Effect` can be told besides its bounds."""

    note: str
    within: tuple[float, float] | None
    gate: bool


def near(name: str, measured: Measured, published: float, tolerance: float, **told: Unpack[Told]) -> Effect:
    """What is a published number, give or take a tolerance that is stated beforehand."""
    low, high = published - tolerance, published + tolerance
    return Effect(name, measured, low, below=high, published=published, **told)


def told(
    arms: Mapping[str, pd.Series], what: str = "{}", within: tuple[float, float] | None = (0, 1), **published: float
) -> list[Effect]:
    """Quantities of which nothing is claimed: an effect for each, called `what` with its name put in for {}.

    `within` is of all; `published` are the paper's own numbers, by name.
    """
    return [
        Effect(what.replace("{}", str(name)), values, None, within=within, published=published.get(name))
        for name, values in arms.items()
    ]


def ordered(name: str, arms: Mapping[str, pd.Series], within: tuple[float, float] | None = None) -> list[Effect]:
    """That several arms are in an order, the lowest first: the difference of each to the one before, seed by seed.

    And each by itself, told only; `within` is of these.
    """
    steps = [
        Effect(f"{name}, {higher} - {lower}", arms[higher] - arms[lower]) for lower, higher in itertools.pairwise(arms)
    ]
    return steps + [Effect(f"{name}, {arm}", values, None, within=within) for arm, values in arms.items()]


def trend(
    name: str,
    arms: Mapping[float, pd.Series],
    above: float | None = 0.0,
    below: float | None = None,
    published: float | None = None,
    **told: Unpack[Told],
) -> Effect:
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
    return Effect(f"slope of {name}", slopes, above, below=below, published=published, **told)
