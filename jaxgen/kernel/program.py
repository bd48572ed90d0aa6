"""The compiled form of one signature: a block of W lanes, trained side by side for a chunk of steps."""

import dataclasses
import enum
import functools
import gc
import math
import threading
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen import training
from jaxgen.experiment import Experiment
from jaxgen.kernel.mappings import crowded
from jaxgen.optimizers.parts import same_bits
from jaxgen.training import Passes, Rows, State, capacity

MAX_INTERVALS = 128
LANES = "lanes"  # the axis that a block is mapped over


class Status(enum.IntEnum):
    """Where a lane stands: what `Result.status` says in words."""

    IDLE = -1
    RUNNING = 0
    FINISHED = 1  # trained to its budget
    STOPPED = 2  # ended early by its stop rule
    DIVERGED = 3  # a loss or the weight norm is not finite
    FROZEN = 4  # proved never to change again
    EXACT = 5  # has no steps to make


@flax.struct.dataclass
class Lane:
    """One lane between chunks: its training state, its status, and since when the stop rule holds (-1: it does not)."""

    state: State
    status: jax.Array
    since: jax.Array


@flax.struct.dataclass
class Output:
    """What one chunk tells the host, in few arrays, because each costs a transfer. Probes are in the order of names.

    Attributes:
      ended: uint32 (3, W): status, steps made and a checksum of the parameters' bits after the chunk.
      first: of lanes that started in this chunk, at the steps of `training.opening`, (evaluations, numbers, W): those
        of all probes, vectors and matrices flat.
      later: after each interval, (MAX_INTERVALS, numbers, W); the first (steps made) / evaluate_every of them count.
    """

    ended: jax.Array
    first: jax.Array
    later: jax.Array


class Program:
    """The compiled form of one signature: trains a block of `width` lanes for a chunk of evaluation intervals.

    `platform`: what it is compiled for, "cpu", "tpu", …; JAX's default where it is None.

    Attributes:
      width, capacity: lanes; rows that a full batch can compute.
      traces: how often the program was traced (once, whatever the number of devices).
    """

    def __init__(self, experiment: Experiment, width: int, platform: str | None = None):
        self.template = training.numbers(experiment)
        self.signature, self.width = experiment.signature, width
        self.platform = platform or jax.default_backend()
        self.capacity, self.traces = capacity(experiment), 0
        self.rows, self.opening = self.rows_of(experiment), training.opening(experiment)
        leaves, self._tree = jax.tree.flatten((self.template, self.rows))
        self._leaf_shapes = [np.shape(leaf) for leaf in leaves]
        self._is_whole = [np.issubdtype(leaf.dtype, np.integer) for leaf in leaves]
        self.given = training.start_shapes(experiment)
        self._jitted = jax.jit(self._chunk, donate_argnums=4)
        self._lanes: Lane | None = None  # their shapes
        self._compiled: dict[jax.Device, jax.stages.Compiled] = {}
        self._compiling = threading.Lock()

    def compiled(self, device: jax.Device) -> jax.stages.Compiled:
        """The executable for one device, compiled on first use."""
        with self._compiling:  # one after another: where compilations are kept, the first serves the others
            if (found := self._compiled.get(device)) is None:
                if crowded():
                    gc.collect()  # cycles of references hold what was given up
                lowered = self.lowered(device)
                with training.numerics(self.template):
                    found = lowered.compile(compiler_options=training.compiler_options())
                self._compiled[device] = found
        return found

    def forget(self) -> None:
        """Gives up the executables, which are compiled again where they are asked for."""
        if self._compiled:
            self._compiled.clear()
            self._jitted = jax.jit(self._chunk, donate_argnums=4)  # what JAX keeps of the other goes with it

    def lowered(self, device: jax.Device) -> jax.stages.Lowered:
        """The program for one device, before it is compiled."""
        with training.numerics(self.template):
            sharding = jax.sharding.SingleDeviceSharding(device)
            place = lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)  # noqa: E731
            shapes = jax.tree.map(place, self.shapes())
            return self._jitted.lower(*shapes)

    def rows_of(self, experiment: Experiment) -> Rows:
        """A run's rows, computed in a way that suits so many lanes and the platform."""
        rows = Rows.of(experiment)
        if not isinstance(rows.passes, Passes):
            return rows
        if self.platform == "tpu":
            return rows.sliced(LANES if self.width > 1 else None)
        return dataclasses.replace(rows, passes=dataclasses.replace(rows.passes, branch=self.width == 1))

    def shapes(self) -> tuple:
        """Shapes of the program's arguments: the runs' real and whole numbers and starts, control, lanes (`_chunk`)."""
        reals, wholes = (np.repeat(row[None], self.width, 0) for row in self.pack(self.template, self.rows))
        given = jax.tree.map(lambda a: jax.ShapeDtypeStruct((self.width, *a.shape), a.dtype), self.given)
        if self._lanes is None:  # tracing takes longer than a small block's chunk
            with training.numerics(self.template):
                self._lanes = jax.eval_shape(self._started, reals, wholes, given)
        return reals, wholes, given, np.zeros(2 + self.width, np.int32), self._lanes

    def pack(self, numbers: Experiment, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """A run's numbers and row counts as two vectors: what is real, and what is whole (int32)."""
        leaves = jax.tree.leaves((numbers, rows))
        real, whole = (
            [np.ravel(leaf) for leaf, is_whole in zip(leaves, self._is_whole) if is_whole == wanted]
            for wanted in (False, True)
        )
        return np.concatenate([np.zeros(0, self.template.training.dtype), *real]), np.concatenate(whole)

    def _unpack(self, reals: jax.Array, wholes: jax.Array) -> tuple[Experiment, Rows]:
        """The inverse of `pack` for arrays with a leading lane axis."""
        leaves, at = [], {False: 0, True: 0}
        for shape, is_whole in zip(self._leaf_shapes, self._is_whole):
            size, start = math.prod(shape), at[is_whole]
            part = (wholes if is_whole else reals)[:, start : start + size]
            leaves.append(part.reshape(part.shape[0], *shape))
            at[is_whole] += size
        return jax.tree.unflatten(self._tree, leaves)

    def memory(self, device: jax.Device) -> int:
        """Bytes on the device while one block runs: arguments, results and temporaries, less what is shared."""
        stats = self.compiled(device).memory_analysis()
        if stats is None:
            return 0
        used = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
        return used - stats.alias_size_in_bytes

    def _chunk(self, reals, wholes, given, control, lanes):
        """A chunk. `control` is (at most so many intervals, end below so many running lanes, which lanes are fresh)."""
        self.traces += 1
        experiments, rows = self._unpack(reals, wholes)
        intervals, least, fresh = control[0], control[1], control[2:] > 0
        first = len(self.opening)
        gaps = np.append(np.diff(self.opening, prepend=self.opening[:1]), self.template.training.evaluate_every)
        data, axes = self._loaded(experiments, rows, given)

        def train_interval(steps, left, experiment, arrays, lane, fresh):
            data = jax.tree.unflatten(self._data, arrays)
            state, measured = training.interval(experiment, data, lane.state, steps)
            new = after_evaluation(experiment, measured, lane, state)
            if self.template.training.stop_frozen:
                at_rest = (left == 0) & (new.status == Status.RUNNING)
                at_rest &= same_bits(lane.state.params, state.params)
                at_rest &= training.frozen(experiment, data, state)
                new = new.replace(status=jnp.where(at_rest, jnp.int32(Status.FROZEN), new.status))
            new = self._opened(experiment, lane, new, left)
            running = (lane.status == Status.RUNNING) & (fresh | (left == 0))
            return jax.tree.map(lambda a, b: jnp.where(running, a, b), new, lane), measured

        def enough_run(carry):
            i, lanes, _ = carry
            enough = jnp.sum(lanes.status == Status.RUNNING, dtype=jnp.int32) >= least
            return (i < first) | ((i < first + intervals) & enough)

        def interval(carry):
            i, lanes, curves = carry
            steps = jnp.asarray(gaps, jnp.int32)[jnp.minimum(i, first)]
            one = functools.partial(train_interval, steps, jnp.maximum(first - i, 0))
            lanes, measured = self._each(one, (0, axes, 0, 0))(experiments, data, lanes, fresh)
            return i + 1, lanes, curves.at[i].set(jnp.moveaxis(self._each(self._stacked)(measured), 0, -1))

        def renew(lanes):
            choose = lambda fresh, a, b: jax.tree.map(lambda a, b: jnp.where(fresh, a, b), a, b)  # noqa: E731
            begun = self._begun(experiments, data, axes, given)
            return self._each(choose)(fresh, begun, lanes)

        lanes = jax.lax.cond(jnp.any(fresh), renew, lambda lanes: lanes, lanes)
        curves = jnp.zeros((first + MAX_INTERVALS, self.numbers, self.width), self.template.training.dtype)
        start = jnp.where(jnp.any(fresh), jnp.int32(0), jnp.int32(first))
        _, lanes, curves = jax.lax.while_loop(enough_run, interval, (start, lanes, curves))
        ended = lanes.status.astype(jnp.uint32), lanes.state.step.astype(jnp.uint32)
        ended = jnp.stack([*ended, self._each(checksum)(lanes.state.params)])
        return lanes, Output(ended, curves[:first], curves[first:])

    def _opened(self, experiment, lane, judged, left):
        """The lane after an evaluation; of its opening, in which `left` are left with this, by the last alone."""
        alone = len(self.opening) == 1  # at step 0 the rule does not hold yet
        counts = (left == 0) | ((left == 1) & (experiment.training.steps == 0 if alone else True))
        choose = lambda new, old: jnp.where(counts, new, old)  # noqa: E731
        return judged.replace(status=choose(judged.status, lane.status), since=choose(judged.since, lane.since))

    def _begun(self, experiments, data, axes, given):
        """Every lane's run as it begins, before its first evaluation."""

        def begun(experiment, arrays, given):
            state = training.init(experiment, jax.tree.unflatten(self._data, arrays), given)
            return Lane(state, jnp.int32(Status.RUNNING), jnp.int32(-1))

        return self._each(begun, (0, axes, 0))(experiments, data, given)

    def _started(self, reals, wholes, given):
        """Every lane's run as it begins, of the program's arguments."""
        experiments, rows = self._unpack(reals, wholes)
        return self._begun(experiments, *self._loaded(experiments, rows, given), given)

    def _loaded(self, experiments, rows, given):
        """The arrays of every lane's rows, and the axis that counts lanes; None: one array that all lanes share."""
        each = lambda: jax.tree.leaves(self._each(training.load)(experiments, rows, given))  # noqa: E731
        if self.width == 1:
            return each(), 0
        shared = self._shared
        one = jax.tree.map(lambda a: a[0], (experiments, rows, given))
        alone = jax.tree.leaves(training.load(*one)) if any(shared) else [None] * len(shared)
        lanes = alone if all(shared) else each()
        return [a if same else b for a, b, same in zip(alone, lanes, shared)], [None if same else 0 for same in shared]

    @functools.cached_property
    def _shared(self) -> list[bool]:
        """Which arrays of the rows are the same for all runs: no number of a run goes into them."""
        jaxpr = jax.make_jaxpr(training.load)(self.template, self.rows, self.given).jaxpr
        found = {*jaxpr.invars}
        for equation in jaxpr.eqns:
            if any(isinstance(v, jax.extend.core.Var) and v in found for v in equation.invars):
                found.update(equation.outvars)
        return [isinstance(v, jax.extend.core.Literal) or v not in found for v in jaxpr.outvars]

    @functools.cached_property
    def _data(self):
        return jax.tree.structure(jax.eval_shape(training.load, self.template, self.rows, self.given))

    def _each(self, function: Callable, axes: Any = 0) -> Callable:
        """`function` for every lane. A lane alone is not mapped over: its loops end and its branches go as it says."""
        if self.width > 1:
            return jax.vmap(function, in_axes=axes, axis_name=LANES)
        alone = lambda *lanes: function(*jax.tree.map(lambda a: a[0], lanes))  # noqa: E731
        return lambda *lanes: jax.tree.map(lambda a: a[None], alone(*lanes))

    @functools.cached_property
    def probes(self) -> dict[str, tuple[int, ...]]:
        """What is measured, in the order of `Output`: names, and the shape of each."""
        data, state, _ = training.shapes(self.template, self.given)
        with training.numerics(self.template):
            measured, _ = jax.eval_shape(training.evaluate, self.template, data, state)
        return {name: measured[name].shape for name in sorted(measured)}

    @property
    def numbers(self) -> int:
        """How many numbers are measured in an evaluation."""
        return sum(math.prod(shape) for shape in self.probes.values())

    def _stacked(self, measured: dict[str, jax.Array]) -> jax.Array:
        return jnp.concatenate([jnp.ravel(measured[name]) for name in self.probes])

    def unstacked(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Probes by name, (evaluations, …), from one lane's (evaluations, numbers)."""
        ends = np.cumsum([math.prod(shape) for shape in self.probes.values()])[:-1]
        parts = zip(self.probes.items(), np.split(numbers, ends, axis=1))
        return {name: part.reshape(len(part), *shape) for (name, shape), part in parts}


def after_evaluation(experiment: Experiment, measured: dict[str, jax.Array], lane: Lane, state: State) -> Lane:
    """The lane after an interval: diverged, stopped by its rule, finished, or still running."""
    t, step = experiment.training, state.step
    watched = [measured[f"{split}/{t.stop_metric}"] for split in t.stop_splits if t.stop_metric is not None]
    reached = jnp.bool_(bool(watched)) & (t.stop_patience > 0)
    for value in watched:
        reached &= (value <= t.stop_threshold) if t.stop_below else (value >= t.stop_threshold)
    since = jnp.where(reached, jnp.where(lane.since < 0, step, lane.since), jnp.int32(-1))
    kept = reached & (step - since >= t.stop_patience)
    finite = jnp.all(jnp.stack([jnp.isfinite(measured[k]) for k in ("train/loss", "weight_norm") if k in measured]))
    ended = jnp.where(t.steps > 0, jnp.int32(Status.FINISHED), jnp.int32(Status.EXACT))
    status = jnp.where(step >= t.steps, ended, jnp.int32(Status.RUNNING))
    status = jnp.where(kept, jnp.int32(Status.STOPPED), status)
    status = jnp.where(finite, status, jnp.int32(Status.DIVERGED))
    return Lane(state, status, since)


def checksum(params: optax.Params) -> jax.Array:
    """A uint32 that changes when a bit of the parameters does: Σ bits of each tensor, folded as h ← 31 h + Σ."""
    total = jnp.uint32(0)
    for w in jax.tree.leaves(params):
        total = total * jnp.uint32(31) + jnp.sum(jax.lax.bitcast_convert_type(w, jnp.uint32), dtype=jnp.uint32)
    return total
