"""Label noise around any task with classes."""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, part, static
from jaxgen.errors import FieldError
from jaxgen.tasks.around import Around, has_classes, innermost
from jaxgen.tasks.split import exact_share
from jaxgen.tasks.task import Examples, Task, is_stream, table

STREAM = 0x6C6162  # of the key that the task has, apart from what it may split off itself


@flax.struct.dataclass
class CorruptedLabels(Around):
    """`task` with the labels of ⌊share · train rows⌋ of its train rows drawn anew, uniformly (Doshi et al. 2310.13061).

    Which rows these are is drawn too; the rows of other splits keep their labels. The train rows are the splits
    "corrupted" and "clean" beside "train": every metric is measured on both. A larger share corrupts more rows, the
    same ones among them, with the same labels.

    Attributes:
      task: what is corrupted: a task whose labels are classes.
      share: of the train rows.
      true_may_recur: whether a new label may be the true one, as in the paper (1 of `outputs` is); otherwise it is one
        of the others.
    """

    task: Task = part("task", doc="the task that is corrupted")
    share: float = leaf(0.0, "[0, 1]", "share of the train rows whose labels are drawn anew")
    true_may_recur: bool = static(True, doc="whether a new label may be the true one")

    def check(self):
        if isinstance(self.task, CorruptedLabels):
            raise FieldError("task", "CorruptedLabels", "is corrupted already: set its share")
        if is_stream(self.task):
            raise FieldError("task", type(self.task).__name__, "draws fresh rows at each step: nothing stays corrupted")
        if not has_classes(self.task) or type(innermost(self.task)).metrics is not Task.metrics:
            raise FieldError("task", type(self.task).__name__, "must be a task whose labels are classes")

    def counts(self) -> dict[str, int]:
        return {**self.task.counts(), "corrupted": exact_share(self.rows()["train"], self.share)}

    def examples(self, key: jax.Array, counts: Mapping[str, jax.Array], given: Mapping[str, jax.Array]) -> Examples:
        found = table(self.task, key, counts=counts, given=given)  # the rows that the task has alone
        if not jnp.issubdtype(found.labels.dtype, jnp.integer) or found.labels.ndim != 1:
            raise FieldError("task.task", type(self.task).__name__, "must be a task with one class as each row's label")
        which, new = jax.random.split(jax.random.fold_in(key, STREAM))
        train = jnp.arange(len(found.labels), dtype=jnp.int32) < counts["train"]
        order = jnp.argsort(
            jnp.where(train, jax.random.uniform(which, train.shape, jnp.float32), 2.0)
        )  # train rows first
        corrupted = jnp.zeros_like(train).at[order].set(jnp.arange(len(order), dtype=jnp.int32) < counts["corrupted"])
        drawn = jax.random.randint(new, train.shape, 0, self.outputs - (not self.true_may_recur), found.labels.dtype)
        labels = drawn if self.true_may_recur else jnp.where(drawn >= found.labels, drawn + 1, drawn)
        splits = {**found.splits, "corrupted": corrupted, "clean": train & ~corrupted}
        return Examples(found.inputs, jnp.where(corrupted, labels, found.labels), splits, found.weights)
