"""Moments of a number of the runs over seeds, as statistical physics uses them: susceptibility and Binder cumulant."""

import dataclasses

import numpy as np
from scipy import special

from sweeps.statistics.checks import indices
from sweeps.statistics.estimate import Estimate

JACKKNIFED = 16
"""Runs from which on a group has a susceptibility and a Binder cumulant: of fewer they say more of n than of m."""


@dataclasses.dataclass(frozen=True)
class GroupStatistics:
    """Moments of a quantity m over the runs of each group; arrays (groups,), NaN where a group has no values.

    Susceptibility and Binder cumulant are those of a delete-one jackknife (Quenouille 1956, Tukey 1958): with θ of all
    n values and θᵢ of all but the i-th, n θ - (n - 1) ⟨θᵢ⟩, which has no bias of order 1/n, and the interval at 95 %
    ± t √((n - 1) ⟨(θᵢ - ⟨θᵢ⟩)²⟩), t Student's with n - 1. For the interval θ is ln χ, and (⟨m²⟩² / ⟨m⁴⟩)² for the
    cumulant, which are less skewed: of 16 normal, uniform or bimodal values it covers the truth in .89 to .97 of cases,
    in the cumulant's own scale in .76 to .93. Groups of fewer than `JACKKNIFED` values have NaN.

    Attributes:
      count: values that there are.
      left_out: runs whose value is not finite; they count in nothing else.
      mean: ⟨m⟩.
      variance: s² = n/(n - 1) (⟨m²⟩ - ⟨m⟩²), unbiased; NaN of one value.
      susceptibility: χ = size · s², of the size of the system that was given; no interval (NaN) where all values but
        one are equal.
      binder: Binder's cumulant 1 - ⟨m⁴⟩ / (3 ⟨m²⟩²) (Binder 1981, doi 10.1007/BF01293604): 2/3 where all have one
        |m|, 0 for a Gaussian around 0; NaN where all are 0, or all but one. It depends on where m has its 0. `low` is
        -inf where there is no lower end.
    """

    count: np.ndarray
    left_out: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    susceptibility: Estimate[np.ndarray]
    binder: Estimate[np.ndarray]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """All of them as a table has them: an `Estimate` in three columns, its ends under `…_low` and `…_high`."""
        found: dict[str, np.ndarray] = {}
        for name in (field.name for field in dataclasses.fields(self)):
            value = getattr(self, name)
            ends = {f"{name}_{end}": getattr(value, end) for end in ("low", "high") if isinstance(value, Estimate)}
            found |= {name: value.value if ends else value, **ends}
        return found

    def reshape(self, shape: tuple[int, ...]) -> "GroupStatistics":
        """The same groups, in arrays of another shape."""
        return GroupStatistics(*(getattr(self, field.name).reshape(shape) for field in dataclasses.fields(self)))


def group_statistics(
    groups: np.ndarray, count: int, values: np.ndarray, size: float | np.ndarray = 1.0
) -> GroupStatistics:
    """`GroupStatistics` of a number per run.

    Args:
      groups: (runs,) index of each run's group, in [0, count).
      count: how many groups there are.
      values: (runs,) numbers; those that are not finite are left out.
      size: n, the size of the system, a number or one for each group: e.g. the modulus or the width in whose growth a
        transition sharpens. With 1, χ is the variance.

    Raises:
      FieldError: shapes differ, or a group is not in [0, count).
    """
    values = np.asarray(values, float)
    groups = indices(groups, count, values)
    known = np.isfinite(values)
    left_out = np.bincount(groups[~known], minlength=count)
    groups, values = groups[known], values[known]
    n, scale = np.bincount(groups, minlength=count), np.zeros(count)
    np.maximum.at(scale, groups, np.abs(values))
    scale[scale == 0] = 1
    m = values / scale[groups]  # whose powers neither over- nor underflow
    sums = lambda of_runs: np.bincount(groups, of_runs, minlength=count)  # noqa: E731
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean, every = sums(m) / n, n[groups]
        away = (m - mean[groups]) ** 2
        squares, second, fourth = sums(away), sums(m**2), sums(m**4)
        variance = squares / (n - 1), (squares[groups] - every / (every - 1) * away) / (every - 2)
        binder = [
            1 - runs * fourth / (3 * second**2)
            for runs, second, fourth in ((n, second, fourth), (every - 1, second[groups] - m**2, fourth[groups] - m**4))
        ]
        spread = np.where(n > 1, variance[0], np.nan) * scale**2
        chi = spread * size, *(size * scale**2 * np.exp(_jackknife(groups, n, *map(np.log, variance))[1:]))
        ends = np.clip(_jackknife(groups, n, *(1 / (3 - 3 * u) ** 2 for u in binder))[1:], 0, 1)
        cumulant = _jackknife(groups, n, *binder)[0], *(1 - 1 / (3 * np.sqrt(ends)))
    few = n < JACKKNIFED
    ends = ([np.where(few, np.nan, numbers) for numbers in found] for found in (chi, cumulant))
    jackknifed = (Estimate(value, low, high, 0.95, n, "runs") for value, low, high in ends)
    return GroupStatistics(n, left_out, mean * scale, spread, *jackknifed)


def _jackknife(groups: np.ndarray, n: np.ndarray, whole: np.ndarray, without: np.ndarray) -> np.ndarray:
    """The jackknife's estimate, low and high, (3, groups), from (groups,) of all and (runs,) of all but each."""
    mean = np.bincount(groups, without, minlength=len(n)) / n
    squares = np.bincount(groups, (without - mean[groups]) ** 2, minlength=len(n))
    half = special.stdtrit(n - 1, 0.975) * np.sqrt((n - 1) / n * squares)
    value = n * whole - (n - 1) * mean
    return np.stack([value, value - half, value + half])
