"""Networks of two layers with Gaussian weights (Gromov, arXiv 2301.02679; Doshi et al., arXiv 2310.13061)."""

import flax.linen as nn

from jaxgen.components import leaf, static
from jaxgen.models.layers import Dropout, Linear, gaussian
from jaxgen.models.mlp import ACTIVATIONS


class TwoLayer(nn.Module):
    """f(x) = W φ(U x), no bias, all weights ~ N(0, init_scale²).

    Inputs (rows, length) tokens or (rows, features); outputs (rows, outputs). Doshi et al. take φ = square and
    init_scale = ½ (2 · width)^(-1/3), which is .05 at their width of 500. With batch norm
    f(x) = W φ(γ ⊙ (U x - m) / √(v + 1e-5) + β), γ = 1 and β = 0 at first: in training m and v are mean and variance
    over the rows of the step, in evaluations their running averages, of which each step replaces a tenth.

    Attributes:
      width: hidden units.
      activation: φ: "relu", "gelu", "silu", "tanh" or "square".
      init_scale: standard deviation of the initial weights.
      dropout: rate at which hidden units are dropped in training; None: no dropout.
      batch_norm: whether hidden units are normalised before φ.
      vocabulary, outputs: filled in from the task when left out.
    """

    groups = {"embeddings": ()}
    width: int = static(500, "[1, 1000000]", "hidden units")
    activation: str = static("square", tuple(ACTIVATIONS), "elementwise function")
    init_scale: float = leaf(0.05, "[0, inf)", "standard deviation of the initial weights")
    dropout: float | None = leaf(None, "[0, 1)", "rate in training; None: no dropout")
    batch_norm: bool = static(False, doc="whether hidden units are normalised before the activation")
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, x, train=False, mask=None):
        init = gaussian(self.init_scale)
        hidden = Linear(self.width, vocabulary=self.vocabulary, initialiser=init)(x)
        if self.batch_norm:
            norm = nn.BatchNorm(not train, momentum=0.9, dtype=hidden.dtype, param_dtype=hidden.dtype)
            hidden = norm(hidden, mask=None if mask is None else mask[:, None])
        hidden = Dropout(self.dropout)(ACTIVATIONS[self.activation](hidden), train)
        return Linear(self.outputs, initialiser=init)(hidden)
