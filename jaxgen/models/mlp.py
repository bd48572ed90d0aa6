"""Fully connected networks."""

import functools

import flax.linen as nn
import jax
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.models.layers import Linear, look_up, uniform_fan_in

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

    groups = {"embeddings": ()}
    width: int = static(64, "[1, 1000000]", "hidden units")
    init_scale: float = leaf(1.0, "[0, inf)", "multiplies the initial weights")
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        hidden = Linear(self.width, scale=self.init_scale, vocabulary=self.vocabulary)(x)
        return Linear(self.outputs, scale=self.init_scale)(jax.numpy.square(hidden))


class MLP(nn.Module):
    """x → (Linear → activation) × depth → Linear.

    Inputs (rows, length) tokens or (rows, features); outputs (rows, outputs). Weights, biases ~ U(±init_scale/√fan_in).

    Attributes:
      width: units of each hidden layer.
      depth: number of hidden layers.
      activation: "relu", "gelu", "silu", "tanh" or "square".
      use_bias: whether the layers have biases.
      init_scale: multiplies the initial weights.
      readout_scale: multiplies those of the last layer once more; 0: it begins as 0.
      vocabulary, outputs: filled in from the task when left out.
    """

    groups = {"embeddings": ()}
    width: int = static(200, "[1, 1000000]", "units of each hidden layer")
    depth: int = static(2, "[1, 100]", "hidden layers")
    activation: str = static("relu", tuple(ACTIVATIONS), "elementwise function")
    use_bias: bool = static(False, doc="whether layers have biases")
    init_scale: float = leaf(1.0, "[0, inf)", "multiplies the initial weights")
    readout_scale: float = leaf(1.0, "[0, inf)", "multiplies the last layer's initial weights too", added=True)
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        for i in range(self.depth):
            x = Linear(self.width, self.use_bias, self.init_scale, self.vocabulary if i == 0 else None)(x)
            x = ACTIVATIONS[self.activation](x)
        return Linear(self.outputs, self.use_bias, self.init_scale * self.readout_scale)(x)


class EmbeddingMLP(nn.Module):
    """Sum of the tokens' trainable embeddings → (Linear → activation) × depth → Linear (Liu et al. 2022, 2205.10343).

    Inputs are tokens (rows, length), outputs (rows, outputs). Embeddings ~ U(±embedding_scale); weights, biases
    ~ U(±init_scale/√fan_in).

    Attributes:
      embedding: dimension of the embeddings.
      width: units of each hidden layer.
      depth: number of hidden layers.
      activation: "relu", "gelu", "silu", "tanh" or "square".
      use_bias: whether the layers have biases.
      embedding_scale: bound of the initial embeddings.
      init_scale: multiplies the initial weights.
      readout: units of a linear layer before the last one, where it is a product of two matrices; None: it is one.
      vocabulary, outputs: filled in from the task when left out.
    """

    groups = {"embeddings": ("embedding",)}
    embedding: int = static(1, "[1, 100000]", "dimension of the embeddings")
    width: int = static(200, "[1, 1000000]", "units of each hidden layer")
    depth: int = static(2, "[1, 100]", "hidden layers")
    activation: str = static("tanh", tuple(ACTIVATIONS), "elementwise function")
    use_bias: bool = static(True, doc="whether layers have biases")
    embedding_scale: float = leaf(0.5, "[0, inf)", "bound of the initial embeddings")
    init_scale: float = leaf(1.0, "[0, inf)", "multiplies the initial weights")
    readout: int | None = static(None, "[1, 1000000]", "units of a linear layer before the last one", added=True)
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, tokens):
        x = self.joined(tokens)
        for _ in range(self.depth):
            x = ACTIVATIONS[self.activation](Linear(self.width, self.use_bias, self.init_scale)(x))
        if self.readout is not None:
            x = Linear(self.readout, self.use_bias, self.init_scale)(x)
        return Linear(self.outputs, self.use_bias, self.init_scale)(x)

    def joined(self, tokens):
        """What is decoded, (rows, features)."""
        table = self.param("embedding", uniform_fan_in(self.embedding_scale, 1), (self.vocabulary, self.embedding))
        return sum(look_up(table, tokens[:, i]) for i in range(tokens.shape[1]))


class MatrixEmbeddingMLP(EmbeddingMLP):
    """Product of the tokens' trainable square matrices, in their order → (Linear → activation) × depth → Linear.

    What `EmbeddingMLP` is for sums this is for groups that do not commute (Liu et al. 2022): their elements may become
    matrices that multiply as they do. Entries ~ U(±embedding_scale); all else is as there.

    Attributes:
      embedding: rows and columns of the matrices; 3 in the paper, for the permutations of three things.
      embedding_scale: bound of the initial entries.
    """

    embedding: int = static(3, "[1, 1000]", "rows and columns of the matrices")
    embedding_scale: float = leaf(0.05, "[0, inf)", "bound of the initial entries")

    def joined(self, tokens):
        size = self.embedding
        table = self.param("embedding", uniform_fan_in(self.embedding_scale, 1), (self.vocabulary, size * size))
        factors = [look_up(table, tokens[:, i]).reshape(-1, size, size) for i in range(tokens.shape[1])]
        return functools.reduce(jax.numpy.matmul, factors).reshape(-1, size * size)


class FixedReadoutMLP(nn.Module):
    """f(x) = Σ_j a_j φ(w_j · x), of which only the w_j are trained: a_j = 1/√width for even j, -1/√width for odd j.

    Inputs are features (rows, features), outputs (rows, 1). w ~ N(0, init_scale²) elementwise, which is independent of
    the basis in which the inputs are written.

    Attributes:
      width: hidden units.
      activation: φ: "relu", "gelu", "silu", "tanh" or "square".
      init_scale: standard deviation of the initial weights.
    """

    groups = {"embeddings": ()}
    width: int = static(1000, "[1, 1000000]", "hidden units")
    activation: str = static("relu", tuple(ACTIVATIONS), "elementwise function")
    init_scale: float = leaf(1e-3, "[0, inf)", "standard deviation of the initial weights")

    @nn.compact
    def __call__(self, x):
        scale = self.init_scale
        init = lambda key, shape: jax.random.normal(key, shape, x.dtype) * jax.numpy.asarray(scale, x.dtype)  # noqa: E731
        hidden = ACTIVATIONS[self.activation](x @ self.param("kernel", init, (x.shape[-1], self.width)))
        signs = 1 - 2 * (np.arange(self.width) % 2)
        return hidden @ jax.numpy.asarray(signs[:, None] / np.sqrt(self.width), x.dtype)
