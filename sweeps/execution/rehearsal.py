"""Tries a run on shapes alone before anything compiles: what breaks its promise is named, and the error its cause."""

import contextlib
import functools
import math
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import Experiment, FieldError, Task, lapack, models, optimizers, starts, training
from jaxgen.errors import first_line
from jaxgen.jaxprs import inside
from jaxgen.losses import of_step
from jaxgen.paths import by_name, in_group
from jaxgen.signatures import takes
from jaxgen.starts import Solve, parent
from jaxgen.tasks import has_classes, innermost, is_stream
from sweeps.execution.profile import device_bytes

Shapes = Mapping[str, Any]  # a tree of `jax.ShapeDtypeStruct`
OURS = Path(training.__file__).parent
NONLINEAR = 1e-2  # share of the outputs that rounding does not explain
LOOKED_AT = 1_000_000  # rows of a table whose values are checked
STEP = {
    "batch": "task",
    "forward": "model",
    "losses": "loss",
    **dict.fromkeys(("optimizer", "update", "step"), "optimizer"),
}
"""Of which part what the functions of `jaxgen.training` call in a step is; the rest takes gradients."""


def rehearse(template: Experiment, seen: bool) -> str:
    """Traces one step and one evaluation, and looks at one table of examples, before anything of them compiles.

    Args:
      template: the first run of a structure.
      seen: whether a table of its task was looked at before.

    Returns:
      Which routines of LAPACK it calls for all lanes of a block at once (`jaxgen.lapack`): "svd of training.probes".

    Raises:
      FieldError: names what has the wrong shape or range, or fails; its cause is the error.
    """
    task, name, network = template.task, type(template.task).__name__, type(template.model).__name__
    numbers, rows = training.numbers(template), training.Rows.of(template)
    total, at_once, at_start = int(rows.counts.sum()), [], 0
    with training.numerics(numbers):
        held = _held(template)
        with _traced("task", name, "its examples cannot be made"):
            traced, data = jax.make_jaxpr(training.load, return_shape=True)(numbers, rows, held)
        at_once += _calls_lapack("task", name, traced)
        _check_table(task, name, data, rows)
        if is_stream(task):
            _check_stream(template, name, data, numbers)
        elif getattr(task, "practice", None) is not None:
            _check_practice(template, name, data, numbers)
        with _traced("model", network, f"cannot be made for the examples of {name}"):
            traced, variables = jax.make_jaxpr(training.variables, return_shape=True)(numbers, data)
        at_once += _calls_lapack("model", network, traced)
        _check_variables(template, network, variables)
        _check_groups(template.model, variables["params"])
        with _traced("optimizer", type(template.optimizer).__name__, "cannot be made for these parameters"):
            _check_transform(template)
            state = jax.eval_shape(training.init, training.numbers(template.override({"start": None})), data)
        if template.start is not None:
            with _traced("start", type(template.start).__name__, "gives no weights to start with"):
                traced, state = jax.make_jaxpr(training.init, return_shape=True)(numbers, data, _given(template))
            at_once += _calls_lapack("start", type(template.start).__name__, traced)
            at_start = _largest(traced.jaxpr)
            for at, one in _solves(template.start).items():
                _check_linear(template, at, one, rows, held)
        with _traced("model", network, f"cannot be applied to the examples of {name}"):
            outputs = jax.eval_shape(training.apply, numbers, state.params, data.inputs, kept=state.kept)
            if models.is_random(template.model) or state.kept:
                jax.eval_shape(training.apply, numbers, state.params, data.inputs, state.step, state.kept)
        classes = jnp.issubdtype(data.labels.dtype, jnp.integer)
        needed = (*(data.labels.shape if classes else (total,)), task.outputs)
        if getattr(outputs, "shape", None) != needed:
            found = f"outputs of shape {outputs.shape}" if hasattr(outputs, "shape") else type(outputs).__name__
            raise FieldError("model", network, f"gives {found} where the task needs {needed}")
        losses = _check_values_of("loss", template.loss, network, outputs, data.labels, state.step)
        if data.weights is not None and data.weights.ndim > losses.ndim:
            why = f"has weights of shape {data.weights.shape}, but the loss gives one value per row: give {(total,)}"
            raise FieldError("task", name, why)
        if type(innermost(task)).metrics is Task.metrics:
            _check_values_of("task.correct", task.correct, network, outputs, data.labels, None)
        splits = [*rows.names, *(s for s in data.splits if s not in rows.names)]
        for split in template.training.stop_splits:
            if split not in splits:
                raise FieldError("training.stop_splits", split, f"must be among {', '.join(splits)}")
        with _traced_step(template):
            traced, stepped = jax.make_jaxpr(training.step, return_shape=True)(numbers, data, state)
        if jax.tree.map(_kind, stepped) != jax.tree.map(_kind, state):
            why = "a step changes the shape or dtype of the parameters or of its state"
            raise FieldError("optimizer", type(template.optimizer).__name__, why)
        parts = ", ".join(type(part).__name__ for part in (template.model, template.loss, template.optimizer))
        at_once += _calls_lapack("model, loss, optimizer", parts, traced)
        at_once += _check_probes(template, numbers, data, state)
        _check_memory(template, data, state, max(at_start, _largest(traced.jaxpr)))
        if total <= LOOKED_AT and not seen:
            zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), held)
            load = jax.jit(training.load, compiler_options=training.compiler_options())
            _check_values(task, name, jax.device_get(load(numbers, rows, zeros)))
    return ", ".join(dict.fromkeys(at_once))


def _calls_lapack(part: str, name: object, traced: Any) -> list[str]:
    """What a traced function calls of LAPACK for all lanes at once. Refuses several matrices at once in each."""
    found = [*lapack.calls(traced.jaxpr)]
    for call in found if len(jax.local_devices(backend="cpu")) > 1 and jax.default_backend() == "cpu" else ():
        if call.matrices > 1:
            why = (
                f"calls {call.routine} for {call.matrices} matrices at once, for which several devices of a CPU may "
                "wait for ever: take them in turn, by jax.lax.map without batch_size, or by jax.vmap of a function "
                "under jaxgen.one_by_one"
            )
            raise FieldError(part, name, why)
    return [f"{call.routine} of {part}" for call in found if not call.in_turn]


@contextlib.contextmanager
def _traced(part: str, name: object, what: str) -> Iterator[None]:
    """Names the part of an experiment that fails; the error itself is the cause."""
    try:
        yield
    except FieldError:
        raise
    except (Exception, SystemExit) as error:
        raise FieldError(part, name, f"{what}: {first_line(error)}") from error


@contextlib.contextmanager
def _traced_step(template: Experiment) -> Iterator[None]:
    """Names the part that a step was calling when it failed; both where gradients were on their way back."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = [f.name for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == OURS]
        parts = [STEP[frames[-1]]] if frames[-1] in STEP else ["model", "loss"]
        names = ", ".join(type(getattr(template, part)).__name__ for part in parts)
        with _traced(", ".join(parts), names, "no step can be made"):
            raise


def _check_table(task: Task, name: str, data: training.Data, rows: training.Rows) -> None:
    total = int(rows.counts.sum())
    if data.inputs.ndim < 1 or data.inputs.shape[0] != total:
        found = data.inputs.shape[0] if data.inputs.ndim else "no"
        raise FieldError("task", name, f"examples() gives {found} rows where rows() promises {total}")
    if data.labels.shape[:1] != (total,):
        raise FieldError("task", name, f"has labels of shape {data.labels.shape} where {(total,)} is needed")
    if data.weights is not None and data.weights.shape not in ((total,), data.labels.shape):
        needed = f"{(total,)} or {data.labels.shape}"
        raise FieldError("task", name, f"has weights of shape {data.weights.shape} where {needed} is needed")
    for split, mask in data.splits.items():
        if mask.shape != (total,) or mask.dtype != bool:
            found = f"{mask.dtype} {mask.shape}"
            raise FieldError(
                "task", name, f"has the split {split!r} as {found} where a mask, bool {(total,)}, is needed"
            )


def _check_variables(template: Experiment, network: str, variables: Shapes) -> None:
    others, whole = sorted(set(variables) - {"params"}), template.training.batch_size is None
    if others and whole and not takes(type(template.model).__call__, "mask"):
        why = f"keeps {', '.join(others)} of the rows it sees, and a full batch has some that are not trained on"
        raise FieldError("model", network, f"{why}: take `mask` in __call__, or set training.batch_size")
    if not jax.tree.leaves(variables.get("params", {})):
        raise FieldError("model", network, "has no parameters to train")


def _solves(start: object) -> dict[str, Solve]:
    """What is solved for, by its path: the start itself, or some of its transforms."""
    parts = {"start": start} | {f"start.transforms.{i}": t for i, t in enumerate(getattr(start, "transforms", ()))}
    return {path: part for path, part in parts.items() if isinstance(part, Solve)}


def _check_linear(template: Experiment, at: str, start: Solve, rows: training.Rows, held: Shapes) -> None:
    """Refuses to solve for parameters that outputs are not linear in, as they are found on the run's own rows."""
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), held)

    @functools.partial(jax.jit, compiler_options=training.compiler_options())
    def bend(numbers, rows):
        data = training.load(numbers, rows, nothing)
        state = training.init(numbers, data)
        return start.bend(state.params, training.fit(numbers, data, state.kept))

    if not bend(training.numbers(template.override({"start": None})), rows) <= NONLINEAR:
        why = "are no parameters in which the outputs are linear: name those of the last layer"
        raise FieldError(f"{at}.parameters", start.parameters, why)


def _given(template: Experiment) -> Shapes:
    """The shapes that a run starts with, as they are found at the end of the one that it starts from."""
    first = parent(template)
    if first is None:
        return {}
    with _traced("start.parent", first.run_id, "cannot be made"):
        ended = jax.eval_shape(functools.partial(training.named, first), training.shapes(first)[1])
    return starts.given(template, training.start_shapes(template), ended)


def _held(template: Experiment) -> Shapes:
    """The shapes of what the run that a run starts from keeps for others."""
    first = parent(template)
    if first is None:
        return {}
    with _traced("start.parent", first.run_id, "cannot be made"):
        return {"held": training.held_shapes(template)}


def _check_stream(template: Experiment, name: str, data: training.Data, numbers: Experiment) -> None:
    """That what a task draws for a step is like the rows of its table; of rows with many labels it may be shorter."""
    size = template.training.batch_size
    with _traced("task", name, "its rows of a step cannot be drawn"):
        found = jax.eval_shape(training.buckets, numbers, data, jax.ShapeDtypeStruct((), jnp.int32))
    if len(found) > 1 and (total := sum(len(one.mask) for one in found)) != size:
        raise FieldError("task", name, f"draws {total} rows in {len(found)} buckets where {size} are needed")
    parts = [(one, what, getattr(one, what), getattr(data, what)) for one in found for what in ("inputs", "labels")]
    for one, what, drawn, held in parts:
        length = held.shape[1:2]
        if data.labels.ndim > 1 and one.inputs.shape[1:2] == one.labels.shape[1:2] and drawn.shape[1:2] < length:
            length = drawn.shape[1:2]
        needed = jax.ShapeDtypeStruct((len(one.mask) if len(found) > 1 else size, *length, *held.shape[2:]), held.dtype)
        if _kind(drawn) != _kind(needed):
            shown = f"{drawn.dtype} {drawn.shape}"
            raise FieldError("task", name, f"draws {what} as {shown} where {needed.dtype} {needed.shape} are needed")


def _check_practice(template: Experiment, name: str, data: training.Data, numbers: Experiment) -> None:
    """That what a task makes of the rows of a step is as many rows, for the same network."""
    with _traced("task", name, "its practice fails"):
        (found,) = jax.eval_shape(training.buckets, numbers, data, jax.ShapeDtypeStruct((), jnp.int32))
    inputs, labels, mask, _ = found
    needed = jax.ShapeDtypeStruct((*mask.shape, *data.inputs.shape[1:]), data.inputs.dtype)
    if _kind(inputs) != _kind(needed):
        shown = f"{inputs.dtype} {inputs.shape}"
        raise FieldError("task", name, f"practices on inputs {shown} where {needed.dtype} {needed.shape} are needed")
    if labels.shape[:1] != mask.shape:
        raise FieldError("task", name, f"practices on labels of shape {labels.shape} where {mask.shape} is needed")


def _check_values_of(part: str, function: Any, network: str, outputs: Any, labels: Any, step: Any) -> Any:
    """What a loss, or `Task.correct`, gives: one value per label, or per row."""
    called = function if step is None else lambda z, y, s: of_step(function, z, y, s)
    owner = getattr(function, "__self__", function)
    with _traced(part, type(owner).__name__, f"fails on the outputs of {network}"):
        values = jax.eval_shape(called, outputs, labels, *([] if step is None else [step]))
    shape = getattr(values, "shape", None)
    if shape not in (outputs.shape[:-1], labels.shape):
        raise FieldError(part, shape, f"must give one value per label, shape {outputs.shape[:-1]}")
    if part == "loss" and not jnp.issubdtype(values.dtype, jnp.floating):
        raise FieldError(part, str(values.dtype), "must give real numbers")
    return values


def _check_probes(template: Experiment, numbers: Experiment, data: training.Data, state: training.State) -> list[str]:
    """Looks at what is measured; what that calls of LAPACK for all lanes at once."""
    t = template.training
    names = [type(probe).__name__ for probe in t.probes]
    with _traced("training.probes", names, "cannot be measured"):
        traced, (measured, after) = jax.make_jaxpr(training.evaluate, return_shape=True)(numbers, data, state)
    if jax.tree.map(_kind, after.memory) != jax.tree.map(_kind, state.memory):
        raise FieldError("training.probes", names, "a memory changes its shape or dtype")
    for name, value in measured.items():
        if not value.size:
            raise FieldError(
                "training.probes", name, f"is measured as an array of shape {value.shape}: nothing is in it"
            )
    for split in t.stop_splits if t.stop_metric is not None else ():
        if f"{split}/{t.stop_metric}" not in measured:
            known = [name.removeprefix(f"{split}/") for name in measured if name.startswith(f"{split}/")]
            why = (
                f"must be measured: {', '.join(known)} of {split} are (the task's own by the probe 'metrics'); or None"
            )
            raise FieldError("training.stop_metric", t.stop_metric, why)
    return _calls_lapack("training.probes", names, traced)


def _check_groups(model: Any, params: Shapes) -> None:
    """Refuses patterns that a network declares for its parameters, and that match none of them."""
    known = [*by_name(params)]
    for name, patterns in models.groups(model).items():
        if patterns and not any(in_group(path, patterns) for path in known):
            some = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise FieldError(f"model.groups.{name}", patterns, f"matches none of the parameters {some}")


def _check_transform(template: Experiment) -> None:
    optimizer = template.optimizer
    made = optimizers.transform_of(optimizer, models.groups(template.model))
    if not callable(getattr(made, "init", None)) or not callable(getattr(made, "update", None)):
        what = type(made).__name__
        raise FieldError(
            "optimizer", type(optimizer).__name__, f"transform() gives {what}, not an optax transformation"
        )


def _check_memory(template: Experiment, data: training.Data, state: training.State, largest: int) -> None:
    """Refuses a run whose rows, state and largest array in a product, with gradients, exceed the device's memory."""
    size = lambda tree: sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))  # noqa: E731
    needed = size(data) + size(state) + size(state.params) + 2 * largest
    held = device_bytes(jax.local_devices()[0])
    if needed > held:
        solved = [*_solves(template.start).values()]
        parts = [type(part).__name__ for part in (template.task, template.model, *solved)]
        fields = "task, model, start" if solved else "task, model"
        why = f"one run needs at least {needed / 2**30:.1f} GiB of memory, the device has {held / 2**30:.1f}: "
        why += "fewer rows, outputs or parameters take less"
        raise FieldError(fields, ", ".join(parts), why)


def _largest(jaxpr: Any) -> int:
    """Bytes of the largest array that a matrix product of a traced function takes or gives: these are never fused."""
    found = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            arrays = [v.aval for v in (*equation.invars, *equation.outvars)]
            found = max([found, *(math.prod(a.shape) * a.dtype.itemsize for a in arrays)])
        found = max([found, *map(_largest, inside(equation))])
    return found


def _kind(array: jax.ShapeDtypeStruct) -> tuple:
    return array.shape, array.dtype


def _check_values(task: Task, name: str, data: training.Data) -> None:
    kinds = [("inputs", data.inputs, task.vocabulary, "vocabulary")]
    kinds.append(("labels", data.labels, task.outputs if has_classes(task) else None, "outputs"))
    if data.weights is not None and not (np.isfinite(data.weights) & (np.asarray(data.weights) >= 0)).all():
        raise FieldError("task", name, "has weights that are negative or not finite")
    for split, mask in data.splits.items():
        if data.weights is not None and mask.any() and not np.any(data.weights[mask]):
            raise FieldError("task", name, f"has no weight above 0 in the split {split!r}")
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
