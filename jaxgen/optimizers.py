"""Optimizers: optax chains built inside the compiled program from numbers that can be swept."""

import flax.struct
import jax
import optax

from jaxgen.component import leaf, static

DECAYS = ("decoupled", "coupled")
MASKS = ("all", "matrices", "no_embeddings")


@flax.struct.dataclass
class SGD:
    """w ← w - lr · v, v ← momentum · v + g + weight_decay · w.

    Attributes:
      learning_rate: lr.
      momentum: 0 is plain gradient descent.
      weight_decay: coupled L2, added to the gradient before the momentum.
      decay_mask: which parameters decay: "all", "matrices" (two axes or more) or "no_embeddings".
    """

    learning_rate: float = leaf(0.1, "[0, inf)", "step size")
    momentum: float = leaf(0.0, "[0, 1)", "of the velocity")
    weight_decay: float = leaf(0.0, "[0, inf)", "coupled L2")
    decay_mask: str = static("all", MASKS, "parameters that decay")

    def transform(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay, decay_mask(self.decay_mask)),
            optax.trace(self.momentum),
            optax.scale_by_learning_rate(self.learning_rate),
        )


@flax.struct.dataclass
class Adam:
    """w ← w - lr · m̂ / (√v̂ + eps) (Kingma & Ba 2015, arXiv 1412.6980), with moments of g.

    Attributes:
      learning_rate: lr.
      b1, b2: decay rates of the first and second moment.
      eps: added to √v̂.
    """

    learning_rate: float = leaf(1e-3, "[0, inf)", "step size")
    b1: float = leaf(0.9, "[0, 1)", "decay rate of the first moment")
    b2: float = leaf(0.999, "[0, 1)", "decay rate of the second moment")
    eps: float = leaf(1e-8, "(0, inf)", "added to the root of the second moment")

    def transform(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(self.b1, self.b2, self.eps), optax.scale_by_learning_rate(self.learning_rate)
        )


@flax.struct.dataclass
class AdamW:
    """Adam with weight decay of a stated kind.

    decoupled: w ← w - lr · (m̂ / (√v̂ + eps) + weight_decay · w) (Loshchilov & Hutter 2019, arXiv 1711.05101);
    coupled: plain Adam on g + weight_decay · w.

    Attributes:
      learning_rate: lr.
      weight_decay: the decay's strength.
      b1, b2: decay rates of the first and second moment.
      eps: added to √v̂.
      decay_kind: "decoupled" (times lr) or "coupled" (L2 in the gradient).
      decay_mask: which parameters decay: "all", "matrices" (two axes or more) or "no_embeddings".
    """

    learning_rate: float = leaf(1e-3, "[0, inf)", "step size")
    weight_decay: float = leaf(0.01, "[0, inf)", "strength of the decay")
    b1: float = leaf(0.9, "[0, 1)", "decay rate of the first moment")
    b2: float = leaf(0.999, "[0, 1)", "decay rate of the second moment")
    eps: float = leaf(1e-8, "(0, inf)", "added to the root of the second moment")
    decay_kind: str = static("decoupled", DECAYS, "where the decay acts")
    decay_mask: str = static("all", MASKS, "parameters that decay")

    def transform(self) -> optax.GradientTransformation:
        adam = optax.scale_by_adam(self.b1, self.b2, self.eps)
        decay = optax.add_decayed_weights(self.weight_decay, decay_mask(self.decay_mask))
        before_lr = (adam, decay) if self.decay_kind == "decoupled" else (decay, adam)
        return optax.chain(*before_lr, optax.scale_by_learning_rate(self.learning_rate))


def decay_mask(name: str):
    """Function from parameters to a tree of bools: which of them decay. None stands for all."""
    if name == "all":
        return None

    def keep(path, parameter) -> bool:
        words = jax.tree_util.keystr(path).lower()
        return parameter.ndim >= 2 and not (name == "no_embeddings" and ("embed" in words or "position" in words))

    return lambda parameters: jax.tree_util.tree_map_with_path(keep, parameters)


__all__ = ["SGD", "Adam", "AdamW", "decay_mask"]
