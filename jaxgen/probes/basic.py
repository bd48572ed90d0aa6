"""Loss and metrics of every split, and the size of the weights."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxgen.losses import of_step
from jaxgen.probes.evaluation import Evaluation


@flax.struct.dataclass
class Loss:
    """Mean loss of each split, named "<split>/loss"."""

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        return e.means(lambda outputs, labels, _: {"loss": of_step(e.experiment.loss, outputs, labels, e.step)})


@flax.struct.dataclass
class Metrics:
    """What the task measures (`jaxgen.Task.metrics`): "<split>/accuracy" of a task with classes."""

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        return e.experiment.task.metrics(e)


@flax.struct.dataclass
class WeightNorm:
    """√(Σ w²) over all parameters, named "weight_norm"."""

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        return {"weight_norm": optax.tree_utils.tree_norm(e.params)}


@flax.struct.dataclass
class TensorNorms:
    """√(Σ w²) of each tensor, named "norm/<tensor>"."""

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        return {f"norm/{name}": jnp.linalg.norm(w) for name, w in e.tensors(e.params).items()}


@flax.struct.dataclass
class LogitRms:
    """Root mean square of the outputs on each split, named "<split>/logit_rms"."""

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        squares = e.means(lambda outputs, *_: {"logit_rms": jnp.mean(jnp.square(outputs), axis=-1)})
        return jax.tree.map(jnp.sqrt, squares)


@flax.struct.dataclass
class Distance:
    """√(Σ (w - w₀)²) from the initial parameters, over all of them, named "distance"."""

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        return {"distance": optax.tree_utils.tree_norm(jax.tree.map(jnp.subtract, e.params, e.initial()))}
