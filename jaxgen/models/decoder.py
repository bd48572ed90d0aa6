"""A causal transformer."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, part, static
from jaxgen.errors import FieldError
from jaxgen.models.layers import Dropout, gaussian, look_up
from jaxgen.models.mlp import ACTIVATIONS
from jaxgen.positions import Learned, Positions

SHORT = 8  # tokens
NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


class Block(nn.Module):
    """x + A(norm(x)), then x + M(norm(x)): causal attention and a network of one hidden layer, pre-norm.

    Inputs and outputs are (rows · length, width): products of matrices, and so their gradients, take half the time on
    CPUs where rows and positions are one axis. `bias` of attention's logits is (heads, length, length), or None. The
    attributes are those of `Decoder`; `inward_scale` is the standard deviation of what adds to the residual stream.
    """

    heads: int
    mlp_width: int
    norm: str
    activation: str
    positions: Positions | None
    use_bias: bool
    dropout: float | jax.Array | None
    init_scale: float | jax.Array
    inward_scale: float | jax.Array

    @nn.compact
    def __call__(self, x, length, bias, train):
        width = x.shape[1]
        dense = functools.partial(nn.Dense, use_bias=self.use_bias, kernel_init=gaussian(self.init_scale))
        inward = functools.partial(dense, width, kernel_init=gaussian(self.inward_scale))
        drop = lambda x, name: Dropout(self.dropout, name=f"dropout_{name}")(x, train)  # noqa: E731

        seen = normed(x, self.norm, "norm_attention")
        parts = (dense(width, name=name)(seen) for name in ("query", "key", "value"))
        query, key, value = (part.reshape(-1, length, self.heads, width // self.heads) for part in parts)
        if self.positions is not None:
            query, key = self.positions.rotate(query), self.positions.rotate(key)
        weights = functools.partial(drop, name="weights")
        x = x + drop(inward(name="attention")(attended(query, key, value, bias, weights).reshape(x.shape)), "attention")
        hidden = dense(self.mlp_width, name="mlp_in")(normed(x, self.norm, "norm_mlp"))
        return x + drop(inward(name="mlp_out")(ACTIVATIONS[self.activation](hidden)), "mlp")


class Decoder(nn.Module):
    """Embeddings with positions → pre-norm blocks, in which a position sees itself and those before → norm → logits.

    Inputs are tokens (rows, length), right-padded where they are shorter; outputs are the logits of what comes next,
    (rows, length, outputs), or of some last positions only (`predicts`). Matrices ~ N(0, init_scale²), those that add
    to the residual stream divided by √(2 · layers · repeats), as in GPT-2 (Radford et al. 2019); biases begin as 0.

    The blocks' parameters have names of their own ("block_0.query.kernel") and are stacked where they are used: one
    block is compiled, however many there are and however often they are applied. Called with `until`, it gives the
    residual stream after so many of the `layers`, (rows, length, width), in place of logits; with `read` too, what the
    last norm and the read-out make of it there.

    Attributes:
      width: model dimension d; a multiple of `heads`.
      heads: attention heads.
      layers: blocks with parameters of their own.
      repeats: how often all of them are applied, one after another: depth layers · repeats, of shared parameters.
      mlp_width: hidden units of a block's MLP; 4 d when left out.
      norm: "layer", or "rms" (Zhang & Sennrich 2019).
      activation: of the MLP, "gelu", "relu", "silu", "tanh" or "square".
      positions: a component of `jaxgen.positions`.
      tied: whether the read-out is the transpose of the embedding.
      use_bias: whether the blocks' products have biases.
      dropout: rate in training, of embeddings, attention weights and what a block adds; None: no dropout.
      init_scale: standard deviation of the initial weights.
      predicts: so many last positions have outputs, 1: (rows, outputs); all when None and the task does not say.
      vocabulary, outputs: filled in from the task when left out.
    """

    groups = {"embeddings": ("embedding", "positions_*")}
    width: int = static(64, "[1, 100000]", "model dimension")
    heads: int = static(4, "[1, 1000]", "attention heads")
    layers: int = static(2, "[1, 1000]", "blocks with parameters of their own")
    repeats: int = static(1, "[1, 1000]", "how often all blocks are applied")
    mlp_width: int | None = static(None, "[1, 1000000]", "hidden units of the MLP; None: 4 · width")
    norm: str = static("layer", tuple(NORMS), "normalisation")
    activation: str = static("gelu", tuple(ACTIVATIONS), "elementwise function of the MLP")
    positions: Any = part("positions", Learned(), doc="what is known of positions")
    tied: bool = static(False, doc="whether the read-out is the transpose of the embedding")
    use_bias: bool = static(True, doc="whether the blocks' products have biases")
    dropout: float | None = leaf(None, "[0, 1)", "rate in training; None: no dropout")
    init_scale: float = leaf(0.02, "[0, inf)", "standard deviation of the initial weights")
    predicts: int | None = static(None, "[1, 1000000]", "last positions with outputs; None: all")
    vocabulary: int | None = None
    outputs: int | None = None

    def check(self):
        if self.width % self.heads:
            raise FieldError("width", self.width, f"must be a multiple of heads = {self.heads}")

    @property
    def random(self) -> bool:
        """Whether outputs are random in training."""
        return self.dropout is not None or getattr(self.positions, "offset", False)

    @nn.compact
    def __call__(self, tokens, train=False, until=None, read=False):
        rows, length = tokens.shape
        init = gaussian(self.init_scale)
        table = self.param("embedding", init, (self.vocabulary, self.width))
        x = look_up(table, tokens.reshape(-1)).reshape(rows, length, self.width)
        bias = None
        if self.positions is not None:
            shapes = self.positions.tables(length, self.width, self.heads)
            tables = {name: self._held(f"positions_{name}", init, shape) for name, shape in shapes.items()}
            x = self.positions.add(x, tables, self.make_rng("dropout") if train and self.random else None)
            bias = self.positions.bias(length, self.heads, tables, x.dtype)
        x = Dropout(self.dropout, name="dropout_embedding")(x, train).reshape(-1, self.width)
        x = self._through(x, length, bias, train, until).reshape(rows, length, self.width)
        if until is not None and not read:
            return x
        x = (x if self.predicts is None else x[:, -self.predicts :]).reshape(-1, self.width)
        readout = table.T if self.tied else self.param("unembedding", init, (self.width, self.outputs))
        logits = normed(x, self.norm, "norm") @ readout[:, : self.outputs]
        return logits if self.predicts == 1 else logits.reshape(rows, -1, logits.shape[1])

    def _held(self, name, init, shape):
        """A parameter as it was made, of the longest rows: those of a step may be shorter."""
        made = not self.is_initializing() and self.has_variable("params", name)
        return self.get_variable("params", name) if made else self.param(name, init, shape)

    def _through(self, x, length, bias, train, until):
        """What the blocks, or the first of them until so many, make of the residual stream."""
        depth = self.layers * self.repeats
        inward = jnp.asarray(self.init_scale, x.dtype) / jnp.sqrt(jnp.asarray(2 * depth, x.dtype))
        mlp_width = 4 * self.width if self.mlp_width is None else self.mlp_width
        looks = (self.heads, mlp_width, self.norm, self.activation, self.positions, self.use_bias, self.dropout)
        own = functools.partial(Block, *looks, self.init_scale, inward)
        names = [f"block_{i}" for i in range(self.layers)]
        if self.is_initializing():
            for name in names:
                own(name=name)(x, length, bias, train)
            return x
        names, repeats = (names, self.repeats) if until is None else (names[:until], 1)
        stacked = jax.tree.map(lambda *w: jnp.stack(w), *(self.variables["params"][name] for name in names))
        keys = (
            jax.random.split(self.make_rng("dropout"), (self.repeats, self.layers)) if train and self.random else None
        )

        # what lies between products is computed again for gradients: kept, it would take longer to write and read
        @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False)
        def block(x, given):
            params, key = given
            rngs = None if key is None else {"dropout": key}
            return own(parent=None).apply({"params": params}, x, length, bias, train, rngs=rngs), None

        def blocks(x, keys):
            return jax.lax.scan(block, x, (stacked, keys))[0], None

        return jax.lax.scan(blocks, x, keys, length=repeats)[0]


def attended(query, key, value, bias, drop):
    """drop(softmax(q kᵀ / √d + bias)) v over the positions up to each one's own, (rows, length, heads, dimension).

    As `jax.nn.dot_product_attention`, which has neither dropout nor float64 under strict promotion. Rows of at most
    `SHORT` tokens are sums of what is multiplied: many small products of matrices take longer on CPUs.
    """
    _, length, _, dimension = query.shape
    short = length <= SHORT
    if short:
        logits = jnp.moveaxis(jnp.sum(query[:, :, None] * key[:, None], axis=-1), 3, 1)
    else:
        logits = jnp.einsum("bihd,bjhd->bhij", query, key)
    logits = logits / np.sqrt(dimension).astype(query.dtype)
    logits = logits if bias is None else logits + bias[None]
    seen = np.tril(np.ones((length, length), bool))[None, None]
    weights = drop(jax.nn.softmax(jnp.where(seen, logits, jnp.finfo(logits.dtype).min), axis=-1))
    if short:
        return jnp.sum(jnp.moveaxis(weights, 1, 3)[..., None] * value[:, None], axis=2)
    return jnp.einsum("bhij,bjhd->bihd", weights, value)


def normed(x: jax.Array, kind: str, name: str) -> jax.Array:
    """Layer or root-mean-square normalisation over the last axis, with its parameters under that name."""
    return NORMS[kind](dtype=x.dtype, param_dtype=x.dtype, force_float32_reductions=False, name=name)(x)
