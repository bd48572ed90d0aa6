"""A number with its uncertainty, as every analysis of this room gives it."""

import dataclasses
from typing import Generic, Self, TypeVar

import numpy as np

from jaxgen import FieldError
from sweeps.statistics.checks import check_all

T = TypeVar("T", float, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Estimate(Generic[T]):
    """A number with its interval, or arrays of one shape of them, one for each cell, say.

    An end that is infinite says that nothing is known on its side; a value that is, that it lies beyond all that was
    looked at. NaN: there is no number, e.g. of a group without runs.

    Attributes:
      value: the number.
      low, high: ends of its interval.
      confidence: of the interval, in (0, 1).
      units: how many units it is of, each independent of the others; an array where `value` is one and they differ.
      resampled: what these are: "seeds", "splits", "seeds × splits" (`units` are then the fewer), "runs".

    Raises:
      FieldError: something is not a number, shapes differ, `low` is above `high`, or `confidence` is out of range.

    >>> print(Estimate(0.5, 0.25, 0.75, 0.95, 8, "seeds"))
    0.5 [0.25, 0.75]
    """

    value: T
    low: T
    high: T
    confidence: float
    units: int | np.ndarray
    resampled: str

    def __post_init__(self):
        check_all("estimate.confidence", self.confidence, not 0 < self.confidence < 1, "must be in (0, 1)")
        for field in ("value", "low", "high"):
            number = getattr(self, field)
            if not np.issubdtype(np.asarray(number).dtype, np.number) or np.iscomplexobj(number):
                raise FieldError(f"estimate.{field}", number, "must be a number, or an array of them")
            if np.shape(number) != np.shape(self.value):
                raise FieldError(f"estimate.{field}", np.shape(number), f"must be shaped {np.shape(self.value)}")
        check_all("estimate.low", self.low, np.greater(self.low, self.high), "must not be above high")

    def __getitem__(self: "Estimate[np.ndarray]", index: int | tuple[int, ...]) -> "Estimate[float]":
        """That of one cell."""
        units = self.units[index] if isinstance(self.units, np.ndarray) else self.units
        value, low, high = (float(part[index]) for part in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.confidence, int(units), self.resampled)

    def __format__(self, form: str) -> str:
        """The value and the ends, each by the format: "value [low, high]"."""
        value, low, high = (format(number, form) for number in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return f"{self:.3g}"

    def reshape(self: "Estimate[np.ndarray]", shape: tuple[int, ...]) -> "Estimate[np.ndarray]":
        """The same numbers, their arrays in another shape."""
        units = self.units.reshape(shape) if isinstance(self.units, np.ndarray) else self.units
        value, low, high = (part.reshape(shape) for part in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.confidence, units, self.resampled)

    def holds(self, number: float) -> bool | np.ndarray:
        """Whether the interval, its ends included, has a number in it."""
        return np.logical_and(np.less_equal(self.low, number), np.less_equal(number, self.high))

    def at_least(self, half: float) -> Self:
        """With an interval that reaches so far to each side at least."""
        low, high = (end(of, self.value + side * half) for end, of, side in ((min, self.low, -1), (max, self.high, 1)))
        return dataclasses.replace(self, low=low, high=high)
