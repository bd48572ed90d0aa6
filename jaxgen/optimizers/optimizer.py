"""What all optimizers share: decay, gradient filters, projection, schedule and norm clamp around a direction."""

from collections.abc import Mapping

import flax.struct
import jax
import optax

from jaxgen import kinds
from jaxgen.components import leaf, part, static
from jaxgen.optimizers import parts

DECAYS = ("decoupled", "coupled", "loss", "initial", "l1")


@flax.struct.dataclass
class Optimizer:
    """Base of the optimizers. Each gives a `direction`; around it stand, in this order,

        L2 in the loss → gradient filter → ⊥ projection → coupled L2 or L1 → direction
        → decoupled decay or decay to the start → -lr(t) → norm clamp

    Attributes:
      learning_rate: lr.
      weight_decay: λ, the strength of the decay.
      decay_kind: "decoupled": w ← w - lr λ w (Loshchilov & Hutter 2019, arXiv 1711.05101); "coupled": g ← g + λ w,
        seen by the direction but not by filter and projection; "loss": the same, seen by all (the gradient of λ/2 ‖w‖²
        in the loss; losses are reported without it); "initial": w ← w - lr λ (w - w₀); "l1": g ← g + λ sign w.
      decay_mask: which parameters decay: "all", "matrices" (two axes or more) or "no_embeddings" (matrices that are
        neither embeddings nor positions: those that the network declares as `groups = {"embeddings": (…)}`).
      filter: what is done to the gradient (`jaxgen.filters`), or None.
      perpendicular: whether the gradient is projected (`perp_grad`).
      schedule: how the rate changes (`jaxgen.schedules`); None: it does not.
      clamp: what is imposed on the weights (`jaxgen.clamps`), or None.
    """

    learning_rate: float = leaf(1e-3, "[0, inf)", "step size")
    weight_decay: float = leaf(0.0, "[0, inf)", "strength of the decay")
    decay_kind: str = static("coupled", DECAYS, "where the decay acts")
    decay_mask: str = static("all", parts.MASKS, "parameters that decay")
    filter: kinds.Filter | None = part("filter", None, "of the gradient")
    perpendicular: bool = static(False, doc="whether gradients are projected")
    schedule: kinds.Schedule | None = part("schedule", None, "of the learning rate")
    clamp: kinds.Clamp | None = part("clamp", None, "of the weights after the step")

    def direction(self) -> optax.GradientTransformation:
        """From gradients to what is multiplied by -lr."""
        raise NotImplementedError

    @property
    def can_rest(self) -> bool:
        """Whether `at_rest` can prove anything: updates must depend on parameters, gradient and state alone."""
        return self.schedule is self.filter is self.clamp is None

    def at_rest(self, before: optax.OptState, after: optax.OptState) -> jax.Array:
        """Whether steps that change no bit of the parameters, and the state from `before` to `after`, always go on so.

        Here: no bit of the state changed either. The gradient depends on the parameters alone (full batch), so the next
        step is the same step.
        """
        return parts.same_bits(before, after)

    def decaying(self, params: optax.Params, groups: Mapping[str, tuple[str, ...]]) -> optax.Params:
        """Which of the parameters `weight_decay` acts on: a tree of bools."""
        mask = parts.decay_mask(self.decay_mask, groups)
        return jax.tree.map(lambda _: True, params) if mask is None else mask(params)

    def transform(self, groups: Mapping[str, tuple[str, ...]] | None = None) -> optax.GradientTransformation:
        """The whole optimizer.

        Args:
          groups: the network's named groups of parameters: those called "embeddings" are left out of some masks.

        Raises:
          FieldError: the mask needs groups that the network does not declare; on `init`.
        """
        mask = parts.decay_mask(self.decay_mask, groups)
        kind, decay = self.decay_kind, optax.add_decayed_weights(self.weight_decay, mask)
        chain = [decay] if kind == "loss" else []
        if self.filter is not None:
            chain.append(self.filter.transform())
        if self.perpendicular:
            chain.append(parts.perp_grad())
        if kind == "coupled":
            chain.append(decay)
        if kind == "l1":
            chain.append(parts.add_sign_decay(self.weight_decay, mask))
        chain.append(self.direction())
        if kind == "decoupled":
            chain.append(decay)
        if kind == "initial":
            chain.append(parts.add_decay_to_start(self.weight_decay, mask))
        chain.append(self._learning_rate())
        if self.clamp is not None:
            chain.append(self.clamp.transform())
        return optax.chain(*chain)

    def _learning_rate(self) -> optax.GradientTransformation:
        if self.schedule is None:
            return optax.scale_by_learning_rate(self.learning_rate)
        return parts.scale_by_schedule(self.learning_rate, self.schedule.factor)
