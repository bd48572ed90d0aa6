"""What a task is: a table of examples, cut into named splits."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen import kinds
from jaxgen.probes.evaluation import Evaluation, masked_mean
from jaxgen.signatures import takes


@flax.struct.dataclass
class Examples:
    """The rows of one run.

    Attributes:
      inputs: (rows, …) integer tokens or float features.
      labels: (rows, …) targets: classes, of one or of many positions, or numbers.
      splits: extra named subsets as boolean masks (rows,), beside those that `Task.rows` makes (e.g. "corrupted").
      weights: how much each label counts in losses and metrics, like `labels`, or each row, (rows,); 0 leaves it out,
        as for padding. None: all alike.
    """

    inputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
    weights: jax.Array | None = None


class Task:
    """Base of all tasks: subclass it as a `flax.struct.dataclass` and give it `outputs`, `rows` and `examples`.

    One that has `draw(key, step, rows) -> Examples` is a stream: each step trains on `training.batch_size` fresh rows,
    of the run's seed and the step. Its `rows` and `examples` are the tables that evaluations are made on. It may draw a
    tuple of `Examples` that are so many rows together, in buckets of different lengths, which saves padding: the loss
    is Σ w ℓ / Σ w of them all.

    One that has `practice(key, step, examples) -> Examples` says what a step trains on in place of those rows of its
    table: other labels until some step, mixtures of rows, noise. `examples` are the rows that the step would train on,
    with the split "train" (of a full batch the others are there to fill it up, and count for nothing whatever they
    are); evaluations see the table as it is.

    Attributes:
      outputs: number of network outputs (classes).
      vocabulary: number of different tokens, for tasks whose inputs are integers.
    """

    if TYPE_CHECKING:  # read only: a subclass has a field or a property

        @property
        def outputs(self) -> int: ...

        @property
        def vocabulary(self) -> int | None: ...

    else:
        outputs: int
        vocabulary: int | None = None
    practice: Callable[[jax.Array, jax.Array, Examples], Examples] | None = None

    def rows(self) -> dict[str, int]:
        """How many rows each split has, train first. Runs on the host with plain numbers, so counts are exact."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """Other numbers of rows that have to be exact, by name, for `examples` to ask for. Runs on the host."""
        return {}

    def examples(self, key: jax.Array, *args: Any, **known: Any) -> Examples:
        """All rows, those of the first split first, then the next; drawn from `key`. Written in jax.numpy.

        One that takes `counts` is given the numbers of `rows` and `counts` by name, as int32 arrays. One that takes
        `given` is given what the run that this one starts from keeps for others, by name (`jaxgen.probes`: `keeps`);
        nothing where it starts from its seed.
        """
        raise NotImplementedError

    def correct(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        """Which labels are answered correctly, bool: by default the largest output is the labelled class."""
        return jax.lax.argmax(outputs, outputs.ndim - 1, jnp.int32) == labels

    def metrics(self, seen: Evaluation) -> dict[str, jax.Array]:
        """What is measured of each split beside the loss, by name "<split>/<metric>" (`jaxgen.probes.Evaluation`).

        By default "accuracy", the share of correct labels, and where rows have several labels "exact_match", the share
        of rows with all of them correct; labels of weight 0 are left out.
        """

        def shares(outputs, labels, weights):
            correct = self.correct(outputs, labels)
            if correct.ndim < 2:
                return {"accuracy": correct}
            counted = True if weights is None or weights.ndim < correct.ndim else weights > 0
            wrong = jnp.any(~correct & counted, axis=tuple(range(1, correct.ndim)))
            return {"accuracy": correct, "exact_match": ~wrong}

        return seen.means(shares)


class Regression(Task):
    """Base of tasks whose labels are numbers, (rows,) or (rows, outputs). Metrics: "r2" and "error" of each split.

    error = mean (o - y)², r2 = 1 - Σ (o - y)² / Σ (y - ȳ)², over rows and outputs, with weights; ȳ is the split's. NaN
    where labels do not vary.
    """

    def metrics(self, seen: Evaluation) -> dict[str, jax.Array]:
        def flat(values, rows):
            return jnp.reshape(values, (rows, -1))

        def squares(outputs, labels, _):
            rows = len(labels)
            return {"error": jnp.mean(jnp.square(flat(outputs, rows) - flat(labels, rows)), axis=1)}

        found, labels = seen.means(squares), flat(seen.labels, len(seen.labels))
        for split, mask in seen.splits.items():
            centre = jax.vmap(lambda column: masked_mean(column, mask, seen.weights), 1)(labels)  # noqa: B023
            spread = masked_mean(jnp.mean(jnp.square(labels - centre[None]), axis=1), mask, seen.weights)
            found[f"{split}/r2"] = jnp.where(spread > 0, 1 - found[f"{split}/error"] / spread, jnp.nan)
        return found


def answers(labels: jax.Array, weights: jax.Array | None, label: int = -1) -> tuple[jax.Array, jax.Array]:
    """Of each row one of its labels of weight above 0, from the last, -1: (rows,), and which rows have it, bool.

    Args:
      labels: (rows, …).
      weights: like them, or (rows,); None: all count.
      label: which of those that count, -1, -2, ….
    """
    rows = len(labels)
    labels = jnp.reshape(labels, (rows, -1))
    counted = jnp.ones(labels.shape, bool)
    if weights is not None:
        counted = jnp.broadcast_to(jnp.reshape(weights > 0, (rows, -1)), labels.shape)
    behind = jnp.flip(jnp.cumsum(jnp.flip(counted, 1), 1, dtype=jnp.int32), 1)  # labels from there on that count
    chosen = counted & (behind == -label)
    return jnp.take_along_axis(labels, jnp.argmax(chosen, axis=1)[:, None], 1)[:, 0], jnp.any(chosen, axis=1)


def table(task: Task, key: jax.Array, **known: Mapping[str, jax.Array]) -> Examples:
    """`task.examples`, told what it takes of `counts` and `given`."""
    examples: Callable[..., Examples] = task.examples
    return examples(key, **{name: value for name, value in known.items() if takes(examples, name)})


def is_stream(task: object) -> TypeGuard[kinds.Stream]:
    """Whether its training rows are drawn anew at each step."""
    return hasattr(task, "draw")
