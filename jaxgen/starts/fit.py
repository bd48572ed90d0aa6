"""What a start sees of a run's train rows."""

import dataclasses
from collections.abc import Callable

import jax
import optax


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a start sees of a run's train rows.

    Attributes:
      network: from parameters and inputs (rows, …) to the network's outputs (rows, …, outputs), as in an evaluation.
      loss: from outputs (rows, …, outputs) of all rows to the mean loss Σ w ℓ / Σ w of those that are trained on, as a
        first step has it.
      inputs: (rows, …).
      labels: (rows, …).
      train: which of the rows are trained on, bool (rows,).
      weights: of rows or labels, see `jaxgen.Examples`; None: all alike.
      vocabulary: number of different tokens, where inputs are tokens.
    """

    network: Callable[[optax.Params, jax.Array], jax.Array]
    loss: Callable[[jax.Array], jax.Array]
    inputs: jax.Array
    labels: jax.Array
    train: jax.Array
    weights: jax.Array | None = None
    vocabulary: int | None = None

    def outputs(self, params: optax.Params) -> jax.Array:
        """The network's outputs on all rows, (rows, …, outputs)."""
        return self.network(params, self.inputs)
