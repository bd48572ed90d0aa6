"""The edge of numerical stability (Prieto et al., arXiv 2501.04697): collapse, vanishing gradients, and scaling."""

import jax
import jax.numpy as jnp

from jaxgen.losses import CrossEntropy
from jaxgen.probes.evaluation import Evaluation, masked_mean


def collapse(e: Evaluation) -> dict[str, jax.Array]:
    """Softmax Collapse of each split, named "<split>/collapse" and "<split>/softmax_collapse".

    The share of rows whose normaliser is absorbed by its largest term in the loss's dtype: for the loss's own function
    (left out for losses without one) and for the exponential, fl(Σ exp(z - max z)) = 1.
    """
    dtype = getattr(e.experiment.loss, "dtype", "float32")
    found = {"softmax_collapse": CrossEntropy(dtype=dtype).collapsed(e.outputs)}
    if hasattr(e.experiment.loss, "collapsed"):
        found["collapse"] = e.experiment.loss.collapsed(e.outputs)
    return {
        f"{split}/{name}": masked_mean(rows.astype(jnp.float32), mask)
        for name, rows in found.items()
        for split, mask in e.splits.items()
    }


def zeros(e: Evaluation) -> dict[str, jax.Array]:
    """Exact zeros: of losses and of row gradients per split, and of whole tensors' gradients.

    "<split>/zero_loss": share of rows whose loss is exactly 0. "<split>/zero_gradient": share of rows whose gradient
    with respect to the outputs is exactly 0. "zero_gradient_tensors": share of tensors whose gradient is exactly 0.
    """
    losses, pull = jax.vjp(lambda outputs: e.experiment.loss(outputs, e.labels), e.outputs)
    rows = {"zero_loss": losses == 0, "zero_gradient": jnp.all(pull(jnp.ones_like(losses))[0] == 0, axis=-1)}
    measured = {
        f"{split}/{name}": masked_mean(values.astype(jnp.float32), mask)
        for name, values in rows.items()
        for split, mask in e.splits.items()
    }
    tensors = [jnp.all(g == 0).astype(jnp.float32) for g in jax.tree.leaves(e.gradient())]
    return {**measured, "zero_gradient_tensors": jnp.mean(jnp.stack(tensors))}


def alignment(e: Evaluation) -> dict[str, jax.Array]:
    """How far training only scales the weights up (naive loss minimisation), whole and per tensor.

    "cosine/gradient": cos(-∇L, θ); "cosine/update": cos(Δθ, θ) of the next update; the same with "/<tensor>" for each;
    "update_rms": root mean square of Δθ.
    """
    descent, update = jax.tree.map(jnp.negative, e.gradient()), e.update()
    measured = {}
    for name, tree in (("gradient", descent), ("update", update)):
        measured[f"cosine/{name}"] = _cosine(jax.tree.leaves(tree), jax.tree.leaves(e.params))
        for tensor, values in e.tensors(tree).items():
            measured[f"cosine/{name}/{tensor}"] = _cosine([values], [e.tensors(e.params)[tensor]])
    squares = [jnp.sum(jnp.square(u)) for u in jax.tree.leaves(update)]
    count = sum(u.size for u in jax.tree.leaves(update))
    return {**measured, "update_rms": jnp.sqrt(sum(squares) / count)}


def _cosine(a: list[jax.Array], b: list[jax.Array]) -> jax.Array:
    """Σ ab / (‖a‖ ‖b‖), 0 where either is 0; scaled first, so that no square underflows."""
    a, b = (_scaled(x) for x in (a, b))
    dot = sum(jnp.sum(x * y) for x, y in zip(a, b))
    norms = jnp.sqrt(sum(jnp.sum(x * x) for x in a)) * jnp.sqrt(sum(jnp.sum(y * y) for y in b))
    return jnp.where(norms > 0, dot / jnp.where(norms > 0, norms, 1), 0)


def _scaled(tensors: list[jax.Array]) -> list[jax.Array]:
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in tensors]))
    return [x / jnp.where(largest > 0, largest, 1) for x in tensors]
