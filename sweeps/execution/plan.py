"""What there is to do: runs grouped by compiled program, less what is stored."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from jaxgen import Experiment, FieldError, components, notebook, training
from jaxgen.components import look_again
from jaxgen.variants import Variants
from sweeps.axes.sweep import Sweep, used
from sweeps.execution import shares
from sweeps.execution.profile import step_flops
from sweeps.execution.rehearsal import rehearse

MAX_COMPILES = 100
MAX_RUNS = 2_000_000
"""Points of a sweep at most: so many are planned in minutes."""
MAX_EVALUATIONS = 1_000_000
"""Evaluations of a run at most: each of its curves is as long."""


@dataclasses.dataclass
class Group:
    """The runs of one compiled program.

    Attributes:
      template: the first of them.
      pending: (run_id, index into the sweep) of the runs that are not stored yet.
      budgets: steps, rows of the train split and rows computed in a step of each pending run.
      stored: how many more are.
      resumed: how many of the pending ones are saved in mid-training.
      lapack: what they call of LAPACK for all lanes of a block at once (`rehearse`).
    """

    template: Experiment
    pending: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    budgets: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    stored: int = 0
    resumed: int = 0
    lapack: str = ""

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Takes the runs off that are not wanted."""
        own = [i for i, (run_id, _) in enumerate(self.pending) if wanted(run_id)]
        self.pending, self.budgets = [self.pending[i] for i in own], [self.budgets[i] for i in own]

    @property
    def steps(self) -> int:
        """Lane-steps still to be made, if no run ends early."""
        return sum(steps for steps, *_ in self.budgets)

    @property
    def rows(self) -> float:
        """Rows that a step computes, on average."""
        return sum(steps * made for steps, _, made in self.budgets) / self.steps if self.steps else 0.0

    @property
    def padding(self) -> float:
        """Share of the computed rows that are not trained on."""
        trained = sum(steps * min(rows, made) for steps, rows, made in self.budgets)  # a minibatch is some of them
        return 1 - trained / (self.rows * self.steps) if self.steps else 0.0

    @property
    def flops(self) -> float:
        """Floating-point operations of a step, on average: they grow evenly with its rows."""
        own, all_ = training.computed(self.template), training.capacity(self.template)
        least, most = step_flops(self.template), step_flops(self.template, all_)
        return least + (self.rows - own) * (most - least) / max(all_ - own, 1) if self.steps else least


@dataclasses.dataclass
class Plan:
    """A sweep, ready to run.

    Attributes:
      base, sweep: what was asked for.
      groups: by compiled program, those with the most lane-steps first.
      run_ids: of every run of the sweep.
      repeated: points that are the same run as an earlier one.
      first: the plan of the runs that others start from, if any do.
      starts_from: which of them each does, by run_id.
      part: which share of how many it is (`share`); None where it is the whole.
    """

    base: Experiment
    sweep: Sweep
    groups: list[Group]
    run_ids: set[str]
    repeated: int
    first: "Plan | None" = None
    starts_from: dict[str, str] = dataclasses.field(default_factory=dict)
    part: tuple[int, int] | None = None

    @property
    def pending(self) -> int:
        """Runs that are still to be trained."""
        return sum(len(g.pending) for g in self.groups)

    @property
    def steps(self) -> int:
        """Lane-steps still to be made, if no run ends early."""
        return sum(g.steps for g in self.groups)

    @property
    def waiting(self) -> set[str]:
        """Their run_ids."""
        return {run_id for group in self.groups for run_id, _ in group.pending}

    def drop(self, stored: set[str]) -> None:
        """Takes the runs that are stored already off the plan, and those that only they start from.

        A share's part of the runs that others start from stays: other shares may wait for it.
        """
        for group in self.groups:
            before = len(group.pending)
            group.keep(lambda run_id: run_id not in stored)
            group.stored += before - len(group.pending)
        if self.first is not None and self.part is None:
            self.first.drop(self.first.run_ids - {self.starts_from.get(run_id, "") for run_id in self.waiting})

    def note_saved(self, run_ids: set[str]) -> None:
        """Counts the pending runs that are saved in mid-training (`Group.resumed`)."""
        for group in self.groups:
            group.resumed = sum(run_id in run_ids for run_id, _ in group.pending)

    def share(self, index: int, count: int) -> "Plan":
        """What one of `count` workers trains: together the shares are the plan, and no run is in two (`shares`).

        It follows from the sweep alone, so take it before stored runs are dropped. Of the runs that others start from a
        share has its part too, and not only those that its own start from.

        Args:
          index: which share, 0 … count - 1.
          count: how many.
        """
        orders = [np.argsort([run_id for run_id, _ in group.pending]) for group in self.groups]
        costs = [shares.seconds(g.template, g.budgets)[order] for g, order in zip(self.groups, orders)]
        groups = []
        for group, order, belongs in zip(self.groups, orders, shares.assign(costs, count)):
            low, high = np.searchsorted(belongs, [index, index + 1])
            if own := order[low:high].tolist():
                pending, budgets = [group.pending[i] for i in own], [group.budgets[i] for i in own]
                groups.append(Group(group.template, pending, budgets))
        run_ids = {run_id for group in groups for run_id, _ in group.pending}
        starts_from = {run_id: first for run_id, first in self.starts_from.items() if run_id in run_ids}
        first = self.first and self.first.share(index, count)
        return Plan(self.base, self.sweep, groups, run_ids, 0, first, starts_from, (index, count))

    def _repr_html_(self) -> str:
        stored = len(self.run_ids) - self.pending
        title = f"Plan of {len(self.run_ids):,} runs: {stored:,} stored, {self.pending:,} to train"
        groups = [g for g in self.groups if g.pending]
        rows = [(n, len(g.pending), f"{g.rows:.0f}", f"{g.steps:,}") for n, g in enumerate(groups, 1)]
        return notebook.table(
            f"{title}, {self.steps:,} lane-steps at most", ("program", "runs", "rows/step", "lane-steps"), rows
        )

    def experiment(self, index: int) -> Experiment:
        """The experiment at a point of the sweep."""
        return self.base.override(self.sweep[index])


def make_plan(base: Experiment, sweep: Sweep, max_compiles: int = MAX_COMPILES) -> Plan:
    """Checks every point of a sweep and groups its runs by program.

    Raises:
      FieldError: a value of an axis is not allowed, two are the same number to the runs, or there are more points,
        programs or evaluations than `MAX_RUNS`, `max_compiles` and `MAX_EVALUATIONS`.
    """
    if not isinstance(sweep, Sweep) or not len(sweep):
        raise FieldError("sweep", sweep, "must be made by sweeps.sweep, product, … and have at least one point")
    if len(sweep) > MAX_RUNS:
        raise FieldError("sweep", sweep, f"has {len(sweep):,} points, at most {MAX_RUNS:,} are planned: split it")
    _check_distinct(base, sweep)
    classes = {type(part) for part in used(base, sweep)}
    look_again(classes)
    _check_compiles(base, sweep, max_compiles, _structures(base, sweep))
    groups: dict[tuple[str, int], Group] = {}
    run_ids: set[str] = set()
    variants = Variants(base)
    for index, point in enumerate(sweep):
        run_id, kind = variants.identify(point)
        if run_id in run_ids:
            continue
        run_ids.add(run_id)
        group = groups.get(kind.program)
        if group is None:
            group = groups[kind.program] = Group(base.override(point))
        group.pending.append((run_id, index))
        group.budgets.append(kind.budget)
    _check_compiles(base, sweep, max_compiles, len(groups))
    _check_curves(groups.values())
    tables, lapack = set(), {}
    for structure, template in {structure: group.template for (structure, _), group in groups.items()}.items():
        table = components.structure(template.task)
        lapack[structure] = rehearse(template, table in tables)
        tables.add(table)
    for (structure, _), group in groups.items():
        group.lapack = lapack[structure]
    for cls in look_again(classes):
        why = "changes values that it uses, so that what it computes could depend on how often it was called"
        raise FieldError("sweep", cls.__qualname__, f"{why}: keep what it computes once in functools.cache")
    ordered = sorted(groups.values(), key=lambda g: -g.steps)
    return Plan(base, sweep, ordered, run_ids, len(sweep) - len(run_ids))


def _check_distinct(base: Experiment, sweep: Sweep) -> None:
    """Refuses two values of an axis that train the same run under two names, such as floats equal in float32."""
    dtypes = [v for v in sweep.axes.get("training.dtype", [base.training.dtype]) if v in ("float32", "float64")]
    for path, values in sweep.axes.items():
        numbers = [v for v in values if isinstance(v, float)] if path in base.leaf_paths() else []
        with np.errstate(over="ignore"):
            _, first, place = np.unique(np.array(numbers, np.float32), return_index=True, return_inverse=True)
        for i in np.flatnonzero(first[place] != np.arange(len(numbers))):
            one, other = numbers[first[place[i]]], numbers[i]
            for dtype in dtypes:
                if _same_numbers(base, path, one, other, dtype):
                    raise FieldError(path, [one, other], f"are the same number in {dtype}: leave one out")


def _same_numbers(base: Experiment, path: str, one: float, other: float, dtype: str) -> bool:
    """Whether a run trains the same with either value, although its name differs."""
    try:
        a, b = (base.override({path: value, "training.dtype": dtype}) for value in (one, other))
    except FieldError:  # not allowed, or only together with other axes
        return False
    leaves = (jax.tree.leaves(training.numbers(e)) for e in (a, b))
    return all(x == y for x, y in zip(*leaves)) and a.task.rows() == b.task.rows() and a.run_id != b.run_id


def _check_curves(groups: Iterable[Group]) -> None:
    for group in groups:
        longest, every = max(steps for steps, *_ in group.budgets), group.template.training.evaluate_every
        if longest // every > MAX_EVALUATIONS:
            why = f"makes {longest // every:,} evaluations with evaluate_every = {every}, at most {MAX_EVALUATIONS:,}"
            raise FieldError("training.steps", longest, why)


def _structures(base: Experiment, sweep: Sweep) -> int:
    """How many structures a sweep has at least, counted factor by factor: a product of thousands is refused at once."""
    leaves, found = base.leaf_paths(), 1
    for factor in sweep.factors:
        if not leaves.issuperset(factor.axes):
            found *= len({tuple((k, v) for k, v in sorted(p.items()) if k not in leaves) for p in factor})
    return found


def _check_compiles(base: Experiment, sweep: Sweep, allowed: int, needed: int) -> None:
    if needed <= allowed:
        return
    structure = [p for p in sweep.axes if p not in base.leaf_paths()]
    guilty = ", ".join(f"{p} ({len(sweep.axes[p])} values)" for p in structure or sweep.axes)
    why = f"the sweep needs {needed} compiled programs, because of {guilty}"
    flag = f"--max_compiles={needed} (max_compiles={needed} in Python)"
    raise FieldError("max_compiles", allowed, f"{why}: allow that many with {flag}")


def told_apart(templates: Sequence[Experiment]) -> list[str]:
    """What distinguishes each program from the others, in words: "StableMaxCrossEntropy, loss.dtype float64".

    Of the fields that are structure, those that have several values among the programs that have them. Where that is
    not enough, how many rows a step can compute.
    """
    flats = [{k: v for k, v in t.flat().items() if k not in t.leaf_paths()} for t in templates]
    values: dict[str, set] = {}
    for flat in flats:
        for path, value in flat.items():
            values.setdefault(path, set()).add(value)
    several = [path for path, found in values.items() if len(found) > 1]
    ends = collections.Counter(path.rpartition(".")[2] for path in values)
    said = [", ".join(_said(p, flat[p], ends) for p in several if p in flat) for flat in flats]
    twice = collections.Counter(said)
    rows = [f"up to {training.capacity(t)} rows a step" if twice[text] > 1 else "" for t, text in zip(templates, said)]
    return [", ".join(filter(None, pair)) or "the only program" for pair in zip(said, rows)]


def _said(path: str, value: object, ends: Mapping[str, int]) -> str:
    """A field and its value in words: a component's name, "no schedule", "perpendicular", "width 64"."""
    owner, _, end = path.rpartition(".")
    if end == "type":
        return str(value) if value is not None else f"no {owner.rpartition('.')[2]}"
    name = end if ends[end] == 1 else path
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return f"{name} {value}"
