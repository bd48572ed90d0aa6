"""A one-layer transformer on tokens."""

import flax.linen as nn
import jax

from jaxgen.component import FieldError, leaf, static
from jaxgen.models.layers import look_up, uniform_fan_in


class Transformer(nn.Module):
    """Embedding + learned positions → self-attention → MLP, both residual → logits at the last position.

    Inputs are tokens (rows, length), outputs (rows, outputs). No mask: every position sees every other. Without
    normalisation it is the network of Nanda et al. (arXiv 2301.05217); "post" is the layer of Vaswani et al. 2017.

    Attributes:
      width: model dimension d; a multiple of `heads`.
      heads: attention heads.
      mlp_width: hidden units of the ReLU MLP.
      norm: "none" or "post" (layer norm after each residual sum).
      init_scale: multiplies the initial embeddings, positions and read-out.
      vocabulary, outputs: filled in from the task when left out.
    """

    width: int = static(128, "[1, 100000]", "model dimension")
    heads: int = static(4, "[1, 1000]", "attention heads")
    mlp_width: int = static(512, "[1, 100000]", "hidden units of the MLP")
    norm: str = static("none", ("none", "post"), "layer norm")
    init_scale: float = leaf(1.0, "[0, inf)", "multiplies embeddings, positions and read-out")
    vocabulary: int | None = None
    outputs: int | None = None

    def check(self):
        if self.width % self.heads:
            raise FieldError("width", self.width, f"must be a multiple of heads = {self.heads}")

    @nn.compact
    def __call__(self, tokens):
        rows, length = tokens.shape
        init = uniform_fan_in(self.init_scale, self.width)
        table = self.param("embedding", init, (self.vocabulary, self.width))
        positions = self.param("positions", init, (length, self.width))
        x = look_up(table, tokens.reshape(-1)).reshape(rows, length, self.width) + positions[None]
        x = self._normed(x + nn.MultiHeadDotProductAttention(self.heads, use_bias=False, name="attention")(x))
        hidden = jax.nn.relu(nn.Dense(self.mlp_width, name="mlp_in")(x))
        x = self._normed(x + nn.Dense(self.width, name="mlp_out")(hidden))
        return x[:, -1] @ self.param("unembedding", init, (self.width, self.outputs))

    def _normed(self, x: jax.Array) -> jax.Array:
        return nn.LayerNorm(dtype=x.dtype)(x) if self.norm == "post" else x
