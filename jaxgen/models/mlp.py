"""Fully connected networks."""

import flax.linen as nn
import jax

from jaxgen.component import leaf, static
from jaxgen.models.layers import Linear

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "tanh": jax.numpy.tanh,
    "square": jax.numpy.square,
}


class QuadraticMLP(nn.Module):
    """f(x) = V (W x)², elementwise square, no bias: the network that Gromov (arXiv 2301.02679) solves in closed form.

    For tokens (a, b) and one-hot inputs W x = U_a + V_b. Inputs (rows, length) tokens or (rows, features); outputs
    (rows, outputs). Weights ~ U(±init_scale/√fan_in).

    Attributes:
      width: hidden units.
      init_scale: multiplies the initial weights.
      vocabulary, outputs: filled in from the task when left out.
    """

    width: int = static(64, "[1, 1000000]", "hidden units")
    init_scale: float = leaf(1.0, "[0, inf)", "multiplies the initial weights")
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        hidden = Linear(self.width, scale=self.init_scale, vocabulary=self.vocabulary)(x)
        return Linear(self.outputs, scale=self.init_scale)(hidden * hidden)


class MLP(nn.Module):
    """x → (Linear → activation) × depth → Linear.

    Inputs (rows, length) tokens or (rows, features); outputs (rows, outputs). Weights, biases ~ U(±init_scale/√fan_in).

    Attributes:
      width: units of each hidden layer.
      depth: number of hidden layers.
      activation: "relu", "gelu", "silu", "tanh" or "square".
      use_bias: whether the layers have biases.
      init_scale: multiplies the initial weights.
      vocabulary, outputs: filled in from the task when left out.
    """

    width: int = static(200, "[1, 1000000]", "units of each hidden layer")
    depth: int = static(2, "[1, 100]", "hidden layers")
    activation: str = static("relu", tuple(ACTIVATIONS), "elementwise function")
    use_bias: bool = static(False, doc="whether layers have biases")
    init_scale: float = leaf(1.0, "[0, inf)", "multiplies the initial weights")
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        for i in range(self.depth):
            x = Linear(self.width, self.use_bias, self.init_scale, self.vocabulary if i == 0 else None)(x)
            x = ACTIVATIONS[self.activation](x)
        return Linear(self.outputs, self.use_bias, self.init_scale)(x)
