"""How much of a network's outputs is linear in its inputs."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.errors import FieldError
from jaxgen.probes.evaluation import Evaluation, masked_mean


@flax.struct.dataclass
class LinearFit:
    """Share of the outputs' variance that is odd in the inputs, of each split, named "<split>/linear_r2".

    With o(x) = (f(x) - f(-x)) / 2 and e(x) = (f(x) + f(-x)) / 2 it is Σ o² / (Σ o² + Σ (e - ē)²), over rows and
    outputs, ē the mean over rows. Linear functions are odd, so R² of no linear fit (with an intercept) to the rows and
    their mirror images is larger; of a network with one hidden layer of ReLU and without biases, whose odd part is
    linear, ½ Σ_j a_j w_j · x, it is that of the best one. NaN where f is constant.
    """

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        if not jnp.issubdtype(e.inputs.dtype, jnp.floating):
            raise FieldError("training.probes", type(self).__name__, "needs inputs that are numbers")
        there, mirrored = e.outputs, e.network(-e.inputs)
        largest = jnp.maximum(jnp.max(jnp.abs(there)), jnp.max(jnp.abs(mirrored)))
        scale = 2 * jnp.where(largest > 0, largest, 1)  # so that no square underflows
        odd, even = (there - mirrored) / scale, (there + mirrored) / scale
        found = {}
        for split, mask in e.splits.items():
            centre = jax.vmap(lambda column: masked_mean(column, mask), 1)(even)  # noqa: B023
            ours = masked_mean(jnp.sum(jnp.square(odd), axis=1), mask)
            rest = masked_mean(jnp.sum(jnp.square(even - centre[None]), axis=1), mask)
            found[f"{split}/linear_r2"] = ours / (ours + rest)
        return found
