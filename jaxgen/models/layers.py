"""Layers that the models share, each written for one run."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

TALL, CACHED = 2, 2**19  # times as many inputs as outputs; numbers


def uniform_fan_in(scale, fan_in: int):
    """Initialiser U(-s, s) with s = scale / √fan_in (PyTorch's default for linear layers at scale 1)."""

    def init(key, shape, dtype=jnp.float32):
        bound = jnp.asarray(scale, dtype) / np.sqrt(fan_in).astype(dtype)
        return jax.random.uniform(key, shape, dtype, -1, 1) * bound

    return init


def gaussian(scale):
    """Initialiser N(0, scale²)."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.normal(key, shape, dtype) * jnp.asarray(scale, dtype)

    return init


def look_up(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """Rows of `table` (vocabulary, width) at integer `tokens` (rows,): one_hot(tokens) @ table, (rows, width).

    A CPU gathers (and adds gradients up by a scatter); other devices multiply, which is both faster there and free of
    the scatter's undefined order of additions.
    """

    def multiply(table, tokens):
        return jax.nn.one_hot(tokens, table.shape[0], dtype=table.dtype) @ table

    return jax.lax.platform_dependent(table, tokens, cpu=lambda table, tokens: table[tokens], default=multiply)


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x W, (…, in) times (in, out) = (…, out).

    A CPU takes up to twice as long for a gradient xᵀ g that is taller than wide as for its transpose: so a tall W is
    multiplied as its transpose. Not where rows are few, and not where they do not fit into the cache: slower there.
    """
    if kernel.shape[0] < TALL * kernel.shape[1] or not kernel.shape[0] ** 2 <= x.size <= CACHED:
        return x @ kernel

    def across(x, kernel):
        turned = jax.lax.optimization_barrier(kernel.T)  # or XLA would turn the gradient round again
        return jax.lax.dot_general(x, turned, (((x.ndim - 1,), (1,)), ((), ())))

    return jax.lax.platform_dependent(x, kernel, cpu=across, default=jnp.matmul)


class Linear(nn.Module):
    """x W + b with W (and b) ~ U(±scale/√fan_in).

    Integer inputs (rows, length) are tokens: they stand for their concatenated one-hot vectors (fan_in = length ·
    vocabulary), whose product with W is a look-up.

    Attributes:
      features: outputs.
      use_bias: whether there is a b.
      scale: init scale, may be traced.
      vocabulary: number of different tokens, where inputs are tokens.
      initialiser: of W and b, in the place of the uniform one.
    """

    features: int
    use_bias: bool = False
    scale: float = 1.0
    vocabulary: int | None = None
    initialiser: Callable[..., jax.Array] | None = None

    @nn.compact
    def __call__(self, x):
        tokens = jnp.issubdtype(x.dtype, jnp.integer)
        if tokens and self.vocabulary is None:
            raise ValueError("integer inputs need a vocabulary")
        fan_in = x.shape[-1] * (self.vocabulary if tokens else 1)
        init = self.initialiser or uniform_fan_in(self.scale, fan_in)
        kernel = self.param("kernel", init, (fan_in, self.features))
        if tokens:
            tables = kernel.reshape(x.shape[-1], self.vocabulary, self.features)
            y = sum(look_up(tables[i], x[:, i]) for i in range(x.shape[-1]))
        else:
            y = product(x, kernel)
        if self.use_bias:
            y = y + self.param("bias", init, (self.features,))[None]
        return y


class Dropout(nn.Module):
    """x · b / (1 - rate) in training, b ~ Bernoulli(1 - rate) elementwise; x otherwise (Srivastava et al. 2014).

    Attributes:
      rate: share that is dropped; may be traced. None: nothing is, and no random numbers are drawn.
    """

    rate: float | None = None

    @nn.compact
    def __call__(self, x, train):
        if self.rate is None or not train:
            return x
        keep = 1 - jnp.asarray(self.rate, x.dtype)
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, x.shape)
        return jnp.where(kept, x / keep, jnp.zeros_like(x))
