"""Labellings: what a run is called by its curves, for many runs at once. Some are built in, users add their own."""

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.components import unknown
from jaxgen.errors import check_list, check_type
from sweeps.diagrams import phases
from sweeps.diagrams.phases import Definition, Phase

ACCURACIES = ("train/accuracy", "test/accuracy")


@dataclasses.dataclass(frozen=True)
class Label:
    """One of the names that a labelling gives.

    Attributes:
      name: as it is printed.
      colour: of its cells, "#rrggbb".
      ink: of its thin lines on white; `colour` where it is left out.
    """

    name: str
    colour: str
    ink: str = ""

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isprintable() or not self.name.strip():
            raise FieldError("label.name", self.name, "must be printable text")
        object.__setattr__(self, "ink", self.ink or self.colour)
        for field in ("colour", "ink"):
            value = getattr(self, field)
            if not isinstance(value, str) or not re.fullmatch("#[0-9a-fA-F]{6}", value):
                raise FieldError(f"label.{field}", value, "must be #rrggbb")


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a labelling sees of the runs. Arrays are (runs,); times are steps, infinite where not reached.

    Attributes:
      definition: metric, threshold, budget and gap that are asked for.
      runs: a row per run: status, steps, every field of its experiment, final values.
      curves: "step", those of the metric and what else the labelling asks for, (runs, evaluations), NaN after a run's
        last.
      train_time, test_time: when the metric reaches the threshold on train, and on test or the metric's own split.
      until: step up to which a run is known: where observation ended, and the budget for a frozen or exact run, which
        never changes again; -1 for runs without test rows.
      diverged, frozen: how the run ended; an exact run is frozen.
    """

    definition: Definition
    runs: pd.DataFrame
    curves: dict[str, np.ndarray]
    train_time: np.ndarray
    test_time: np.ndarray
    until: np.ndarray
    diverged: np.ndarray
    frozen: np.ndarray

    def last(self, name: str) -> np.ndarray:
        """A curve's value at the last evaluation up to the budget; NaN where there is none.

        Raises:
          FieldError: it is neither of the metric nor among the labelling's curves.
        """
        if name not in self.curves:
            raise unknown(name, list(self.curves))
        return phases.within(self.curves, self.definition.budget, name)[1]


@dataclasses.dataclass(frozen=True)
class Labelling:
    """A way to label runs.

    Attributes:
      name: what it is asked for by.
      labels: the names that it gives; on equal counts in a cell the first wins.
      assign: from `Observed` to (runs,) whole numbers, indices into `labels`.
      event: the labels of which P is drawn, and a boundary fitted.
      event_name: what they have in common, as in P(generalise).
      undecided: the labels that say nothing about the event: such runs count both ways, see `Diagram`.
      curves: probes that `assign` reads, beside the two of the definition's metric.
    """

    name: str
    labels: Sequence[Label]
    assign: Callable[[Observed], np.ndarray]
    event: Sequence[str]
    event_name: str
    undecided: Sequence[str] = ()
    curves: Sequence[str] = ()

    def __post_init__(self):
        if not isinstance(self.name, str) or not re.fullmatch(r"\w[\w-]*", self.name):
            raise FieldError("labelling.name", self.name, "must be letters, digits, _ and -")
        check_list("labelling.labels", self.labels, Label, "sweeps.Label(…)")
        for field in ("event", "undecided", "curves"):
            check_list(f"labelling.{field}", getattr(self, field), str, "texts")
        check_type("labelling.event_name", self.event_name, str, "text")
        if not callable(self.assign):
            raise FieldError("labelling.assign", self.assign, "must be a function from Observed to whole numbers")
        names = [label.name for label in self.labels]
        if not names or len(set(names)) < len(names) or len(names) > 250:
            raise FieldError("labelling.labels", names, "must be 1 to 250 labels of different names")
        for name in (*self.event, *self.undecided):
            if name not in names:
                raise unknown(name, names)

    @property
    def names(self) -> list[str]:
        """The labels' names."""
        return [label.name for label in self.labels]

    def indices(self, names: Sequence[str]) -> list[int]:
        """Where these labels stand among all."""
        return [self.names.index(name) for name in names]

    def events(self, label: np.ndarray) -> np.ndarray:
        """Whether the event happened, by label: 1, 0, or NaN where that is undecided."""
        happened = np.isin(label, self.indices(self.event)).astype(float)
        return np.where(np.isin(label, self.indices(self.undecided)), np.nan, happened)

    def __call__(self, observed: Observed) -> np.ndarray:
        """The label of each run.

        Raises:
          FieldError: `assign` gave something else than one known label for each run.
        """
        found = np.asarray(self.assign(observed))
        if found.shape != (len(observed.runs),) or not np.issubdtype(found.dtype, np.integer):
            what = f"{found.dtype} {found.shape}"
            raise FieldError(f"labelling {self.name}", what, f"must be whole numbers of shape {(len(observed.runs),)}")
        if len(found) and not 0 <= found.min() <= found.max() < len(self.labels):
            why = f"labels are numbered from 0 to {len(self.labels) - 1}"
            raise FieldError(f"labelling {self.name}", [int(found.min()), int(found.max())], why)
        return found


LABELLINGS: dict[str, Labelling] = {}


def register(labelling: Labelling) -> Labelling:
    """Makes a labelling known by its name, and returns it.

    Raises:
      FieldError: another one has that name.
    """
    if LABELLINGS.setdefault(labelling.name, labelling) is not labelling:
        raise FieldError("labelling.name", labelling.name, "is taken by another labelling")
    return labelling


def find(which: str | Labelling) -> Labelling:
    """The labelling of that name; one that is given stays as it is.

    Raises:
      FieldError: there is none.
    """
    if isinstance(which, Labelling):
        return which
    if not isinstance(which, str) or which not in LABELLINGS:
        raise unknown(str(which), list(LABELLINGS))
    return LABELLINGS[which]


DIVERGED, UNDECIDED = Label("diverged", "#1b1b1e"), Label("undecided", "#eae7df", "#8d8672")
# Okabe–Ito hues, moved apart in lightness so that labels also differ in grey; inks are dark enough for thin lines.
BLUE, YELLOW, RED, GREY, PINK, GREEN = (
    ("#14568c",),
    ("#f2ca52", "#b8860b"),
    ("#cf5a1c", "#b8450c"),
    ("#aeb8c2", "#66727e"),
    ("#c07fb0", "#9a4f88"),
    ("#28745a",),
)


def _four_phases(o: Observed) -> np.ndarray:
    return phases.phases(o.train_time, o.test_time, o.until, o.diverged, o.definition)


FOUR_PHASES = register(
    Labelling(
        name="four_phases",
        labels=(
            Label("comprehension", *BLUE),
            Label("grokking", *YELLOW),
            Label("memorisation", *RED),
            Label("confusion", *GREY),
            Label("test first", *PINK),
            DIVERGED,
            UNDECIDED,
        ),
        assign=_four_phases,
        event=("comprehension", "grokking"),
        event_name="generalise",
        undecided=("undecided",),
    )
)
assert FOUR_PHASES.names == [phase.name.lower().replace("_", " ") for phase in Phase]


def _corrupted(o: Observed) -> np.ndarray:
    if o.definition.curves != ACCURACIES or o.definition.below:
        why = "is not of the accuracies that corrupted_labels are told by: ask for accuracy >= a threshold"
        raise FieldError("metric", o.definition.metric, why)
    own = ("task.corrupted", "task.flipped", *(("task.share",) if "task.task.type" in o.runs else ()))
    path = next((p for p in own if p in o.runs), None)
    if path is None:
        why = "needs runs of the task CorruptedLabels, or with a field task.corrupted or task.flipped"
        raise FieldError("labels", "corrupted_labels", why)
    level = o.definition.threshold
    train, test = (o.last(name) for name in ACCURACIES)
    inverted = train >= 1.05 - o.runs[path].to_numpy(float)
    fits, generalises = phases.reaches(train, level), phases.reaches(test, level)
    label = np.where(fits, 0, np.where(inverted, 1, 2))
    below = np.where(fits, 3, np.where(o.test_time <= o.definition.budget, 4, 5))
    label = np.where(generalises, label, below)
    return _unless_ended(o, label, len(CORRUPTED.labels))


def _retention(o: Observed) -> np.ndarray:
    d = o.definition
    reached, holds = o.test_time <= d.budget, phases.reaches(o.last(d.curves[1]), d.threshold, d.below)
    label = np.where(reached, np.where(holds, 0, 1), 2)
    return _unless_ended(o, label, len(RETENTION.labels))


def _unless_ended(o: Observed, label: np.ndarray, count: int) -> np.ndarray:
    """The last two of `count` labels for runs that ended before the budget: diverged, and undecided."""
    return np.where(o.until < o.definition.budget, np.where(o.diverged, count - 2, count - 1), label)


CORRUPTED = register(
    Labelling(
        name="corrupted_labels",
        labels=(
            Label("coexistence", *BLUE),
            Label("partial inversion", *GREEN),
            Label("full inversion", *YELLOW),
            Label("memorisation", *RED),
            Label("forgetting", *PINK),
            Label("confusion", *GREY),
            DIVERGED,
            UNDECIDED,
        ),
        assign=_corrupted,
        event=("coexistence", "partial inversion", "full inversion"),
        event_name="generalise",
        undecided=("undecided",),
    )
)
"""Doshi et al. 2023 (arXiv 2310.13061), by the accuracies a, t on train and test at the budget, threshold h and the
corrupted share ξ of the train labels: with t ≥ h coexistence (a ≥ h), partial inversion (a ≥ 1.05 - ξ) or full
inversion; with t < h memorisation (a ≥ h), forgetting (t ≥ h before), or confusion."""

RETENTION = register(
    Labelling(
        name="retention",
        labels=(
            Label("kept", *BLUE),
            Label("lost it again", *PINK),
            Label("not reached", *GREY),
            DIVERGED,
            UNDECIDED,
        ),
        assign=_retention,
        event=("kept",),
        event_name="generalise and keep it",
        undecided=("undecided",),
    )
)
"""Whether the metric, once at the threshold on test, is still there at the budget."""


def _endings(o: Observed) -> np.ndarray:
    return pd.Index(["finished", "stopped", "diverged", "frozen", "exact"]).get_indexer(o.runs["status"])


ENDINGS = register(
    Labelling(
        name="endings",
        labels=(
            Label("finished", *BLUE),
            Label("stopped", *YELLOW),
            DIVERGED,
            Label("frozen", *RED),
            Label("exact", *GREEN),
        ),
        assign=_endings,
        event=("diverged",),
        event_name="diverge",
    )
)
"""How runs ended: at their last step, by the stop rule, without finite values, proved never to change again, or without
a step to make."""
