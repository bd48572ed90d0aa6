"""Pruning by what weights do for the loss or the flow of signals, rather than by their size: no training is needed.

Each removes the ⌊rate · n⌉ of the n weights in matrices with the smallest scores, over all of them; they stay 0. With
`Rewind` as the first transform they prune a network at its initialisation.
"""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxgen.components import leaf, static
from jaxgen.starts.fit import Fit
from jaxgen.starts.transforms import masked, without_smallest


class _Scored:
    """Pruning by a number for each weight. `rate` is the share that is removed."""

    rate: float

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None, fit: Fit
    ) -> tuple[optax.Params, optax.Params]:
        """See `Continued.transformed`; what a mask has removed before counts, and stays removed."""
        del drawn
        there = _whole(params) if mask is None else mask
        return params, without_smallest(self.scores(masked(params, there), there, fit), self.rate, mask)

    def scores(self, left: optax.Params, mask: optax.Params, fit: Fit) -> optax.Params:
        """A number for each weight, of what a mask has left: those with the smallest go."""
        raise NotImplementedError


@flax.struct.dataclass
class SNIP(_Scored):
    """Removes weights by |w · ∂L/∂w|, how much the loss of the train rows hangs on their being there.

    L is the mean loss, without weight decay. Lee et al. 2019 (arXiv 1810.02340), eq. 6.

    Attributes:
      rate: share of the weights that are removed.
    """

    rate: float = leaf(0.5, "[0, 1)", "share of the weights in matrices that are removed")

    def scores(self, left: optax.Params, mask: optax.Params, fit: Fit) -> optax.Params:
        """|w · ∂L/∂w|."""
        del mask
        gradient = jax.grad(lambda params: fit.loss(fit.outputs(params)))(left)
        return jax.tree.map(lambda w, g: jnp.abs(w * g), left, gradient)


@flax.struct.dataclass
class GraSP(_Scored):
    """Removes weights whose loss leaves the most gradient flow: those with the smallest w · (H g).

    g and H are gradient and Hessian, over the weights in matrices, of the mean loss L of outputs / temperature on the
    train rows. To first order, removing a weight changes ‖g‖² by -2 w · (H g). Wang et al. 2020 (arXiv 2002.07376), eq.
    8, who remove the largest -w · (H g).

    Attributes:
      rate: share of the weights that are removed.
      temperature: divides the outputs; theirs is 200.
    """

    rate: float = leaf(0.5, "[0, 1)", "share of the weights in matrices that are removed")
    temperature: float = leaf(200.0, "(0, inf)", "divides the outputs")

    def scores(self, left: optax.Params, mask: optax.Params, fit: Fit) -> optax.Params:
        """w · (H g)."""
        gradient = jax.grad(lambda params: fit.loss(fit.outputs(params) / self.temperature))
        along = jax.tree.map(lambda g: g if g.ndim > 1 else jnp.zeros_like(g), gradient(left))
        return jax.tree.map(jnp.multiply, left, jax.jvp(gradient, (left,), (masked(along, mask),))[1])


@flax.struct.dataclass
class SynFlow:
    """Removes weights by |w| · ∂R/∂|w|, R = 1ᵀ f(1; |θ|), in rounds, without any data.

    f(1; |θ|) are the outputs for an input of ones of the network with the absolute values of its parameters: for layers
    without biases and with ReLU 1ᵀ (∏ |Wˡ|) 1. Where inputs are tokens, R is the sum over tokens v of the outputs for
    (v, v, …): for such layers that is an input of ones in the place of one-hot vectors. After round k of n a share
    (1 - rate)^(k/n) is left. Tanaka et al. 2020 (arXiv 2006.05467), algorithm 1.

    Attributes:
      rate: share of the weights that are removed.
      rounds: in how many rounds; theirs are 100.
    """

    rate: float = leaf(0.5, "[0, 1)", "share of the weights in matrices that are removed")
    rounds: int = static(100, "[1, 10000]", "in how many rounds")

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None, fit: Fit
    ) -> tuple[optax.Params, optax.Params]:
        """See `Continued.transformed`; what a mask has removed before counts, and stays removed."""
        del drawn
        sizes, shape = jax.tree.map(jnp.abs, params), fit.inputs.shape[1:]
        if fit.vocabulary is None:
            ones = jnp.ones((1, *shape), fit.inputs.dtype)
        else:
            every = jnp.arange(fit.vocabulary, dtype=fit.inputs.dtype).reshape(-1, *[1] * len(shape))
            ones = jnp.broadcast_to(every, (fit.vocabulary, *shape))
        flow = jax.grad(lambda params: jnp.sum(fit.network(params, ones)))

        def one(done, mask):
            left = masked(sizes, mask)
            share = jnp.power(1 - jnp.float32(self.rate), jnp.float32(done + 1) / self.rounds)
            return without_smallest(jax.tree.map(lambda w, g: jnp.abs(w * g), left, flow(left)), 1 - share, mask)

        return params, jax.lax.fori_loop(0, self.rounds, one, _whole(params) if mask is None else mask)


def _whole(params: optax.Params) -> optax.Params:
    """The mask that removes nothing."""
    return jax.tree.map(lambda w: jnp.ones_like(w, bool), params)
