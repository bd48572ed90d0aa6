"""What is made of the classes of a task (Liu et al. 2022, arXiv 2205.10343)."""

import dataclasses
from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import part, static
from jaxgen.errors import FieldError
from jaxgen.tasks.around import Around, has_classes
from jaxgen.tasks.task import Examples, Task, is_stream, table


@flax.struct.dataclass
class KnownClasses(Around):
    """`task` with the split "known": the rows beside the train rows whose class a train row has.

    Of the others nothing can be known. Where few rows are tested they may keep every run below a threshold: of the 10
    test rows of `ToyAddition()` two or more have a class without train rows in 27 % of the splits.

    Attributes:
      task: a task with one class as each row's label.
    """

    task: Task = part("task", doc="the task whose test rows are told apart")

    def check(self):
        check_classes(self.task)

    def examples(self, key: jax.Array, counts: Mapping[str, jax.Array], given: Mapping[str, jax.Array]) -> Examples:
        found = classed(self.task, key, counts=counts, given=given)
        train = jnp.arange(len(found.labels), dtype=jnp.int32) < counts["train"]
        trained = jnp.zeros(self.outputs, bool).at[found.labels].max(train)
        return dataclasses.replace(found, splits={**found.splits, "known": ~train & trained[found.labels]})


@flax.struct.dataclass
class Templates(Around):
    """`task` as a regression: the label of a row is the template of its class, a fixed N(0, 1) vector.

    Labels are float32 (rows, dimensions). A row is correct if the template nearest to its output is its own.

    Attributes:
      task: a task with one class as each row's label.
      dimensions: of the templates; 30 in the paper.
      templates_seed: draws the templates, the same in all runs.
    """

    task: Task = part("task", doc="the task whose classes become vectors")
    dimensions: int = static(30, "[1, 10000]", "of the templates")
    templates_seed: int = static(0, "[0, 2147483647]", "draws the templates")

    def check(self):
        check_classes(self.task)

    @property
    def outputs(self) -> int:
        return self.dimensions

    def templates(self) -> jax.Array:
        """The target of each class, float32 (classes, dimensions)."""
        key = jax.random.key(self.templates_seed, impl="threefry2x32")
        return jax.random.normal(key, (self.task.outputs, self.dimensions), jnp.float32)

    def examples(self, key: jax.Array, counts: Mapping[str, jax.Array], given: Mapping[str, jax.Array]) -> Examples:
        found = classed(self.task, key, counts=counts, given=given)
        return dataclasses.replace(found, labels=self.templates()[found.labels])

    def correct(self, outputs, labels):
        templates = self.templates().astype(outputs.dtype)
        squared = jnp.sum(jnp.square(outputs[:, None] - templates[None]), axis=-1)
        nearest = templates[jax.lax.argmin(squared, 1, jnp.int32)]
        return jnp.all(nearest == labels.astype(outputs.dtype), axis=-1)

    def metrics(self, seen):
        return Task.metrics(self, seen)


def check_classes(task: Task) -> None:
    """FieldError where a task has no classes, or trains on other rows than those of its table."""
    name = type(task).__name__
    if not has_classes(task):
        raise FieldError("task", name, "must be a task whose labels are classes")
    if is_stream(task) or task.practice is not None:
        raise FieldError("task", name, "trains on other rows than those of its table, of which nothing can be made")


def classed(task: Task, key: jax.Array, **known: Mapping[str, jax.Array]) -> Examples:
    """`task.examples` with one class as each row's label.

    Raises:
      FieldError: rows have several labels.
    """
    found = table(task, key, **known)
    if found.labels.ndim != 1:
        raise FieldError("task.task", type(task).__name__, "must be a task with one class as each row's label")
    return found
