"""From curves to times and phases, for many runs at once; nothing is retrained to change a definition.

Times are infinite where a threshold was not reached: the run is censored at the step where observation ended.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgen import FieldError
from jaxgen.components import unknown


class Phase(enum.IntEnum):
    """The phases of Liu et al. 2022 (arXiv 2205.10343), and what their definition leaves open."""

    COMPREHENSION = 0
    GROKKING = 1
    MEMORISATION = 2
    CONFUSION = 3
    TEST_FIRST = 4
    DIVERGED = 5
    UNDECIDED = 6


@dataclasses.dataclass(frozen=True)
class Definition:
    """What counts as reached, and in time.

    Attributes:
      threshold: accuracy that train and test have to reach.
      budget: B, the last step that counts.
      gap: G, the delay from which generalisation is late: at least one interval between evaluations, for no delay is
        known more precisely; or 0, with which all that generalises, but not before it fits, is late.
      sustained: k: all evaluations of k - 1 intervals (`training.evaluate_every` steps each) must be at the threshold;
        1 is the first crossing; 0 is "and stays there to the end of the run", which is not known of a run that was
        watched for less than the budget.
    """

    threshold: float
    budget: int
    gap: int
    sustained: int = 1

    def __str__(self) -> str:
        crossing = {0: "to the end of the run", 1: "first crossing"}.get(
            self.sustained, f"{self.sustained} regular evaluations in a row"
        )
        return f"accuracy ≥ {self.threshold:g} ({crossing}), budget {self.budget} steps, gap {self.gap} steps"


LIMITS = {"threshold": (float, 0, 1), "budget": (int, 1, 2**31), "gap": (int, 0, 2**31), "sustained": (int, 0, 2**31)}


def definition(**values: Any) -> Definition:
    """A `Definition` of checked values.

    Raises:
      FieldError: a name is unknown, or a value is not allowed.
    """
    for name, value in values.items():
        if name not in LIMITS:
            raise unknown(name, list(LIMITS))
        kind, low, high = LIMITS[name]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high or kind(value) != value:
            raise FieldError(
                name, value, f"must be {'a number' if kind is float else 'a whole number'} in [{low}, {high}]"
            )
        values[name] = kind(value)
    return Definition(**values)


def check_definition(partial: Any) -> None:
    """FieldError where a table of some of a `Definition`'s values is none, or holds one that is not allowed."""
    if not isinstance(partial, Mapping) or not all(isinstance(name, str) for name in partial):
        raise FieldError("definition", partial, f"must be a table of {', '.join(LIMITS)}")
    definition(**{"threshold": 0.9, "budget": 1, "gap": 0, **partial})


def reaches(values: np.ndarray, threshold: float) -> np.ndarray:
    """Where curves are at a threshold or above, compared as they are stored, in float32: 9 of 10 rows reach .9."""
    return values >= np.float32(threshold)


def times(steps: np.ndarray, values: np.ndarray, threshold: float, sustained: int = 1, every: Any = None) -> np.ndarray:
    """First step at which a curve is at its threshold, for each run.

    Args:
      steps: (runs, evaluations) steps of the evaluations, NaN after a run's last.
      values: (runs, evaluations), NaN after a run's last.
      threshold: values at or above it count.
      sustained: the first of evaluations in a row that count and that are (sustained - 1) · `every` steps apart or more
        from first to last gives the time, so that early evaluations do not count for more; 0: all to the end do.
      every: steps between two regular evaluations, a number or (runs,); needed where `sustained` is above 1.

    Returns:
      (runs,) steps; inf where it is never so within what was observed.
    """
    holds, seen = reaches(values, threshold), np.isfinite(steps)
    if sustained == 0:
        holds = np.flip(np.logical_and.accumulate(np.flip(holds | ~seen, 1), axis=1), 1) & seen
    elif sustained > 1:
        if every is None:
            raise FieldError("every", every, "must be given where sustained is above 1")
        number = values.shape[1]
        missed = np.flip(np.minimum.accumulate(np.flip(np.where(holds, number, np.arange(number)), 1), axis=1), 1)
        last = np.take_along_axis(steps, np.maximum(missed - 1, 0), 1)
        holds &= last - steps >= (sustained - 1) * np.reshape(every, (-1, 1))
    first = np.argmax(holds, axis=1)
    at = np.take_along_axis(steps, first[:, None], 1)[:, 0] if len(steps) else np.zeros(0)
    return np.where(holds.any(axis=1), at, np.inf)


def delay(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """T_test - T_train, (runs,); inf where test alone was not reached, NaN where train was not."""
    fits = np.isfinite(train)
    return np.where(fits, test, np.nan) - np.where(fits, train, 0)


def before(steps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The last evaluation before each run's time, (runs,); -1 where it is the first one, NaN where time is inf.

    A threshold that is first seen at step t was reached after `before` and by t: no time is known more precisely.
    """
    earlier = np.max(steps, axis=1, where=steps < times[:, None], initial=-1)
    return np.where(np.isfinite(times), earlier, np.nan)


def within(curves: dict[str, np.ndarray], budget: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the last value of each run's curve up to the budget; NaN where there is none."""
    seen = (curves["step"] <= budget) & np.isfinite(curves[name])
    largest = np.max(curves[name], axis=1, where=seen, initial=-np.inf)
    last = curves[name].shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    ever = seen.any(axis=1)
    at_last = np.take_along_axis(curves[name], last[:, None], 1)[:, 0]
    return np.where(ever, largest, np.nan), np.where(ever, at_last, np.nan)


def phases(
    train: np.ndarray, test: np.ndarray, observed: np.ndarray, diverged: np.ndarray, d: Definition
) -> np.ndarray:
    """The phase of each run.

    With T_train, T_test ≤ B counted as reached: both and T_test - T_train < G is comprehension, both and ≥ G grokking,
    train alone memorisation, neither confusion, test alone "test first". A run that did not reach both is diverged if
    it diverged, and undecided if observation ended before B.

    Args:
      train, test: (runs,) times, inf where not reached.
      observed: (runs,) step at which observation ended.
      diverged: (runs,) whether the run diverged there.
      d: the definition.

    Returns:
      (runs,) values of `Phase`.
    """
    has_train, has_test = train <= d.budget, test <= d.budget
    both = has_train & has_test
    delay = np.where(both, test, 0) - np.where(both, train, 0)
    label = np.where(has_train, Phase.MEMORISATION, np.where(has_test, Phase.TEST_FIRST, Phase.CONFUSION))
    label = np.where(observed < d.budget, np.where(diverged, Phase.DIVERGED, Phase.UNDECIDED), label)
    return np.where(both, np.where(delay < d.gap, Phase.COMPREHENSION, Phase.GROKKING), label)
