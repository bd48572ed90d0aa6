"""What a study shows of its runs one by one: probes of groups of rows along the steps, or over what groups go by."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from jaxgen import FieldError
from jaxgen.errors import check_type, first_line
from sweeps.axes.sweep import Sweep
from sweeps.studies.claims import Arm, Evidence, Missing, check_sweeps

Level: TypeAlias = float | Callable[[Arm], pd.Series]
"""A number, or what gives one for each seed of an arm."""
MOST = 8  # of arms, and of groups that have no number


@dataclasses.dataclass(frozen=True)
class Curves:
    """Curves of groups of rows: for each arm a panel with a line for each group, or one panel with a line for each arm.

    Which it is follows from the groups. Where they are called by numbers, such as lengths, the last value of each is
    drawn over these; else all values over the steps.

    Attributes:
      name: of its files.
      arms: the runs, by what they are called, as those of a `Claim`: trained for as many seeds as claims have.
      groups: probes, by what they are called. One that no run has measured is left out.
      over: what the groups' numbers are; "" where they have none.
      levels: horizontal lines by what they are called, such as that of chance: numbers, or for each arm.
      marks: vertical lines at a step or number, by what they are called, such as the longest that was trained.
      planned: how many seeds, the first ones; all that are stored when None. A study says so.

    Raises:
      FieldError: something is not of its kind, some groups only have numbers, or there are more than eight.
    """

    name: str
    arms: Mapping[str, Sweep]
    groups: Mapping[Any, str]
    over: str = ""
    levels: Mapping[str, Level] = dataclasses.field(default_factory=dict)
    marks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    planned: int | None = None

    def __post_init__(self):
        check_file_name("curves.name", self.name)
        where = f"curves {self.name}"
        for field in ("groups", "levels", "marks"):
            check_type(f"{where}.{field}", getattr(self, field), Mapping, "a table")
        check_sweeps(f"{where}.arms", self.arms)
        for probe in self.groups.values():
            check_type(f"{where}.groups", probe, str, "the name of a probe")
        for field, table in (("levels", self.levels), ("marks", self.marks)):
            for name, value in table.items():
                number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
                if not number and (field == "marks" or not callable(value)):
                    what = "a number" if field == "marks" else "a number, or a function of an arm"
                    raise FieldError(f"{where}.{field}.{name}", value, f"must be {what}")
        check_type(f"{where}.over", self.over, str, "text")
        kinds = {isinstance(group, str) for group in self.groups}
        if len(kinds) != 1 or kinds == {bool(self.over)}:
            raise FieldError(f"{where}.groups", [*self.groups], "must be called by numbers, with `over`, or by texts")
        for field, table in (("arms", self.arms), ("groups", {} if self.over else self.groups)):
            if not self.arms or len(table) > MOST:
                raise FieldError(f"{where}.{field}", len(table), f"must be 1 to {MOST}")

    @property
    def part(self) -> str:
        """What its runs are called among the parts of a recipe."""
        return f"curves {self.name}"


def check_file_name(field: str, name: object) -> None:
    """FieldError where files cannot be called so."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name):
        raise FieldError(field, name, "must be letters, digits, _ and -: files are called so")


@dataclasses.dataclass(frozen=True)
class Traces:
    """What is drawn.

    Attributes:
      table: a row for each arm, group, seed and step; columns arm, group, seed, step and value, as evaluated.
      levels: {level: {arm: value}}, means over seeds.
      notes: a line for each group that no run has measured, and for each level that cannot be computed.
    """

    table: pd.DataFrame
    levels: dict[str, dict[str, float]]
    notes: list[str]


def traces(curves: Curves, evidence: Evidence) -> Traces:
    """The stored runs of curves; arms without any are left out, and so is what no run has measured."""
    parts, levels, notes = [], {name: dict[str, float]() for name in curves.levels}, []
    unknown = {}
    for title, points in curves.arms.items():
        try:
            arm = evidence.arm(points, first=curves.planned)
        except Missing:
            continue
        for group, probe in curves.groups.items():
            try:
                values = arm.curves(probe)
            except FieldError as error:
                unknown[group] = f"{group!r}: {first_line(error)}"
                continue
            seeds = np.repeat([str(seed) for seed in arm.seeds], np.prod(values.shape[1:3], dtype=int))
            told = {"seed": seeds, "step": arm.steps.ravel(), "value": values.ravel()}
            parts.append(pd.DataFrame({"arm": title, "group": group} | told))
        for name, level in curves.levels.items():
            try:
                levels[name][title] = float(np.mean(level(arm) if callable(level) else level))
            except Exception as error:  # a mistake in it must not lose the picture
                notes.append(f"the level {name!r} of {title} cannot be computed: {first_line(error)}")
    empty = pd.DataFrame(columns=["arm", "group", "seed", "step", "value"])
    table = pd.concat(parts, ignore_index=True) if parts else empty
    return Traces(table[np.isfinite(table["value"].astype(float))], levels, [*unknown.values(), *notes])
