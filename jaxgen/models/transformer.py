"""A one-layer transformer on tokens."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.models.layers import Dropout, look_up, uniform_fan_in


class Transformer(nn.Module):
    """Embedding + positions → self-attention → MLP, both residual → logits at the last position.

    Inputs are tokens (rows, length), outputs (rows, outputs). No mask: every position sees every other. By default it
    is the network of Nanda et al. (arXiv 2301.05217). `Transformer.encoder()` is the layer of Vaswani et al. 2017 as
    Prieto et al. (arXiv 2501.04697) use it.

    Attributes:
      width: model dimension d; a multiple of `heads`.
      heads: attention heads.
      mlp_width: hidden units of the ReLU MLP.
      norm: "none" or "post" (layer norm after each residual sum).
      init_scale: multiplies the initial embeddings, positions and read-out.
      positions: "learned", or "none": all positions look alike.
      use_bias: whether attention and read-out have biases (the MLP always has).
      dropout: rate in training, of attention weights, hidden units and what both parts add; None: no dropout.
      vocabulary, outputs: filled in from the task when left out.
    """

    groups = {"embeddings": ("embedding", "positions")}
    width: int = static(128, "[1, 100000]", "model dimension")
    heads: int = static(4, "[1, 1000]", "attention heads")
    mlp_width: int = static(512, "[1, 100000]", "hidden units of the MLP")
    norm: str = static("none", ("none", "post"), "layer norm")
    init_scale: float = leaf(1.0, "[0, inf)", "multiplies embeddings, positions and read-out")
    positions: str = static("learned", ("learned", "none"), "position embeddings")
    use_bias: bool = static(False, doc="whether attention and read-out have biases")
    dropout: float | None = leaf(None, "[0, 1)", "rate in training; None: no dropout")
    vocabulary: int | None = None
    outputs: int | None = None

    @classmethod
    def encoder(cls, **fields) -> "Transformer":
        """Post-norm encoder layer with biases, no positions, 2048 hidden units, dropout .1."""
        own = functools.partial(cls, norm="post", positions="none", use_bias=True, mlp_width=2048, dropout=0.1)
        return own(**fields)  # which may be others

    def check(self):
        if self.width % self.heads:
            raise FieldError("width", self.width, f"must be a multiple of heads = {self.heads}")

    @nn.compact
    def __call__(self, tokens, train=False):
        rows, length = tokens.shape
        init = uniform_fan_in(self.init_scale, self.width)
        table = self.param("embedding", init, (self.vocabulary, self.width))
        x = look_up(table, tokens.reshape(-1)).reshape(rows, length, self.width)
        if self.positions == "learned":
            x = x + self.param("positions", init, (length, self.width))[None]
        drop = lambda x, name: Dropout(self.dropout, name=f"dropout_{name}")(x, train)  # noqa: E731

        def attend(query, key, value, **_):
            weights = drop(nn.dot_product_attention_weights(query, key), "weights")
            return jnp.einsum("...hqk,...khd->...qhd", weights, value)

        attention: Callable[..., jax.Array] = nn.MultiHeadDotProductAttention(
            self.heads, use_bias=self.use_bias, attention_fn=attend, name="attention"
        )
        x = self._normed(x + drop(attention(x), "attention"))
        hidden = drop(jax.nn.relu(nn.Dense(self.mlp_width, name="mlp_in")(x)), "hidden")
        x = self._normed(x + drop(nn.Dense(self.width, name="mlp_out")(hidden), "mlp"))
        logits = x[:, -1] @ self.param("unembedding", init, (self.width, self.outputs))
        return logits + self.param("bias", init, (self.outputs,))[None] if self.use_bias else logits

    def _normed(self, x: jax.Array) -> jax.Array:
        if self.norm == "none":
            return x
        return nn.LayerNorm(dtype=x.dtype, param_dtype=x.dtype, force_float32_reductions=False)(x)
