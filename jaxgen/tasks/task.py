"""What a task is: a table of examples, cut into named splits."""

import inspect
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Examples:
    """The rows of one run.

    Attributes:
      inputs: (rows, …) integer tokens or float features.
      labels: (rows, …) targets.
      splits: extra named subsets as boolean masks (rows,), beside those that `Task.rows` makes (e.g. "corrupted").
    """

    inputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array] = flax.struct.field(default_factory=dict)


class Task:
    """Base of all tasks: subclass it as a `flax.struct.dataclass` and give it `outputs`, `rows` and `examples`.

    Attributes:
      outputs: number of network outputs (classes).
      vocabulary: number of different tokens, for tasks whose inputs are integers.
    """

    outputs: int
    vocabulary: int | None = None

    def rows(self) -> dict[str, int]:
        """How many rows each split has, train first. Runs on the host with plain numbers, so counts are exact."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """Other numbers of rows that have to be exact, by name, for `examples` to ask for. Runs on the host."""
        return {}

    def examples(self, key: jax.Array) -> Examples:
        """All rows, those of the first split first, then the next; drawn from `key`. Written in jax.numpy.

        One that takes `counts` is given the numbers of `rows` and `counts` by name, as int32 arrays.
        """
        raise NotImplementedError

    def correct(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        """Which rows count as correct, (rows,) bool: by default the largest output is the labelled class."""
        return jax.lax.argmax(outputs, outputs.ndim - 1, jnp.int32) == labels


def draw(task: Any, key: jax.Array, counts: Mapping[str, jax.Array]) -> Examples:
    """`task.examples`, with the counts where it takes them."""
    takes = "counts" in inspect.signature(task.examples).parameters
    return task.examples(key, counts=counts) if takes else task.examples(key)
