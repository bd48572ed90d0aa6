"""From curves to times and phases, for many runs at once; nothing is retrained to change a definition.

Times are infinite where a threshold was not reached: the run is censored at the step where observation ended.
"""

import dataclasses
import enum
import re
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
      threshold: value of the metric that train and test have to reach.
      budget: B, the last step that counts.
      gap: G, the delay from which generalisation is late: at least one interval between evaluations, for no delay is
        known more precisely; or 0, with which all that generalises, but not before it fits, is late.
      sustained: k: all evaluations of k - 1 intervals (`training.evaluate_every` steps each) must be at the threshold;
        1 is the first crossing; 0 is "and stays there to the end of the run", which is not known of a run that was
        watched for less than the budget.
      metric: what the curves are of: "loss" is train/loss and test/loss; "ood/loss" is train/loss and ood/loss.
      below: whether values at or below the threshold reach it, as a loss does, instead of those at or above.
    """

    threshold: float
    budget: int
    gap: int
    sustained: int = 1
    metric: str = "accuracy"
    below: bool = False

    @property
    def split(self) -> str:
        """The split whose time is T_test."""
        return self.metric.rpartition("/")[0] or "test"

    @property
    def name(self) -> str:
        """The metric without a split, e.g. "loss"."""
        return self.metric.rpartition("/")[2]

    @property
    def curves(self) -> tuple[str, str]:
        """The curves whose times are T_train and T_test."""
        return f"train/{self.name}", f"{self.split}/{self.name}"

    @property
    def tested(self) -> str:
        """What T_test is the time of, in words, e.g. "test loss"."""
        return f"{self.split} {self.name}"

    @property
    def column(self) -> str:
        """What tables call the last value of that curve, e.g. "test_loss"."""
        return f"{self.split}_{self.name}"

    @property
    def is_accuracy(self) -> bool:
        """Whether the metric is a share of right answers, of whatever split."""
        return self.name == "accuracy"

    @property
    def reached(self) -> str:
        """What counts, up to the threshold, e.g. "test loss ≤"."""
        return f"{'accuracy' if self.metric == 'accuracy' else self.tested} {'≤' if self.below else '≥'}"

    def __str__(self) -> str:
        crossing = {0: "to the end of the run", 1: "first crossing"}.get(
            self.sustained, f"{self.sustained} regular evaluations in a row"
        )
        return f"{self.reached} {self.threshold:g} ({crossing}), budget {self.budget} steps, gap {self.gap} steps"


NAMES = [field.name for field in dataclasses.fields(Definition)]
LIMITS = {"threshold": (float, 0, 1), "budget": (int, 1, 2**31), "gap": (int, 0, 2**31), "sustained": (int, 0, 2**31)}
ANY = float, -3.4e38, 3.4e38
"""Of the thresholds of other metrics than accuracies: what float32 can hold."""
METRIC = re.compile(r"(?!train/)([A-Za-z_][\w.-]*/)?[A-Za-z_][\w.-]*")
COMPARISON = re.compile(r"\s*(\S+?)\s*(>=|<=|≥|≤)\s*(\S+)\s*")


def definition(**values: Any) -> Definition:
    """A `Definition` of checked values; the threshold of an accuracy is 0.9 where it is left out.

    Raises:
      FieldError: a name is unknown, a value is not allowed, or a metric other than accuracy has no threshold.
    """
    for name in values:
        if name not in NAMES:
            raise unknown(name, NAMES)
    metric = values.get("metric", "accuracy")
    if not isinstance(metric, str) or not METRIC.fullmatch(metric):
        why = "must be the name of a curve, e.g. loss, or of one of another split than train, e.g. ood/accuracy"
        raise FieldError("metric", metric, why)
    values["metric"] = metric.removeprefix("test/")
    if not isinstance(values.get("below", False), bool):
        raise FieldError("below", values["below"], "must be true or false")
    accuracy = metric.rpartition("/")[2] == "accuracy"
    if accuracy:
        values.setdefault("threshold", 0.9)
    elif "threshold" not in values:
        raise FieldError("threshold", None, f"must be given with the metric {metric}")
    limits = LIMITS if accuracy else LIMITS | {"threshold": ANY}
    for name, value in ((name, values[name]) for name in limits if name in values):
        kind, low, high = limits[name]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high or kind(value) != value:
            raise FieldError(
                name, value, f"must be {'a number' if kind is float else 'a whole number'} in [{low}, {high}]"
            )
        values[name] = kind(value)
    return Definition(**values)


def check_definition(partial: Any, **others: Any) -> None:
    """FieldError where a table of some of a `Definition`'s values is none, or holds one that is not allowed.

    Args:
      partial: the table.
      others: values that stand where it has none.
    """
    if not isinstance(partial, Mapping) or not all(isinstance(name, str) for name in partial):
        raise FieldError("definition", partial, f"must be a table of {', '.join(NAMES)}")
    definition(**{"budget": 1, "gap": 0, **others, **partial})


def parse_metric(text: Any) -> dict[str, Any]:
    """The values of a `Definition` that a comparison says.

    >>> parse_metric("test/loss <= 0.01")
    {'metric': 'loss', 'below': True, 'threshold': 0.01}

    Raises:
      FieldError: the text is no comparison of a metric with a number, or one of them is not allowed.
    """
    found = COMPARISON.fullmatch(text) if isinstance(text, str) else None
    name, sign, number = found.groups() if found else ("", "", "")
    try:
        threshold = float(number)
    except ValueError:
        raise FieldError("metric", text, "must look like 'loss <= 0.01' or 'ood/accuracy >= 0.9'") from None
    d = definition(metric=name, below=sign in ("<=", "≤"), threshold=threshold, budget=1, gap=0)
    return {"metric": d.metric, "below": d.below, "threshold": d.threshold}


def reaches(values: np.ndarray, threshold: float, below: bool = False) -> np.ndarray:
    """Where curves are at a threshold or above, with `below` at it or below, compared as stored, in float32.

    So 9 of 10 rows reach .9.
    """
    return values <= np.float32(threshold) if below else values >= np.float32(threshold)


def times(
    steps: np.ndarray,
    values: np.ndarray,
    threshold: float,
    sustained: int = 1,
    every: Any = None,
    below: bool = False,
) -> np.ndarray:
    """First step at which a curve is at its threshold, for each run.

    Args:
      steps: (runs, evaluations) steps of the evaluations, NaN after a run's last.
      values: (runs, evaluations), NaN after a run's last.
      threshold: values at or above it count, with `below` those at or below it.
      sustained: the first of evaluations in a row that count and that are (sustained - 1) · `every` steps apart or more
        from first to last gives the time, so that early evaluations do not count for more; 0: all to the end do.
      every: steps between two regular evaluations, a number or (runs,); needed where `sustained` is above 1.

    Returns:
      (runs,) steps; inf where it is never so within what was observed.
    """
    holds, seen = reaches(values, threshold, below), np.isfinite(steps)
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
