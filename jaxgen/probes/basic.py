"""Loss and accuracy of every split, and the size of the weights."""

import jax
import jax.numpy as jnp
import optax

from jaxgen.probes.evaluation import Evaluation, masked_mean


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


def tensor_norms(e: Evaluation) -> dict[str, jax.Array]:
    """√(Σ w²) of each tensor, named "norm/<tensor>"."""
    return {f"norm/{name}": jnp.linalg.norm(w) for name, w in e.tensors(e.params).items()}


def logit_scale(e: Evaluation) -> dict[str, jax.Array]:
    """Root mean square of the outputs on each split, named "<split>/logit_rms"."""
    squares = jnp.mean(jnp.square(e.outputs), axis=-1)
    return {f"{name}/logit_rms": jnp.sqrt(masked_mean(squares, mask)) for name, mask in e.splits.items()}
