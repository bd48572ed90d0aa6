"""The rows of one run: how many, which, and those of one step."""

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import models
from jaxgen.errors import FieldError
from jaxgen.kinds import Given
from jaxgen.starts import has_parent
from jaxgen.tasks.task import Examples, is_stream, table

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment

INIT, BATCHES, DATA, NOISE = range(4)  # streams of a seed
PRACTICE = 1 << 30  # of the stream of a step
PARTS, SMALL_TABLE = 16, 128  # of a table; its rows
PASSES = 9, 4, 2, 1  # of the parts: their sums are all numbers up to 16 but 8
SLICE = 256  # rows: two of a TPU's tiles, so that no row of a slice is padding


@flax.struct.dataclass
class Passes:
    """The passes that a full batch is computed in.

    Attributes:
      made: which of them are made, int32 0 or 1.
      sizes: rows of each, largest first.
      branch: whether one that is not made is skipped by a branch; else by a loop that ends at once, as is needed where
        runs are mapped over: there a branch computes both its sides.
    """

    made: jax.Array | np.ndarray
    sizes: tuple[int, ...] = flax.struct.field(pytree_node=False)
    branch: bool = flax.struct.field(pytree_node=False, default=True)


@flax.struct.dataclass
class Slices:
    """A full batch in slices of one size, one after another from the first row on: what `Passes` are elsewhere.

    Attributes:
      made: how many hold rows that are trained on, int32.
      size: rows of each.
      lanes: name of the axis of runs that are mapped over. They make as many slices as the one that needs most, so that
        all slice at the same row, which costs nothing, and none at its own, which is a gather in turn for each; those
        that it does not need change no bit of a run. None: it is alone.
    """

    made: jax.Array | np.ndarray
    size: int = flax.struct.field(pytree_node=False)
    lanes: str | None = flax.struct.field(pytree_node=False, default=None)


@flax.struct.dataclass
class Rows:
    """How many rows each split has, and how a full batch is computed.

    Attributes:
      names: of the splits, in the order in which the task lays its rows out.
      counts: int32 (splits,).
      more: the other counts of the task, int32.
      passes: or slices that a full batch is computed in; None: at once.
      capacity: see the function of this name.
    """

    names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    counts: jax.Array | np.ndarray
    more: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
    passes: Passes | Slices | None = None
    capacity: int = flax.struct.field(pytree_node=False, default=0)

    @classmethod
    def of(cls, experiment: "Experiment") -> "Rows":
        """The exact counts of a run with plain numbers."""
        task = experiment.task
        rows, more = task.rows(), task.counts() if hasattr(task, "counts") else {}
        counts = np.array(list(rows.values()), np.int32)
        return cls(tuple(rows), counts, jax.tree.map(np.int32, more), passes(experiment), capacity(experiment))

    def exactly(self, capacity: int) -> "Rows":
        """The same, with so many rows computed at once."""
        return dataclasses.replace(self, passes=None, capacity=capacity)

    def sliced(self, lanes: str | None) -> "Rows":
        """The same, with slices in the place of passes, of runs that are mapped over along an axis of this name."""
        size = min(SLICE, int(self.counts.sum()))
        made = -(-int(self.counts[self.names.index("train")]) // size)
        return dataclasses.replace(self, passes=Slices(np.array(made, np.int32), size, lanes))

    def by_name(self) -> dict[str, jax.Array]:
        """Every count."""
        return {**self.more, **{name: self.counts[i] for i, name in enumerate(self.names)}}


class Batch(NamedTuple):
    """Rows that a step computes together: inputs and labels (rows, …), which of them count, bool (rows,), weights."""

    inputs: jax.Array
    labels: jax.Array
    mask: jax.Array
    weights: jax.Array | None


@flax.struct.dataclass
class Order:
    """The order of a table's rows in an epoch, those of the train split first.

    Attributes:
      epoch: int32; -1: none yet.
      rows: their indices (rows,).
    """

    epoch: jax.Array
    rows: jax.Array


@flax.struct.dataclass
class Data:
    """One run's rows, ready to train on.

    Attributes:
      inputs, labels, weights: (rows, …), see `jaxgen.Examples`.
      splits: a mask (rows,) for each.
      passes: or slices that a full batch is computed in; None: at once.
      capacity: the first so many rows hold the whole train split; a full batch is of them.
      order: of the rows, for minibatches; None: each step finds its own.
    """

    inputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array]
    weights: jax.Array | None = None
    passes: Passes | Slices | None = None
    capacity: int = flax.struct.field(pytree_node=False, default=0)
    order: Order | None = None

    def full_batch(self) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
        """Inputs, labels, mask of the train split and weights (or None) of the first `capacity` rows."""
        rows = self.inputs, self.labels, self.splits["train"], self.weights
        return jax.tree.map(lambda a: a[: self.capacity], rows)


def passes(experiment: "Experiment") -> Passes | None:
    """The passes that a full batch of a run is computed in: of 9, 4, 2 and 1 sixteenths of the table.

    Which of them are made is data of the run: all runs of a sweep over the train fraction have one program, and each
    computes little more than its own rows. None, computed at once, are minibatches, tables of at most 128 rows, which
    passes make slower, and what looks at a whole batch: solutions, and networks that are random in training or are
    told `train` or `mask`.
    """
    rows = experiment.task.rows()
    total, solved = sum(rows.values()), experiment.start is not None and not has_parent(experiment)
    whole = experiment.training.batch_size is not None or solved or models.is_whole(experiment.model)
    if whole or total <= SMALL_TABLE:
        return None
    unit = -(-total // PARTS)
    left, made = -(-rows["train"] // unit), np.zeros(len(PASSES), np.int32)
    for i, part in enumerate(PASSES):
        made[i] = left > sum(PASSES[i + 1 :])
        left -= part * made[i]
    return Passes(made, tuple(part * unit for part in PASSES))


def capacity(experiment: "Experiment") -> int:
    """How many rows a full batch of the program can compute: those of the table where it is computed in passes.

    Else the train split rounded up to a sixteenth of the table, so that runs of a sweep over the train fraction share
    few programs. Runs with minibatches have one program: all rows.
    """
    total = sum(experiment.task.rows().values())
    at_once = experiment.training.batch_size is None and passes(experiment) is None
    return computed(experiment) if at_once else total


def computed(experiment: "Experiment") -> int:
    """How many rows a step of this run computes, those among them that fill up its last pass."""
    if experiment.training.batch_size is not None:
        return experiment.training.batch_size
    rows, parts = experiment.task.rows(), passes(experiment)
    total, train = sum(rows.values()), rows["train"]
    unit = -(-total // PARTS)
    return min(total, -(-train // unit) * unit if parts is None else int(np.dot(parts.made, parts.sizes)))


def stream(seed: int | jax.Array, number: int) -> jax.Array:
    """One of the independent random streams of a seed: a threefry key."""
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), number)


def canonical(experiment: "Experiment", examples: Examples) -> Examples:
    """The examples in the run's types: whole numbers as int32, others in the training dtype."""

    def cast(x):
        return x.astype(jnp.int32 if jnp.issubdtype(x.dtype, jnp.integer) else experiment.training.dtype)

    weights = None if examples.weights is None else examples.weights.astype(experiment.training.dtype)
    return Examples(cast(examples.inputs), cast(examples.labels), examples.splits, weights)


def load(experiment: "Experiment", rows: Rows, given: Given | None = None) -> Data:
    """The run's rows, drawn from its split seed, with a mask for each split; `given`: see `start_shapes`."""
    key, held = stream(experiment.drawn_from, DATA), (given or Given()).get("held", {})
    examples = table(experiment.task, key, counts=rows.by_name(), given=held)
    examples = canonical(experiment, examples)
    index, ends = jnp.arange(examples.inputs.shape[0], dtype=jnp.int32), jnp.cumsum(rows.counts)
    splits = {}
    for i, name in enumerate(rows.names):
        splits[name] = (index >= ends[i] - rows.counts[i]) & (index < ends[i])
    splits |= examples.splits
    return Data(examples.inputs, examples.labels, splits, examples.weights, rows.passes, rows.capacity)


def buckets(experiment: "Experiment", data: Data, step: jax.Array) -> list[Batch]:
    """The rows that one step trains on: all in one bucket, or those of a stream in the several that it draws.

    Full batch: the first `capacity` rows, which hold the whole train split; the mask leaves out what is not in it. Of a
    stream: what the task draws for this step, from the seed. Rows of a table are what its `practice` makes of them.
    """
    task, size = experiment.task, experiment.training.batch_size
    fresh = jax.random.fold_in(stream(experiment.seed, BATCHES), step)
    if is_stream(task) and size is not None:  # as it has to be
        drawn = task.draw(fresh, step, size)
        parts = [_examples(experiment, "draw", one) for one in (drawn if isinstance(drawn, tuple) else (drawn,))]
        return [Batch(one.inputs, one.labels, jnp.ones(len(one.labels), bool), one.weights) for one in parts]
    rows = Batch(*_picked(experiment, data, step))
    practice = getattr(task, "practice", None)
    if practice is None:
        return [rows]
    key = jax.random.fold_in(fresh, PRACTICE)
    seen = Examples(rows.inputs, rows.labels, {"train": rows.mask}, rows.weights)
    seen = _examples(experiment, "practice", practice(key, step, seen))
    return [Batch(seen.inputs, seen.labels, rows.mask, seen.weights)]


def _examples(experiment: "Experiment", method: str, made: object) -> Examples:
    if not isinstance(made, Examples):
        raise FieldError(f"task.{method}", type(made).__name__, "must give jaxgen.Examples")
    return canonical(experiment, made)


def _picked(experiment: "Experiment", data: Data, step: jax.Array) -> tuple:
    size = experiment.training.batch_size
    if size is None:
        return data.full_batch()
    order = _order(experiment, data, step) if data.order is None else data.order
    place = step % _steps_per_epoch(size, data) * size
    picked = jax.lax.dynamic_slice_in_dim(order.rows, place, size)
    weights = None if data.weights is None else data.weights[picked]
    return data.inputs[picked], data.labels[picked], jnp.ones(size, bool), weights


def _steps_per_epoch(size: int | None, data: Data) -> jax.Array:
    """Steps of one pass over the train rows, of so many rows each, as minibatches have them."""
    return jnp.sum(data.splits["train"], dtype=jnp.int32) // (size or 1)


def _order(experiment: "Experiment", data: Data, step: jax.Array) -> Order:
    """That of the epoch which a step is in: the train rows, shuffled, first."""
    train, epoch = data.splits["train"], step // _steps_per_epoch(experiment.training.batch_size, data)
    key = jax.random.fold_in(stream(experiment.seed, BATCHES), epoch)
    return Order(epoch, jnp.argsort(jnp.where(train, jax.random.uniform(key, train.shape), 2.0)))


def ordered(experiment: "Experiment", data: Data, step: jax.Array, order: Order) -> Data:
    """The rows with the order of the epoch which a step is in: this one if it is that, for sorting takes long."""
    new = functools.partial(_order, experiment, data, step)
    same = order.epoch == step // _steps_per_epoch(experiment.training.batch_size, data)
    return dataclasses.replace(data, order=jax.lax.cond(same, lambda: order, new))


def unordered(experiment: "Experiment", data: Data) -> Order | None:
    """No order yet; None where the rows of a step are not taken from a table in an order."""
    if experiment.training.batch_size is None or is_stream(experiment.task):
        return None
    blank = jax.eval_shape(_order, experiment, data, jnp.int32(0))
    return Order(jnp.int32(-1), jnp.zeros(blank.rows.shape, blank.rows.dtype))
