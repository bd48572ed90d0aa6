"""Effects that are no means over seeds: exponents, critical values, ratios, and how well curves collapse.

Each is an `Effect` of an estimate that seeds are left out of: what a seed shares between its runs counts once. They
take arms as `Arm.along` gives them: what was measured by seed, at each number of an axis, or at each pair of two.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypedDict, Unpack

import numpy as np
import pandas as pd

from jaxgen import FieldError
from sweeps.statistics import fits, jackknife
from sweeps.statistics.estimate import Estimate
from sweeps.statistics.units import UNITS, unit_means
from sweeps.studies.effects import Effect

Scaling = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A variable: of sizes and xs, (points,) each."""
Arms = Mapping[float, pd.Series] | Mapping[tuple[float, float], pd.Series]


class Claimed(TypedDict, total=False):
    """What a claim says of an effect; see `Effect`. With neither bound it is only told."""

    above: float | None
    below: float | None
    published: float | None
    note: str
    gate: bool


def exponent(name: str, arms: Mapping[float, pd.Series], **claimed: Unpack[Claimed]) -> Effect:
    """The power of an axis' numbers that a quantity follows: the slope of its logarithm on theirs (`fits.power_law`).

    Where a value is missing or was not reached (NaN, inf), nothing is known: the others alone would bend it.

    Args:
      name: of the quantity.
      arms: it by seed, above 0, at each number above 0 of the axis.
      **claimed: see `Claimed`.

    Raises:
      FieldError: as `fits.power_law`; seeds and splits cross.
    """
    table, resampled = _table("exponent", arms)
    x, y, seeds = _points(arms, table)

    def find(*, confidence: float) -> Estimate[float]:
        if not np.isfinite(y).all():
            return _unknown(table, resampled, confidence)
        return dataclasses.replace(fits.power_law(x, y, seeds, confidence), resampled=resampled)

    claimed.setdefault("above", None)
    return Effect(f"exponent of {name}", find, **claimed)


def critical(name: str, arms: Mapping[float, pd.Series], log: bool = False, **claimed: Unpack[Claimed]) -> Effect:
    """The number of an axis at which half of the runs succeed (`fits.critical_value`).

    A run of which it is not known counts as a failure, and then as a success: the value is that of the first fit, the
    interval from the lesser end of both to the larger.

    Args:
      name: of the axis.
      arms: whether it succeeded by seed, NaN where that is not known, at each number of the axis.
      log: the axis runs in the logarithm.
      **claimed: see `Claimed`.

    Raises:
      FieldError: as `fits.critical_value`; seeds and splits cross.
    """
    table, resampled = _table("critical", arms)
    x, success, seeds = _points(arms, table)

    def find(*, confidence: float) -> Estimate[float]:
        either = [
            fits.critical_value(x, np.where(np.isnan(success), outcome, success), seeds, log, confidence)
            for outcome in ((0, 1) if np.isnan(success).any() else (0,))
        ]
        low, high = min(one.low for one in either), max(one.high for one in either)
        return dataclasses.replace(either[0], resampled=resampled, low=low, high=high)

    claimed.setdefault("above", None)
    return Effect(f"critical {name}", find, **claimed)


def crossing(arms: Mapping[float, pd.Series], level: float = 0.5) -> pd.Series:
    """The first number of an axis at which a quantity reaches a level, by seed, between numbers linear in their log.

    inf where it reaches it nowhere, the first number where it is there already; NaN where a value is not known.

    Args:
      arms: it by seed, at each number above 0 of the axis.
      level: what is reached.

    Raises:
      FieldError: a number is not above 0.
    """
    places = np.array(sorted(arms), float)
    if not len(places) or places[0] <= 0:
        raise FieldError("crossing", places.tolist(), "needs numbers above 0")
    table = pd.DataFrame({place: arms[place] for place in sorted(arms)}, dtype=float)

    def first(values: np.ndarray) -> float:
        if np.isnan(values).any():
            return np.nan
        after = int(np.argmax(values >= level))
        if values[after] < level:
            return np.inf
        before = max(after - 1, 0)
        share = (level - values[before]) / (values[after] - values[before]) if after else 0.0
        return float(places[before] * (places[after] / places[before]) ** share)

    return table.apply(lambda row: first(row.to_numpy()), axis=1)


def area(arms: Mapping[tuple[float, float], pd.Series], log: tuple[bool, bool] = (False, False)) -> pd.Series:
    """The share of a plane in which runs succeed, by seed: ∫ success over the plane, by the trapezoid rule.

    An `Effect` of it, and of the difference to another on the same seeds, is one of means by seed; for their ratio see
    `ratio`. The runs' grid stands for the plane: where a line between success and failure is between its numbers is
    not part of the uncertainty. `sweeps.boundary` fits such a line, and its `area`, where P > ½, has that in it.

    Args:
      arms: whether it succeeded (or with what probability) by seed, NaN where that is not known, at each pair of
        numbers (x, y) of a whole grid.
      log: whether x and y run in the logarithm.

    Returns:
      In [0, 1]; NaN for a seed of which a point is not known.

    Raises:
      FieldError: points are no grid of at least two numbers on each axis, or not above 0 on a logarithmic one.
    """
    points = np.array([*arms], float).reshape(-1, 2)
    sides = [np.unique(along) for along in points.T]
    if min(map(len, sides)) < 2 or len(sides[0]) * len(sides[1]) != len(points):
        raise FieldError("area", points.shape, "needs arms at every pair of two numbers or more of both axes")
    weights = np.ones(len(points))
    for along, side, runs_in_log in zip(points.T, sides, log):
        if runs_in_log and side[0] <= 0:
            raise FieldError("area", float(side[0]), "must be above 0 on a logarithmic axis")
        gaps = np.diff(np.log(side) if runs_in_log else side)
        share = (np.append(gaps, 0) + np.append(0, gaps)) / (2 * gaps.sum())
        weights *= share[np.searchsorted(side, along)]
    return (pd.DataFrame(dict(enumerate(arms.values())), dtype=float) * weights).sum(axis=1, skipna=False)


def ratio(name: str, one: pd.Series, other: pd.Series, **claimed: Unpack[Claimed]) -> Effect:
    """log₁₀ of the ratio of two means over the same seeds, of areas, say; each seed is left out of both.

    Of a seed that only one has nothing is known, nor where a mean is not above 0.

    Args:
      name: of the two: "area, StableMax / softmax".
      one, other: by seed.
      **claimed: see `Claimed`.

    Raises:
      FieldError: seeds and splits cross.
    """
    table, resampled = _table("ratio", {0.0: one, 1.0: other})
    by_unit = table.groupby(level=0).mean().to_numpy()
    means = np.concatenate([by_unit.mean(0, keepdims=True), (by_unit.sum(0) - by_unit) / max(len(by_unit) - 1, 1)])

    def find(*, confidence: float) -> Estimate[float]:
        if table.isna().any(axis=None) or not len(by_unit) or not (means > 0).all():
            return _unknown(table, resampled, confidence)
        logs = np.log10(means[:, 0] / means[:, 1])
        value, half = float(logs[0]), float(jackknife.half_width(logs[1:], confidence))
        return Estimate(value, value - half, value + half, confidence, len(by_unit), resampled)

    claimed.setdefault("above", None)
    return Effect(f"log₁₀ of the ratio of {name}", find, **claimed)


def collapses(
    name: str,
    arms: Mapping[tuple[float, float], pd.Series],
    better: Scaling,
    other: Scaling,
    **claimed: Unpack[Claimed],
) -> Effect:
    """By how much curves are less apart over one variable than over another: `fits.collapse_gain`.

    That a score is low says little, as wrong variables have low scores too: that one is lower than another can be
    claimed, by default `above` 0. Both variables must be chosen before their scores are known, and where `other` lets
    fewer points overlap, it is not the same that is compared (`fits.compare_collapses` tells).

    Args:
      name: of what the curves are of.
      arms: it by seed, at each pair (size, x): a curve for each size. NaN leaves nothing known.
      better, other: variables: of sizes and xs, (points,) each, e.g. `lambda n, x: (x - 0.4) * n**0.5`.
      **claimed: see `Claimed`.

    Raises:
      FieldError: as `fits.collapse_gain`; seeds and splits cross.
    """
    table, resampled = _table("collapses", arms)
    pair, y, seeds = _points(arms, table)
    size, x = pair.T
    one, another = (np.asarray(variable(size, x), float) for variable in (better, other))

    def find(*, confidence: float) -> Estimate[float]:
        if not np.isfinite(y).all():
            return _unknown(table, resampled, confidence)
        return dataclasses.replace(fits.collapse_gain(one, another, y, size, seeds, confidence), resampled=resampled)

    claimed.setdefault("above", 0.0)
    return Effect(f"collapse score of {name}, other - better", find, **claimed)


def _table(law: str, arms: Arms) -> tuple[pd.DataFrame, str]:
    """A column per arm, in their order, with rows by what is independent, seeds or splits; and which of these it is."""
    table = pd.DataFrame(dict(enumerate(arms.values())), dtype=float)
    units = [*unit_means(np.zeros(len(table)), table.index)]
    if len(units) > 1:
        raise FieldError(law, " × ".join(units), "needs independent values: hold the seeds or the splits")
    names = table.index if table.index.nlevels == 1 else table.index.get_level_values(UNITS.index(units[0]))
    return table.set_axis(pd.Index(names), axis=0), units[0]


def _points(arms: Arms, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arms' numbers (or pairs of them), the values and the units, of every arm and unit: (points, …) each."""
    numbers = np.array([*arms], float)
    units = table.index.repeat(len(arms)).to_numpy()
    return np.concatenate([numbers] * len(table)), table.to_numpy().ravel(), units


def _unknown(table: pd.DataFrame, resampled: str, confidence: float) -> Estimate[float]:
    return Estimate(np.nan, -np.inf, np.inf, confidence, table.index.nunique(), resampled)
