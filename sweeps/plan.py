"""What there is to do: runs grouped by compiled program, less what is stored, with memory and time foretold."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import Experiment, FieldError, Task, models, training
from jaxgen.component import look_again
from jaxgen.errors import first_line
from jaxgen.kernel import capacity
from jaxgen.variants import Variants
from sweeps import widths
from sweeps.profile import Measured, device_bytes, measured, step_flops
from sweeps.spec import Sweep

MAX_COMPILES = 100
MEASURED_SHARE = 8  # a dry run times only what is sure to take less than this part of the memory
MAX_RUNS = 2_000_000
"""Points of a sweep at most: so many are planned in minutes."""
MAX_EVALUATIONS = 1_000_000
"""Evaluations of a run at most: each of its curves is as long."""
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
      FieldError: a value of an axis is not allowed, two are the same number to the runs, or there are more points,
        programs or evaluations than `MAX_RUNS`, `max_compiles` and `MAX_EVALUATIONS`.
    """
    if not isinstance(sweep, Sweep) or not len(sweep):
        raise FieldError("sweep", sweep, "must be made by sweeps.sweep, product, … and have at least one point")
    if len(sweep) > MAX_RUNS:
        raise FieldError("sweep", sweep, f"has {len(sweep):,} points, at most {MAX_RUNS:,} are planned: split it")
    _check_distinct(base, sweep)
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
    _check_curves(groups.values())
    tables = set()
    for template in {structure: group.template for (structure, _), group in groups.items()}.values():
        table = (type(template.task), jax.tree.structure(template.task))
        _check_model(template, table in tables)
        tables.add(table)
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
        longest, every = max(steps for steps, _ in group.budgets), group.template.training.evaluate_every
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


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a plan will cost, at most.

    Attributes:
      seconds: to train all pending runs to their budgets, and to compile; runs that end early take less.
      bytes: on one device, of two blocks of the largest program.
      widths: lanes per block of each group, in the plan's order.
      milliseconds: per lane-step of each group.
      memory: bytes of one block of each group.
      devices: how many train.
    """

    seconds: float
    bytes: int
    widths: list[int]
    milliseconds: list[float]
    memory: list[int]
    devices: int


def predict(plan: Plan, held: Mapping[str, Any], width: int | None = None, devices: int | None = None) -> Prediction:
    """Foretells memory and time from one short measurement of the plan's largest group, scaled by FLOPs to the others.

    Nothing of the sweep is trained: what is timed are scratch copies of one run. Where they might not fit into memory,
    nothing is timed, and a step is taken to run at a usual rate.

    Args:
      plan: less what is stored.
      held: widths that are written down (`sweeps.widths`).
      width: lanes of every block, if asked for.
      devices: how many train; all when None.
    """
    used, groups = jax.local_devices()[:devices], [g for g in plan.groups if g.pending]
    if not groups:
        return Prediction(0.0, 0, [], [], [], len(used))
    lanes = [widths.chosen(g.template, used[0], held, width)["lanes"] for g in groups]
    reference = _reference(groups[0].template, used, lanes[0])
    first, first_bytes = step_flops(groups[0].template), widths.lane_bytes(groups[0].template)
    milliseconds, memory = [], []
    for group, wide in zip(groups, lanes):
        milliseconds.append(reference.milliseconds * step_flops(group.template) / first)
        size = reference.bytes * widths.lane_bytes(group.template) / first_bytes
        memory.append(int(size * wide / reference.width))
    training_seconds = sum(g.steps * ms for g, ms in zip(groups, milliseconds)) / 1e3 / len(used)
    compiling = reference.compile_seconds * len(groups)
    return Prediction(training_seconds + compiling, 2 * max(memory), lanes, milliseconds, memory, len(used))


def _reference(experiment: Experiment, devices: list[Any], lanes: int) -> Measured:
    size = widths.lane_bytes(experiment) * lanes
    if size * len(devices) < device_bytes(devices[0]) / MEASURED_SHARE:
        return measured(experiment, devices, lanes)
    return Measured(lanes, 1e3 * step_flops(experiment) / widths.RATE, capacity(experiment), 0.0, int(size))


def _check_model(template: Experiment, seen: bool) -> None:
    """Traces one step and one evaluation, and looks at one table of examples, before anything of them compiles.

    Args:
      template: the first run of a structure.
      seen: whether a table of its task was looked at before.

    Raises:
      FieldError: names what has the wrong shape or range, or fails; its cause is the error.
    """
    task, name, network = template.task, type(template.task).__name__, type(template.model).__name__
    numbers, rows = training.numbers(template), training.Rows.of(task)
    total = int(rows.counts.sum())
    step = lambda e, d, s: training.step(e, d, capacity(template), s)  # noqa: E731
    evaluate = lambda e, d, s: training.evaluate(e, d, capacity(template), s)  # noqa: E731
    with training.numerics(numbers):
        with _traced("task", name, "its examples cannot be made"):
            data = jax.eval_shape(training.load, numbers, rows)
        _check_table(task, name, data, rows)
        with _traced("model", network, f"cannot be made for the examples of {name}"):
            variables = jax.eval_shape(training.variables, numbers, data)
        _check_variables(network, variables)
        with _traced("optimizer", type(template.optimizer).__name__, "cannot be made for these parameters"):
            _check_transform(template.optimizer)
            state = jax.eval_shape(training.init, numbers, data)
        with _traced("model", network, f"cannot be applied to the examples of {name}"):
            outputs = jax.eval_shape(training.apply, numbers, state.params, data.inputs)
            if models.is_random(template.model):
                jax.eval_shape(training.apply, numbers, state.params, data.inputs, state.step)
        if getattr(outputs, "shape", None) != (total, task.outputs):
            found = f"outputs of shape {outputs.shape}" if hasattr(outputs, "shape") else type(outputs).__name__
            raise FieldError("model", network, f"gives {found} where the task needs {(total, task.outputs)}")
        for part, function in (("loss", template.loss), ("task.correct", task.correct)):
            with _traced(part, type(getattr(template, part, task)).__name__, f"fails on the outputs of {network}"):
                values = jax.eval_shape(function, outputs, data.labels)
            shape = getattr(values, "shape", None)
            if shape != (total,):
                raise FieldError(part, shape, f"must give one value per row, shape {(total,)}")
            if part == "loss" and not jnp.issubdtype(values.dtype, jnp.floating):
                raise FieldError(part, str(values.dtype), "must give real numbers")
        splits = [*rows.names, *(s for s in data.splits if s not in rows.names)]
        for split in template.training.stop_splits:
            if split not in splits:
                raise FieldError("training.stop_splits", split, f"must be among {', '.join(splits)}")
        with _traced("optimizer", type(template.optimizer).__name__, "no step can be made"):
            traced, stepped = jax.make_jaxpr(step, return_shape=True)(numbers, data, state)
        if jax.tree.map(_kind, stepped) != jax.tree.map(_kind, state):
            why = "a step changes the shape or dtype of the parameters or of its state"
            raise FieldError("optimizer", type(template.optimizer).__name__, why)
        with _traced("training.probes", list(template.training.probes), "cannot be measured"):
            jax.eval_shape(evaluate, numbers, data, state)
        _check_memory(template, data, state, _largest(traced.jaxpr))
        if total <= LOOKED_AT and not seen:
            _check_values(task, name, jax.device_get(jax.jit(training.load)(numbers, rows)))


@contextlib.contextmanager
def _traced(part: str, name: Any, what: str) -> Iterator[None]:
    """Names the part of an experiment that fails; the error itself is the cause."""
    try:
        yield
    except FieldError:
        raise
    except Exception as error:
        raise FieldError(part, name, f"{what}: {first_line(error)}") from error


def _check_table(task: Any, name: str, data: training.Data, rows: training.Rows) -> None:
    total = int(rows.counts.sum())
    if data.inputs.ndim < 1 or data.inputs.shape[0] != total:
        found = data.inputs.shape[0] if data.inputs.ndim else "no"
        raise FieldError("task", name, f"examples() gives {found} rows where rows() promises {total}")
    if data.labels.shape[:1] != (total,) or (type(task).correct is Task.correct and data.labels.ndim != 1):
        raise FieldError("task", name, f"has labels of shape {data.labels.shape} where {(total,)} is needed")
    for split, mask in data.splits.items():
        if mask.shape != (total,) or mask.dtype != bool:
            found = f"{mask.dtype} {mask.shape}"
            raise FieldError(
                "task", name, f"has the split {split!r} as {found} where a mask, bool {(total,)}, is needed"
            )


def _check_variables(network: str, variables: Any) -> None:
    others = sorted(set(variables) - {"params"})
    if others:
        why = f"has variables beside its parameters ({', '.join(others)}), which training does not keep"
        raise FieldError("model", network, f"{why}: use a network without them, such as one with layer norm")
    if not jax.tree.leaves(variables):
        raise FieldError("model", network, "has no parameters to train")


def _check_transform(optimizer: Any) -> None:
    made = optimizer.transform()
    if not callable(getattr(made, "init", None)) or not callable(getattr(made, "update", None)):
        what = type(made).__name__
        raise FieldError(
            "optimizer", type(optimizer).__name__, f"transform() gives {what}, not an optax transformation"
        )


def _check_memory(template: Experiment, data: Any, state: Any, largest: int) -> None:
    """Refuses a run whose rows, state and largest array in a product, with gradients, exceed the device's memory."""
    size = lambda tree: sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))  # noqa: E731
    needed = size(data) + size(state) + size(state.params) + 2 * largest
    held = device_bytes(jax.local_devices()[0])
    if needed > held:
        parts = f"{type(template.task).__name__}, {type(template.model).__name__}"
        why = f"one run needs at least {needed / 2**30:.1f} GiB of memory, the device has {held / 2**30:.1f}"
        raise FieldError("task, model", parts, why)


def _largest(jaxpr: Any) -> int:
    """Bytes of the largest array that a matrix product of a traced function takes or gives: these are never fused."""
    found = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            arrays = [v.aval for v in (*equation.invars, *equation.outvars)]
            found = max([found, *(math.prod(a.shape) * a.dtype.itemsize for a in arrays)])
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns")):
            if hasattr(inner, "eqns"):
                found = max(found, _largest(getattr(inner, "jaxpr", inner)))
    return found


def _kind(array: Any) -> tuple:
    return array.shape, array.dtype


def _check_values(task: Any, name: str, data: training.Data) -> None:
    kinds = [("inputs", data.inputs, task.vocabulary, "vocabulary")]
    kinds.append(("labels", data.labels, task.outputs if type(task).correct is Task.correct else None, "outputs"))
    for what, values, size, limit in kinds:
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            rows = int((~np.isfinite(values)).reshape(len(values), -1).any(1).sum())
            raise FieldError("task", name, f"has {what} that are not finite (NaN or infinite) in {rows} rows")
        if size is not None and np.issubdtype(values.dtype, np.integer):
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= size:
                raise FieldError(
                    "task", name, f"has {what} from {low} to {high}: {limit} = {size} allows 0 to {size - 1}"
                )
