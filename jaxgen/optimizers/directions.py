"""The optimizers, each by its direction."""

import flax.struct
import jax
import optax

from jaxgen.components import leaf, static
from jaxgen.optimizers import parts
from jaxgen.optimizers.optimizer import DECAYS, Optimizer


@flax.struct.dataclass
class SGD(Optimizer):
    """direction: v ← momentum · v + g. Decay is coupled unless said otherwise. Other fields: see `Optimizer`.

    Attributes:
      learning_rate: lr.
      momentum: 0 is plain gradient descent.
    """

    learning_rate: float = leaf(0.1, "[0, inf)", "step size")
    momentum: float = leaf(0.0, "[0, 1)", "of the velocity")

    def direction(self) -> optax.GradientTransformation:
        """Heavy-ball momentum."""
        return optax.trace(self.momentum)


@flax.struct.dataclass
class Adam(Optimizer):
    """direction: m̂ / (√v̂ + eps) (Kingma & Ba 2015, arXiv 1412.6980), see `scale_by_adam`. Decay is coupled.

    Other fields: see `Optimizer`.

    Attributes:
      b1, b2: decay rates of the first and second moment.
      eps: added to √v̂; as small as 1e-30 where wanted.
    """

    b1: float = leaf(0.9, "[0, 1)", "decay rate of the first moment")
    b2: float = leaf(0.999, "[0, 1)", "decay rate of the second moment")
    eps: float = leaf(1e-8, "(0, inf)", "added to the root of the second moment")

    def direction(self) -> optax.GradientTransformation:
        """Adam's."""
        return parts.scale_by_adam(self.b1, self.b2, self.eps)

    def at_rest(self, before: optax.OptState, after: optax.OptState) -> jax.Array:
        """Here: the first moment is exactly 0 before and after the step.

        So (1 - b1) g rounded to 0; g is the same at the next step, m stays 0, and with it the direction, whatever the
        second moment and the bias corrections do.
        """
        moments = [s.m for s in (*parts.adam_states(before), *parts.adam_states(after))]
        return parts.same_bits(moments, jax.tree.map(jax.numpy.zeros_like, moments))


@flax.struct.dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Other fields: see `Optimizer`, `Adam`.

    Attributes:
      weight_decay: λ.
      decay_kind: "decoupled" unless said otherwise.
    """

    weight_decay: float = leaf(0.01, "[0, inf)", "strength of the decay")
    decay_kind: str = static("decoupled", DECAYS, "where the decay acts")


@flax.struct.dataclass
class PerpAdamW(AdamW):
    """⊥AdamW of Prieto et al. (arXiv 2501.04697): AdamW on the gradient's part that does not change the weights' scale.

    `PerpAdamW()` has the settings of the paper's text (b2 .99, eps 1e-25); `PerpAdamW.released()` those with which its
    released code really runs (its wrapped AdamW keeps PyTorch's defaults). Other fields: see `Optimizer`, `AdamW`.
    """

    weight_decay: float = leaf(0.0, "[0, inf)", "strength of the decay")
    b2: float = leaf(0.99, "[0, 1)", "decay rate of the second moment")
    eps: float = leaf(1e-25, "(0, inf)", "added to the root of the second moment")
    perpendicular: bool = static(True, doc="whether gradients are projected")

    @classmethod
    def released(cls, **fields) -> "PerpAdamW":
        """The settings in effect in the released code: b2 .999, eps 1e-8."""
        return cls(**({"b2": 0.999, "eps": 1e-8} | fields))


@flax.struct.dataclass
class PerpSGD(SGD):
    """⊥SGD of Prieto et al. (arXiv 2501.04697). `PerpSGD.released()` has the momentum of .8 that its code runs with.

    Other fields: see `Optimizer`, `SGD`.
    """

    perpendicular: bool = static(True, doc="whether gradients are projected")

    @classmethod
    def released(cls, **fields) -> "PerpSGD":
        """The settings in effect in the released code: momentum .8."""
        return cls(**({"momentum": 0.8} | fields))


@flax.struct.dataclass
class Lion(Optimizer):
    """direction: sign(b1 m + (1 - b1) g), m ← b2 m + (1 - b2) g (Chen et al. 2023, arXiv 2302.06675). Decoupled decay.

    Other fields: see `Optimizer`.

    Attributes:
      b1, b2: rates of the interpolation and of the momentum.
    """

    learning_rate: float = leaf(1e-4, "[0, inf)", "step size")
    decay_kind: str = static("decoupled", DECAYS, "where the decay acts")
    b1: float = leaf(0.9, "[0, 1)", "rate of the interpolation")
    b2: float = leaf(0.99, "[0, 1)", "decay rate of the momentum")

    def direction(self) -> optax.GradientTransformation:
        """Lion's."""
        return optax.scale_by_lion(self.b1, self.b2)


@flax.struct.dataclass
class Muon(Optimizer):
    """direction: momentum, orthogonalised by five Newton–Schulz steps (Jordan et al. 2024); Adam's for non-matrices.

    Decay is decoupled. Other fields: see `Optimizer`.

    Attributes:
      momentum: of the matrices' momentum (Nesterov).
      b1, b2, eps: of Adam for parameters that are no matrices.
    """

    learning_rate: float = leaf(0.02, "[0, inf)", "step size")
    decay_kind: str = static("decoupled", DECAYS, "where the decay acts")
    momentum: float = leaf(0.95, "[0, 1)", "of the matrices' momentum")
    b1: float = leaf(0.9, "[0, 1)", "Adam's first decay rate")
    b2: float = leaf(0.999, "[0, 1)", "Adam's second decay rate")
    eps: float = leaf(1e-8, "(0, inf)", "Adam's eps")

    @property
    def can_rest(self) -> bool:
        """Never: no rule is known."""
        return False

    def direction(self) -> optax.GradientTransformation:
        """Muon's, with Adam's for vectors."""
        adam = {"adam_b1": self.b1, "adam_b2": self.b2, "eps": self.eps}
        return optax.chain(optax.contrib.muon(1.0, beta=self.momentum, **adam), optax.scale(-1.0))
