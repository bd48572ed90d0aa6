"""Training of ONE run: rows, initialisation, a step, an evaluation. Nothing here knows of lanes."""

import contextlib
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen import models
from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.optimizers import transform_of
from jaxgen.optimizers.parts import same_bits
from jaxgen.probes import PROBES, Evaluation
from jaxgen.probes.evaluation import masked_mean
from jaxgen.tasks.task import draw

INIT, BATCHES, DATA, NOISE = range(4)  # streams of a seed
REQUIRED_OPTIONS = {"xla_allow_excess_precision": False}  # or XLA computes bfloat16 losses in float32
# On a CPU, products and sums by XLA's library, but not elementwise operations: 10-17 % faster (docs/performance.md).
WELCOME_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"}


@flax.struct.dataclass
class Training:
    """How long and how a run is trained and watched.

    Attributes:
      steps: the budget; a multiple of `evaluate_every`.
      stop_threshold, stop_patience: a run ends early once the accuracies of all `stop_splits` have been at least
        `stop_threshold` for `stop_patience` steps; patience 0 never stops.
      logit_scale: α, multiplies the outputs in the training loss (not in evaluations).
      evaluate_every: steps between two evaluations (there is one at step 0 too).
      evaluate_early: whether there are evaluations at steps 1, 2, 4, 8, … before the first `evaluate_every` too.
      batch_size: rows per step, without replacement from a fresh shuffle each epoch (a last, smaller batch is left
        out); None is full batch.
      dtype: of parameters and optimizer state, "float32" or "float64".
      matmul_precision: "default", "high" or "highest".
      stop_splits: the splits that the stop rule watches.
      stop_frozen: whether a run ends as "frozen" once it is proved that no later step changes a bit of its parameters
        (see `jaxgen.optimizers.Optimizer.at_rest`); costs one step more per evaluation. Full batch only.
      probes: what is measured at each evaluation (`jaxgen.probes.PROBES`).
    """

    steps: int = leaf(3000, "[1, 2147483647]", "budget")
    stop_threshold: float = leaf(0.99, "(0, 1]", "accuracy at which a run may end early")
    stop_patience: int = leaf(0, "[0, 2147483647]", "steps it must have stayed there; 0: never end early")
    logit_scale: float = leaf(1.0, "(0, inf)", "multiplies the outputs in the training loss")
    evaluate_every: int = static(50, "[1, 2147483647]", "steps between evaluations")
    evaluate_early: bool = static(False, doc="evaluations at steps 1, 2, 4, … before the first interval")
    batch_size: int | None = static(None, "[1, 2147483647]", "rows per step; None: all")
    dtype: str = static("float32", ("float32", "float64"), "of parameters and optimizer state")
    matmul_precision: str = static("highest", ("default", "high", "highest"), "of matrix products")
    stop_splits: tuple = static(("train", "test"), doc="splits that the stop rule watches")
    stop_frozen: bool = static(False, doc="whether runs that can never change again end")
    probes: tuple = static(("loss", "accuracy", "weight_norm"), doc="what is measured")

    def check(self):
        if self.steps % self.evaluate_every:
            raise FieldError("steps", self.steps, f"must be a multiple of evaluate_every = {self.evaluate_every}")
        if self.stop_frozen and self.batch_size is not None:
            raise FieldError("stop_frozen", True, "needs full batches (batch_size = None): others differ at every step")
        for name in self.probes:
            if name not in PROBES:
                raise FieldError("probes", name, f"must be among {', '.join(PROBES)}")
        if not self.stop_splits:
            raise FieldError("stop_splits", self.stop_splits, "must name at least one split")
        for name in ("loss", "accuracy"):
            if name not in self.probes:
                raise FieldError("probes", self.probes, f"must have {name!r}: phases are made of it")


@flax.struct.dataclass
class Rows:
    """How many rows each split has: names in the order in which the task lays its rows out, counts int32 (splits,).

    `more` has the other counts of the task, int32.
    """

    names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    counts: jax.Array | np.ndarray
    more: dict[str, Any] = flax.struct.field(default_factory=dict)

    @classmethod
    def of(cls, task: Any) -> "Rows":
        """The exact counts of a task with plain numbers."""
        rows, more = task.rows(), task.counts() if hasattr(task, "counts") else {}
        counts = np.array(list(rows.values()), np.int32)
        return cls(tuple(rows), counts, jax.tree.map(np.int32, more))

    def by_name(self) -> dict[str, Any]:
        """Every count."""
        return {**self.more, **{name: self.counts[i] for i, name in enumerate(self.names)}}


@flax.struct.dataclass
class State:
    """What training changes: parameters, optimizer state, number of steps made."""

    params: Any
    opt_state: Any
    step: jax.Array


@flax.struct.dataclass
class Data:
    """One run's rows, ready to train on: inputs, labels, and every split as a mask (rows,)."""

    inputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array]


def stream(seed: jax.Array, number: int) -> jax.Array:
    """One of the independent random streams of a seed: a threefry key."""
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), number)


def load(experiment: Any, rows: Rows) -> Data:
    """The run's rows, drawn from its split seed, with a mask for each split."""
    examples = draw(experiment.task, stream(experiment.split_seed, DATA), rows.by_name())

    def canonical(x):
        return x.astype(jnp.int32 if jnp.issubdtype(x.dtype, jnp.integer) else experiment.training.dtype)

    inputs, labels = canonical(examples.inputs), canonical(examples.labels)
    index, ends = jnp.arange(inputs.shape[0], dtype=jnp.int32), jnp.cumsum(rows.counts)
    splits = {}
    for i, name in enumerate(rows.names):
        splits[name] = (index >= ends[i] - rows.counts[i]) & (index < ends[i])
    return Data(inputs, labels, {**splits, **examples.splits})


def apply(experiment: Any, params: Any, inputs: jax.Array, step: jax.Array | None = None) -> jax.Array:
    """The network's outputs (rows, outputs): as they are in evaluations or, given a step, in training at that step.

    A network whose `__call__` takes `train` is told, and has random numbers under the name "dropout", of the run's seed
    and the step.
    """
    network: Any = models.bind(experiment.model, experiment.task)
    if step is None or not models.is_random(experiment.model):
        return network.apply({"params": params}, inputs, **models.quiet(experiment.model))
    noise = jax.random.fold_in(stream(experiment.seed, NOISE), step)
    return network.apply({"params": params}, inputs, train=True, rngs={"dropout": noise})


def optimizer(experiment: Any) -> optax.GradientTransformation:
    """The run's optax optimizer. Traced hyperparameters meet optax's integer step count: promotion is its own there."""
    chain = transform_of(experiment.optimizer, models.groups(experiment.model))

    def update(gradients, state, params):
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(gradients, state, params)

    return optax.GradientTransformation(chain.init, update)


def variables(experiment: Any, data: Data) -> dict[str, Any]:
    """What flax makes for the network, by collection, drawn from the seed."""
    model: Any = models.bind(experiment.model, experiment.task)
    return model.init(stream(experiment.seed, INIT), data.inputs[:1], **models.quiet(experiment.model))


def init(experiment: Any, data: Data) -> State:
    """Parameters drawn from the seed, in the training dtype, and a fresh optimizer state."""
    params = jax.tree.map(lambda w: w.astype(experiment.training.dtype), variables(experiment, data)["params"])
    return State(params, optimizer(experiment).init(params), jnp.int32(0))


def shapes(experiment: Any) -> tuple[Data, State, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a run's rows, of its fresh state and of its outputs on all rows. Nothing is computed."""
    values, rows = numbers(experiment), Rows.of(experiment.task)
    with numerics(experiment):
        data = jax.eval_shape(load, values, rows)
        state = jax.eval_shape(init, values, data)
        return data, state, jax.eval_shape(apply, values, state.params, data.inputs)


def decaying(experiment: Any) -> tuple[int, int] | None:
    """How many parameters the weight decay acts on, and how many there are; None if the optimizer cannot say."""
    if not hasattr(experiment.optimizer, "decaying"):
        return None
    params = shapes(experiment)[1].params
    acts = experiment.optimizer.decaying(params, models.groups(experiment.model))
    if acts is None:
        return None
    sizes = jax.tree.leaves(jax.tree.map(lambda w: w.size, params))
    return sum(size for size, on in zip(sizes, jax.tree.leaves(acts)) if on), sum(sizes)


def batch(experiment: Any, data: Data, capacity: int, step: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Inputs, labels and mask of the rows that one step trains on.

    Full batch: the first `capacity` rows, which hold the whole train split; the mask leaves out what is not in it.
    """
    size = experiment.training.batch_size
    train = data.splits["train"][:capacity]
    if size is None:
        return data.inputs[:capacity], data.labels[:capacity], train
    steps_per_epoch = jnp.sum(train, dtype=jnp.int32) // size
    key = jax.random.fold_in(stream(experiment.seed, BATCHES), step // steps_per_epoch)
    order = jnp.argsort(jnp.where(train, jax.random.uniform(key, train.shape), 2.0))  # the train rows, shuffled, first
    picked = jax.lax.dynamic_slice_in_dim(order, step % steps_per_epoch * size, size)
    return data.inputs[picked], data.labels[picked], jnp.ones(size, bool)


def gradient(experiment: Any, data: Data, capacity: int, state: State) -> Any:
    """The gradient of the mean loss of the next batch, with outputs times `training.logit_scale`."""
    inputs, labels, mask = batch(experiment, data, capacity, state.step)

    def objective(params):
        outputs = apply(experiment, params, inputs, state.step) * experiment.training.logit_scale
        return masked_mean(experiment.loss(outputs, labels), mask)

    return jax.grad(objective)(state.params)


def step(experiment: Any, data: Data, capacity: int, state: State) -> State:
    """One update of the parameters."""
    gradients = gradient(experiment, data, capacity, state)
    updates, opt_state = optimizer(experiment).update(gradients, state.opt_state, state.params)
    return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1)


def evaluate(experiment: Any, data: Data, capacity: int, state: State) -> dict[str, jax.Array]:
    """Every probe of the run, by name: scalars in the training dtype."""
    outputs = apply(experiment, state.params, data.inputs)
    descend = functools.cache(lambda: gradient(experiment, data, capacity, state))
    update = functools.cache(lambda: optimizer(experiment).update(descend(), state.opt_state, state.params)[0])
    seen = Evaluation(experiment, state.params, outputs, data.labels, data.splits, descend, update)
    measured: dict[str, jax.Array] = {}
    for name in experiment.training.probes:
        measured |= PROBES[name](seen)
    return {name: value.astype(experiment.training.dtype) for name, value in measured.items()}


def opening(experiment: Any) -> np.ndarray:
    """The steps of the first evaluations, int32: 0 or, with `evaluate_early`, 0, 1, 2, 4, … and `evaluate_every`."""
    t = experiment.training
    powers = [1 << k for k in range(t.evaluate_every.bit_length()) if 1 << k < t.evaluate_every]
    return np.array([0, *powers, t.evaluate_every] if t.evaluate_early else [0], np.int32)


def begin(experiment: Any, data: Data, capacity: int) -> tuple[State, dict[str, jax.Array]]:
    """A fresh run through its `opening`: its state at the end of it, and every probe (evaluations,)."""
    state = init(experiment, data)
    first = evaluate(experiment, data, capacity, state)
    first = jax.tree.map(lambda m: m[None], first)
    if not experiment.training.evaluate_early:
        return state, first

    def interval(state, steps):
        state = jax.lax.fori_loop(0, steps, lambda _, s: step(experiment, data, capacity, s), state)
        return state, evaluate(experiment, data, capacity, state)

    state, later = jax.lax.scan(interval, state, np.diff(opening(experiment)))
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, later)


def frozen(experiment: Any, data: Data, capacity: int, state: State) -> jax.Array:
    """Whether it is proved that no later step changes the parameters: one step changes no bit of them, and stays so."""
    following = step(experiment, data, capacity, state)
    unchanged = same_bits(state.params, following.params)
    return unchanged & experiment.optimizer.at_rest(state.opt_state, following.opt_state)


@functools.cache
def compiler_options() -> dict[str, Any]:
    """XLA's options for every program of ours: those that results need, and those for speed that this jaxlib knows."""
    options = REQUIRED_OPTIONS | WELCOME_OPTIONS
    try:
        jax.jit(lambda: jnp.int32(0), compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return dict(REQUIRED_OPTIONS)
    return options


def needs_x64(experiment: Any) -> bool:
    """Whether any part of the run is in float64."""
    return "float64" in (experiment.training.dtype, getattr(experiment.loss, "dtype", None))


def numerics(experiment: Any):
    """Context in which a run is traced and called: 64-bit types if it needs them, its matrix precision."""
    stack = contextlib.ExitStack()
    stack.enter_context(jax.enable_x64(needs_x64(experiment)))
    stack.enter_context(jax.default_matmul_precision(experiment.training.matmul_precision))
    return stack


def numbers(experiment: Any) -> Any:
    """The experiment with its leaves as numpy scalars in the dtypes of the program: int32 and the training dtype."""
    real = np.dtype(experiment.training.dtype)
    return jax.tree.map(lambda v: np.int32(v) if isinstance(v, int) else real.type(v), experiment)


def train(experiment: Any) -> dict[str, np.ndarray]:
    """Trains one run to its budget, plainly, and returns its curves.

    Returns:
      "step" and every probe by name, each (evaluations,): at the steps of the `opening` and every `evaluate_every`
      steps. The stop rule is not applied.
    """

    @functools.partial(jax.jit, static_argnums=2, compiler_options=compiler_options())
    def curves(experiment, rows, evaluations):
        data = load(experiment, rows)
        state, first = begin(experiment, data, capacity)

        def interval(state, _):
            state = jax.lax.fori_loop(
                0, experiment.training.evaluate_every, lambda _, s: step(experiment, data, capacity, s), state
            )
            return state, evaluate(experiment, data, capacity, state)

        _, later = jax.lax.scan(interval, state, length=evaluations)
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, later)

    rows, capacity = Rows.of(experiment.task), experiment.task.rows()["train"]
    with numerics(experiment):
        t, early = experiment.training, opening(experiment)
        evaluations = (t.steps - int(early[-1])) // t.evaluate_every
        measured = jax.device_get(curves(numbers(experiment), rows, evaluations))
    later = early[-1] + t.evaluate_every * np.arange(1, evaluations + 1, dtype=np.int32)
    return {"step": np.concatenate([early, later]), **measured}


__all__ = ["Training", "train"]
