"""How the values of an axis are laid out: the kind of scale, where they stand, and the borders of their cells."""

import dataclasses

import numpy as np
import numpy.typing as npt

from jaxgen import FieldError

LOGARITHMIC = "log", "symlog"
"""Kinds of scales that run in the logarithm of their `positions`."""
LARGEST, SMALLEST = float(np.finfo(float).max), float(np.finfo(float).tiny)


def kind(values: list) -> str:
    """How an axis runs: "linear", "log", "symlog", or "categorical" (cells of one size, each under its value).

    Numbers above 0 whose ratios are nearer to constant than their differences are logarithmic, and symmetrically so
    with a 0 beside them, which stands one step below the smallest. Texts, truth values and a single value are
    categorical.

    >>> kind([0.01, 0.1, 1.0]), kind([0.2, 0.4, 0.6]), kind([0.0, 0.01, 0.1, 1.0]), kind(["MLP", "Transformer"])
    ('log', 'linear', 'symlog', 'categorical')
    """
    if len(values) < 2 or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        return "categorical"
    numbers = np.asarray(values, float)
    if not np.isfinite(numbers).all():
        return "categorical"
    gaps = np.diff(numbers)
    if numbers[0] == 0 and len(numbers) > 2 and kind(values[1:]) == "log":
        low, next_ = values[1:3]
        return "symlog" if low * (low / next_) ** 2 > SMALLEST else "categorical"
    if numbers[0] <= 0:
        return "linear"
    if len(numbers) == 2:
        return "log" if numbers[1] >= 10 * numbers[0] else "linear"
    ratios = np.diff(np.log(numbers))
    return "log" if np.std(ratios) / np.mean(ratios) < np.std(gaps) / np.mean(gaps) else "linear"


def positions(values: list, kind: str) -> np.ndarray:
    """Where the values stand on an axis of this kind: themselves, or 0, 1, 2 … on a categorical one.

    On a symmetric-log one 0 stands as far below the smallest value above it as that does below the next, in the
    logarithm, in which the whole axis runs.

    >>> positions([0.0, 0.01, 0.1, 1.0], "symlog").round(6).tolist()
    [0.001, 0.01, 0.1, 1.0]
    """
    if kind == "categorical":
        return np.arange(len(values), dtype=float)
    at = np.asarray(values, float)
    return np.concatenate([[at[1] * (at[1] / at[2])], at[1:]]) if kind == "symlog" else at


def edges(values: list, kind: str) -> np.ndarray:
    """The borders of the cells, one more than values: half way to the neighbours, as the axis runs.

    >>> edges([1, 2, 3], "linear").tolist(), edges(["a", "b"], "categorical").tolist()
    ([0.5, 1.5, 2.5, 3.5], [-0.5, 0.5, 1.5])
    """
    at = positions(values, kind)
    at = np.log(at) if kind in LOGARITHMIC else at
    steps = np.diff(at) if len(at) > 1 else np.ones(1)
    borders = np.concatenate([[at[0] - steps[0] / 2], at[:-1] + np.diff(at) / 2, [at[-1] + steps[-1] / 2]])
    return np.exp(borders) if kind in LOGARITHMIC else borders


def value_name(value: object) -> str:
    """A value on an axis of texts."""
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclasses.dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`: one side of a plane.

    Attributes:
      low, high: its ends.
      log: whether it runs in the logarithm.

    Raises:
      FieldError: an end is not finite, `low` is not below `high`, or not above 0 where `log`.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self):
        for name in ("low", "high"):
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not abs(value) <= LARGEST:
                raise FieldError(name, value, "must be a finite number")
            object.__setattr__(self, name, float(value))
        if self.log and self.low <= 0:
            raise FieldError("low", self.low, "must be above 0 on a logarithmic axis")
        if not self.low < self.high:
            raise FieldError("high", self.high, f"must be above the lower end, {self.low:g}")

    def to_unit(self, values: npt.ArrayLike) -> np.ndarray:
        """Values as shares of the way from `low` to `high`, as the axis runs."""
        forth = np.log if self.log else np.asarray
        return (forth(np.asarray(values, float)) - forth(self.low)) / (forth(self.high) - forth(self.low))

    def from_unit(self, shares: npt.ArrayLike) -> np.ndarray:
        """The inverse of `to_unit`."""
        if self.log:
            return self.low * (self.high / self.low) ** np.asarray(shares)
        return self.low + np.asarray(shares) * (self.high - self.low)
