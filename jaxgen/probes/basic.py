"""Loss and accuracy of every split, and the size of the weights."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class Evaluation:
    """What a probe sees of one run.

    Attributes:
      experiment: the run.
      params: its parameters.
      outputs: (rows, outputs) of the network on all rows.
      labels: (rows, …) targets.
      splits: boolean masks (rows,) by name.
    """

    experiment: Any
    params: Any
    outputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array]


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Σ values[mask] / Σ mask in float32 or wider; NaN where the mask is empty."""
    dtype = values.dtype if jnp.finfo(values.dtype).bits >= 32 else jnp.float32
    kept = jnp.where(mask, values.astype(dtype), 0)
    return jnp.sum(kept) / jnp.sum(mask, dtype=dtype)


def loss(e: Evaluation) -> dict[str, jax.Array]:
    """Mean loss of each split, named "<split>/loss"."""
    losses = e.experiment.loss(e.outputs, e.labels)
    return {f"{name}/loss": masked_mean(losses, mask) for name, mask in e.splits.items()}


def accuracy(e: Evaluation) -> dict[str, jax.Array]:
    """Share of correct rows of each split, named "<split>/accuracy"."""
    correct = e.experiment.task.correct(e.outputs, e.labels).astype(jnp.float32)
    return {f"{name}/accuracy": masked_mean(correct, mask) for name, mask in e.splits.items()}


def weight_norm(e: Evaluation) -> dict[str, jax.Array]:
    """√(Σ w²) over all parameters."""
    return {"weight_norm": optax.tree_utils.tree_norm(e.params)}
