"""The rows of one run: how many, which, and those of one step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.errors import FieldError
from jaxgen.tasks.task import Examples, counted, is_stream

INIT, BATCHES, DATA, NOISE = range(4)  # streams of a seed
ROW_BUCKETS = 16


@flax.struct.dataclass
class Rows:
    """How many rows each split has: names in the order in which the task lays its rows out, counts int32 (splits,).

    `more` has the other counts of the task, int32; `capacity` is how many rows a full batch computes.
    """

    names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    counts: jax.Array | np.ndarray
    more: dict[str, Any] = flax.struct.field(default_factory=dict)
    capacity: int = flax.struct.field(pytree_node=False, default=0)

    @classmethod
    def of(cls, experiment: Any) -> "Rows":
        """The exact counts of a run with plain numbers."""
        task = experiment.task
        rows, more = task.rows(), task.counts() if hasattr(task, "counts") else {}
        counts = np.array(list(rows.values()), np.int32)
        return cls(tuple(rows), counts, jax.tree.map(np.int32, more), capacity(experiment))

    def by_name(self) -> dict[str, Any]:
        """Every count."""
        return {**self.more, **{name: self.counts[i] for i, name in enumerate(self.names)}}


@flax.struct.dataclass
class Data:
    """One run's rows, ready to train on.

    Attributes:
      inputs, labels, weights: (rows, …), see `jaxgen.Examples`.
      splits: a mask (rows,) for each.
      capacity: the first so many rows hold the whole train split; a full batch computes them all.
    """

    inputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array]
    weights: jax.Array | None = None
    capacity: int = flax.struct.field(pytree_node=False, default=0)


def capacity(experiment: Any) -> int:
    """How many rows a full batch computes: the train split rounded up to a sixteenth of the table.

    It follows from the run alone, so that runs of a sweep over the train fraction share few programs and each still
    computes little more than its own rows. Runs with minibatches have one program: all rows.
    """
    rows = experiment.task.rows()
    total, train = sum(rows.values()), rows["train"]
    if experiment.training.batch_size is not None:
        return total
    bucket = -(-total // ROW_BUCKETS)
    return min(total, -(-train // bucket) * bucket)


def stream(seed: jax.Array, number: int) -> jax.Array:
    """One of the independent random streams of a seed: a threefry key."""
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), number)


def canonical(experiment: Any, examples: Examples) -> Examples:
    """The examples in the run's types: whole numbers as int32, others in the training dtype."""

    def cast(x):
        return x.astype(jnp.int32 if jnp.issubdtype(x.dtype, jnp.integer) else experiment.training.dtype)

    weights = None if examples.weights is None else examples.weights.astype(experiment.training.dtype)
    return Examples(cast(examples.inputs), cast(examples.labels), examples.splits, weights)


def load(experiment: Any, rows: Rows) -> Data:
    """The run's rows, drawn from its split seed, with a mask for each split."""
    examples = counted(experiment.task, stream(experiment.split_seed, DATA), rows.by_name())
    examples = canonical(experiment, examples)
    index, ends = jnp.arange(examples.inputs.shape[0], dtype=jnp.int32), jnp.cumsum(rows.counts)
    splits = {}
    for i, name in enumerate(rows.names):
        splits[name] = (index >= ends[i] - rows.counts[i]) & (index < ends[i])
    return Data(examples.inputs, examples.labels, {**splits, **examples.splits}, examples.weights, rows.capacity)


def batch(experiment: Any, data: Data, step: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Inputs, labels, mask and weights of the rows that one step trains on.

    Full batch: the first `capacity` rows, which hold the whole train split; the mask leaves out what is not in it. Of a
    stream: what the task draws for this step, from the seed.
    """
    size = experiment.training.batch_size
    if is_stream(experiment.task):
        key = jax.random.fold_in(stream(experiment.seed, BATCHES), step)
        drawn = experiment.task.draw(key, step, size)
        if not isinstance(drawn, Examples):
            raise FieldError("task.draw", type(drawn).__name__, "must give jaxgen.Examples")
        drawn = canonical(experiment, drawn)
        return drawn.inputs, drawn.labels, jnp.ones(size, bool), drawn.weights
    train = data.splits["train"][: data.capacity]
    if size is None:
        weights = None if data.weights is None else data.weights[: data.capacity]
        return data.inputs[: data.capacity], data.labels[: data.capacity], train, weights
    steps_per_epoch = jnp.sum(train, dtype=jnp.int32) // size
    key = jax.random.fold_in(stream(experiment.seed, BATCHES), step // steps_per_epoch)
    order = jnp.argsort(jnp.where(train, jax.random.uniform(key, train.shape), 2.0))  # the train rows, shuffled, first
    picked = jax.lax.dynamic_slice_in_dim(order, step % steps_per_epoch * size, size)
    weights = None if data.weights is None else data.weights[picked]
    return data.inputs[picked], data.labels[picked], jnp.ones(size, bool), weights
