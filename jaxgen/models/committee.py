"""A committee of quadratic units from lazy to rich (Kumar et al. 2024, arXiv 2310.06110)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static


class Committee(nn.Module):
    """f(x) = α/N Σ_i [φ(w_i·x) - φ(w_i⁰·x)], φ(h) = h + ε h²/2: what units say beyond what they said at the start.

    Trained are v_i = α (w_i - w_i⁰), from 0: a step of gradient descent on v with the rate η is one on w with the rate
    η/α², and the tangent kernel at the start does not depend on α. With h = w⁰·x and z = v·x this is
    f = 1/N Σ_i [z_i (1 + ε h_i) + ε z_i² / 2α]: the larger α, the longer f stays linear in what is trained (lazy). The
    w⁰ ~ N(0, init_scale²) are the parameter "start", whose gradient is 0; v is "kernel".

    Inputs are (rows, features), outputs (rows, 1).

    Attributes:
      width: N.
      scale: α.
      epsilon: ε; 0: all units are linear, and so is f.
      init_scale: standard deviation of the initial weights.
      linear: whether α is infinite: f is linear in v, and `jaxgen.starts.Solve` gives kernel regression with the
        tangent kernel of the start.
    """

    groups = {"embeddings": ()}
    width: int = static(500, "[1, 1000000]", "units")
    scale: float = leaf(1.0, "(0, inf)", "multiplies outputs")
    epsilon: float = leaf(1.0, "[0, inf)", "quadratic part of the units")
    init_scale: float = leaf(1.0, "[0, inf)", "standard deviation of the initial weights")
    linear: bool = static(False, doc="whether scale is infinite")

    @nn.compact
    def __call__(self, x):
        shape = x.shape[-1], self.width
        draw = nn.initializers.normal(1.0)
        start = jax.lax.stop_gradient(self.param("start", draw, shape, x.dtype)) * self.init_scale
        z = x @ self.param("kernel", nn.initializers.zeros_init(), shape, x.dtype)
        found = z * (1 + self.epsilon * (x @ start))
        if not self.linear:
            found = found + self.epsilon / (2 * self.scale) * jnp.square(z)
        return jnp.mean(found, axis=-1, keepdims=True)
