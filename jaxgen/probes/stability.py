"""The edge of numerical stability (Prieto et al., arXiv 2501.04697): collapse, vanishing gradients, and scaling."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.losses import CrossEntropy, of_step
from jaxgen.probes.evaluation import Evaluation


@flax.struct.dataclass
class Collapse:
    """Softmax Collapse of each split, named "<split>/collapse" and "<split>/softmax_collapse".

    The share of rows whose normaliser is absorbed by its largest term in the loss's dtype: for the loss's own function
    (left out for losses without one) and for the exponential, fl(Σ exp(z - max z)) = 1.
    """

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        loss = e.experiment.loss

        def absorbed(outputs, *_):
            found = {"softmax_collapse": CrossEntropy(dtype=getattr(loss, "dtype", "float32")).collapsed(outputs)}
            return found | ({"collapse": loss.collapsed(outputs)} if hasattr(loss, "collapsed") else {})

        return e.means(absorbed)


@flax.struct.dataclass
class Zeros:
    """Exact zeros: of losses and of row gradients per split, and of whole tensors' gradients.

    "<split>/zero_loss": share of rows whose loss is exactly 0. "<split>/zero_gradient": share of rows whose gradient
    with respect to the outputs is exactly 0. "zero_gradient_tensors": share of tensors whose gradient is exactly 0.
    """

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        def rows(outputs, labels, _):
            losses, pull = jax.vjp(lambda z: of_step(e.experiment.loss, z, labels, e.step), outputs)
            return {"zero_loss": losses == 0, "zero_gradient": jnp.all(pull(jnp.ones_like(losses))[0] == 0, axis=-1)}

        tensors = [jnp.all(g == 0).astype(jnp.float32) for g in jax.tree.leaves(e.gradient())]
        return {**e.means(rows), "zero_gradient_tensors": jnp.mean(jnp.stack(tensors))}


@flax.struct.dataclass
class Alignment:
    """How far training only scales the weights up (naive loss minimisation), whole and per tensor.

    "cosine/gradient": cos(-∇L, θ); "cosine/update": cos(Δθ, θ) of the next update; the same with "/<tensor>" for each;
    "update_rms": root mean square of Δθ.
    """

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
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
