"""Tries a run on shapes alone before anything compiles: what breaks its promise is named, and the error its cause."""

import contextlib
import math
import traceback
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import Experiment, FieldError, Task, models, optimizers, training
from jaxgen.errors import first_line
from jaxgen.kernel import capacity
from jaxgen.optimizers.parts import in_group
from sweeps.profile import device_bytes

LOOKED_AT = 1_000_000  # rows of a table whose values are checked
STEP = {"apply": "model", "objective": "loss", **dict.fromkeys(("optimizer", "update", "step"), "optimizer")}
"""Of which part what the functions of `jaxgen.training` call in a step is; the rest takes gradients."""


def rehearse(template: Experiment, seen: bool) -> None:
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
        _check_groups(template.model, variables["params"])
        with _traced("optimizer", type(template.optimizer).__name__, "cannot be made for these parameters"):
            _check_transform(template)
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
        with _traced_step(template):
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
    except (Exception, SystemExit) as error:
        raise FieldError(part, name, f"{what}: {first_line(error)}") from error


@contextlib.contextmanager
def _traced_step(template: Experiment) -> Iterator[None]:
    """Names the part that a step was calling when it failed; both where gradients were on their way back."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = [f.name for f in traceback.extract_tb(error.__traceback__) if f.filename == training.__file__]
        parts = [STEP[frames[-1]]] if frames[-1] in STEP else ["model", "loss"]
        names = ", ".join(type(getattr(template, part)).__name__ for part in parts)
        with _traced(", ".join(parts), names, "no step can be made"):
            raise


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


def _check_groups(model: Any, params: Any) -> None:
    """Refuses patterns that a network declares for its parameters, and that match none of them."""
    keys = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    known = [jax.tree_util.keystr(key, simple=True, separator=".") for key in keys]
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
