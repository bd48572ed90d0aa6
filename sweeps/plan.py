"""What there is to do: runs grouped by compiled program, less what is stored, with memory and time foretold."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgen import Experiment, FieldError, Task, training
from jaxgen.component import look_again
from jaxgen.kernel import capacity
from jaxgen.variants import Variants
from sweeps import widths
from sweeps.profile import measured, step_flops
from sweeps.spec import Sweep

MAX_COMPILES = 100
LOOKED_AT = 1_000_000  # rows of a table whose values are checked


@dataclasses.dataclass
class Group:
    """The runs of one compiled program.

    Attributes:
      template: the first of them.
      rows: rows that a step computes.
      pending: (run_id, index into the sweep) of the runs that are not stored yet.
      budgets: steps and rows trained on of each pending run.
    """

    template: Experiment
    rows: int
    pending: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    budgets: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    @property
    def steps(self) -> int:
        """Lane-steps still to be made, if no run ends early."""
        return sum(steps for steps, _ in self.budgets)

    @property
    def padding(self) -> float:
        """Share of the computed rows that are not trained on."""
        return 1 - sum(steps * rows for steps, rows in self.budgets) / (self.rows * self.steps) if self.steps else 0.0


@dataclasses.dataclass
class Plan:
    """A sweep, ready to run.

    Attributes:
      base, sweep: what was asked for.
      groups: by compiled program, those with the most lane-steps first.
      run_ids: of every run of the sweep.
      repeated: points that are the same run as an earlier one.
    """

    base: Experiment
    sweep: Sweep
    groups: list[Group]
    run_ids: set[str]
    repeated: int

    @property
    def pending(self) -> int:
        """Runs that are still to be trained."""
        return sum(len(g.pending) for g in self.groups)

    @property
    def steps(self) -> int:
        """Lane-steps still to be made, if no run ends early."""
        return sum(g.steps for g in self.groups)

    def drop(self, stored: set[str]) -> None:
        """Takes the runs that are stored already off the plan."""
        for group in self.groups:
            keep = [i for i, (run_id, _) in enumerate(group.pending) if run_id not in stored]
            group.pending, group.budgets = [group.pending[i] for i in keep], [group.budgets[i] for i in keep]

    def experiment(self, index: int) -> Experiment:
        """The experiment at a point of the sweep."""
        return self.base.override(self.sweep[index])


def make_plan(base: Experiment, sweep: Sweep, max_compiles: int = MAX_COMPILES) -> Plan:
    """Checks every point of a sweep and groups its runs by program.

    Raises:
      FieldError: a value of an axis is not allowed, or more than `max_compiles` programs would be compiled.
    """
    if not isinstance(sweep, Sweep) or not len(sweep):
        raise FieldError("sweep", sweep, "must be made by sweeps.sweep, product, … and have at least one point")
    look_again()
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
            group = groups[kind.program] = Group(base.override(point), kind.program[1])
        group.pending.append((run_id, index))
        group.budgets.append(kind.budget)
    _check_compiles(base, sweep, max_compiles, len(groups))
    tables = set()
    for template in {structure: group.template for (structure, _), group in groups.items()}.values():
        table = (type(template.task), jax.tree.structure(template.task))
        _check_model(template, table in tables)
        tables.add(table)
    ordered = sorted(groups.values(), key=lambda g: -g.steps)
    return Plan(base, sweep, ordered, run_ids, len(sweep) - len(run_ids))


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


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a plan will cost, at most.

    Attributes:
      seconds: to train all pending runs to their budgets, and to compile; runs that end early take less.
      bytes: on one device, of two blocks of the largest program.
      widths: lanes per block of each group, in the plan's order.
      milliseconds: per lane-step of each group.
      memory: bytes of one block of each group.
    """

    seconds: float
    bytes: int
    widths: list[int]
    milliseconds: list[float]
    memory: list[int]


def predict(plan: Plan, held: Mapping[str, Any], width: int | None = None) -> Prediction:
    """Foretells memory and time from one short measurement of the plan's largest group, scaled by FLOPs to the others.

    Nothing of the sweep is trained: what is timed are scratch copies of one run.

    Args:
      plan: less what is stored.
      held: widths that are written down (`sweeps.widths`).
      width: lanes of every block, if asked for.
    """
    devices, groups = jax.local_devices(), [g for g in plan.groups if g.pending]
    if not groups:
        return Prediction(0.0, 0, [], [], [])
    lanes = [widths.chosen(g.template, devices[0], held, width)["lanes"] for g in groups]
    reference = measured(groups[0].template, devices, lanes[0])
    first, first_bytes = step_flops(groups[0].template), widths.lane_bytes(groups[0].template)
    milliseconds, memory = [], []
    for group, wide in zip(groups, lanes):
        milliseconds.append(reference.milliseconds * step_flops(group.template) / first)
        size = reference.bytes * widths.lane_bytes(group.template) / first_bytes
        memory.append(int(size * wide / reference.width))
    training_seconds = sum(g.steps * ms for g, ms in zip(groups, milliseconds)) / 1e3 / len(devices)
    compiling = reference.compile_seconds * len(groups)
    return Prediction(training_seconds + compiling, 2 * max(memory), lanes, milliseconds, memory)


def _check_model(template: Experiment, seen: bool) -> None:
    """Traces one step and one evaluation, and looks at one table of examples, before anything of them compiles.

    Args:
      template: the first run of a structure.
      seen: whether a table of its task was looked at before.

    Raises:
      FieldError: names what has the wrong shape or range.
    """
    task, name = template.task, type(template.task).__name__
    numbers, rows = training.numbers(template), training.Rows.of(task)
    total = int(rows.counts.sum())
    step = lambda e, d, s: training.step(e, d, capacity(template), s)  # noqa: E731
    data, state, outputs = training.shapes(template)
    if data.inputs.shape[0] != total:
        raise FieldError("task", name, f"examples() gives {data.inputs.shape[0]} rows where rows() promises {total}")
    if type(task).correct is Task.correct and data.labels.shape != (total,):
        raise FieldError("task", name, f"has labels of shape {data.labels.shape} where {(total,)} is needed")
    if outputs.shape != (total, task.outputs):
        why = f"gives outputs of shape {outputs.shape} where the task needs {(total, task.outputs)}"
        raise FieldError("model", type(template.model).__name__, why)
    with training.numerics(numbers):
        for part, function in (("loss", template.loss), ("task.correct", task.correct)):
            shape = jax.eval_shape(function, outputs, data.labels).shape
            if shape != (total,):
                raise FieldError(part, shape, f"must give one value per row, shape {(total,)}")
        splits = [*rows.names, *(s for s in data.splits if s not in rows.names)]
        for split in template.training.stop_splits:
            if split not in splits:
                raise FieldError("training.stop_splits", split, f"must be among {', '.join(splits)}")
        jax.eval_shape(step, numbers, data, state)
        if total <= LOOKED_AT and not seen:
            _check_values(task, name, jax.device_get(jax.jit(training.load)(numbers, rows)))


def _check_values(task: Any, name: str, data: training.Data) -> None:
    kinds = [("inputs", data.inputs, task.vocabulary, "vocabulary")]
    if type(task).correct is Task.correct:
        kinds.append(("labels", data.labels, task.outputs, "outputs"))
    for what, values, size, limit in kinds:
        if size is not None and np.issubdtype(values.dtype, np.integer):
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= size:
                raise FieldError(
                    "task", name, f"has {what} from {low} to {high}: {limit} = {size} allows 0 to {size - 1}"
                )
