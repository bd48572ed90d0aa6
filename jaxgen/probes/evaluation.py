"""What a probe sees of one run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One run at an evaluation.

    Attributes:
      experiment: the run.
      params: its parameters.
      outputs: (rows, outputs) of the network on all rows.
      labels: (rows, …) targets.
      splits: boolean masks (rows,) by name.
      gradient: gives the gradient of the training loss (of the next batch), like `params`.
      update: gives what the optimizer would add to the parameters next, like `params`.
    """

    experiment: Any
    params: Any
    outputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array]
    gradient: Callable[[], Any]
    update: Callable[[], Any]

    @staticmethod
    def tensors(tree: Any) -> dict[str, jax.Array]:
        """The leaves of a tree like `params` by name, e.g. "Linear_0.kernel"."""
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Σ values[mask] / Σ mask in float32 or wider; NaN where the mask is empty."""
    dtype = values.dtype if jnp.finfo(values.dtype).bits >= 32 else jnp.float32
    kept = jnp.where(mask, values.astype(dtype), 0)
    return jnp.sum(kept) / jnp.sum(mask, dtype=dtype)
