"""What all optimizers share: decay, gradient filters, projection, schedule and norm clamp around a direction."""

from typing import Any

import flax.struct
import jax
import optax

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.optimizers import parts

DECAYS = ("decoupled", "coupled", "loss", "initial", "l1")
FILTERS = ("none", "ema", "average")
SCHEDULES = ("constant", "warmup", "cosine")


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
        neither embeddings nor positions).
      gradient_filter: Grokfast (Lee et al. 2024, arXiv 2405.20233): "ema": g ← g + gain · m with m ← decay · m +
        (1 - decay) · g, m₀ = g₀; "average": g ← g + gain · mean of the last `filter_window` gradients, once there are
        so many.
      filter_decay, filter_gain, filter_window: of the filter.
      perpendicular: whether the gradient is projected (`perp_grad`).
      schedule: "constant"; "warmup": lr(t) = lr · min(1, (t + 1) / warmup_steps); "cosine": after the warm-up down to
        final_rate · lr at step decay_steps, along half a cosine.
      warmup_steps, decay_steps, final_rate: of the schedule; steps can be swept.
      clamp: whether, from step `clamp_start` on, all weights are scaled down to a norm of at most clamp_ratio · ‖w₀‖.
      clamp_ratio, clamp_start: of the clamp.
    """

    learning_rate: float = leaf(1e-3, "[0, inf)", "step size")
    weight_decay: float = leaf(0.0, "[0, inf)", "strength of the decay")
    decay_kind: str = static("coupled", DECAYS, "where the decay acts")
    decay_mask: str = static("all", parts.MASKS, "parameters that decay")
    gradient_filter: str = static("none", FILTERS, "Grokfast filter", added=True)
    filter_decay: float = leaf(0.98, "[0, 1)", "decay of the filter's mean", added=True)
    filter_gain: float = leaf(2.0, "[0, inf)", "weight of the filter's mean", added=True)
    filter_window: int = static(100, "[1, 100000]", "gradients in the filter's mean", added=True)
    perpendicular: bool = static(False, doc="whether gradients are projected", added=True)
    schedule: str = static("constant", SCHEDULES, "of the learning rate", added=True)
    warmup_steps: int = leaf(0, "[0, 2147483647]", "steps of the warm-up", added=True)
    decay_steps: int = leaf(0, "[0, 2147483647]", "step at which the cosine ends", added=True)
    final_rate: float = leaf(0.0, "[0, 1]", "share of the rate left at the end", added=True)
    clamp: bool = static(False, doc="whether the weight norm is clamped", added=True)
    clamp_ratio: float = leaf(1.0, "(0, inf)", "norm allowed, relative to the start", added=True)
    clamp_start: int = leaf(0, "[0, 2147483647]", "first step that is clamped", added=True)

    def check(self) -> None:
        """FieldError where fields do not fit each other."""
        if self.schedule == "cosine" and self.decay_steps <= self.warmup_steps:
            why = f"must be above warmup_steps = {self.warmup_steps} for the cosine schedule"
            raise FieldError("decay_steps", self.decay_steps, why)

    def direction(self) -> optax.GradientTransformation:
        """From gradients to what is multiplied by -lr."""
        raise NotImplementedError

    @property
    def can_rest(self) -> bool:
        """Whether `at_rest` can prove anything: updates must depend on parameters, gradient and state alone."""
        return self.schedule == "constant" and self.gradient_filter == "none" and not self.clamp

    def at_rest(self, before: Any, after: Any) -> jax.Array:
        """Whether steps that change no bit of the parameters, and the state from `before` to `after`, always go on so.

        Here: no bit of the state changed either. The gradient depends on the parameters alone (full batch), so the next
        step is the same step.
        """
        return parts.same_bits(before, after)

    def transform(self) -> optax.GradientTransformation:
        """The whole optimizer."""
        mask = parts.decay_mask(self.decay_mask)
        kind, decay = self.decay_kind, optax.add_decayed_weights(self.weight_decay, mask)
        chain = [decay] if kind == "loss" else []
        if self.gradient_filter == "ema":
            chain.append(parts.grokfast_ema(self.filter_decay, self.filter_gain))
        if self.gradient_filter == "average":
            chain.append(parts.grokfast_average(self.filter_window, self.filter_gain))
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
        if self.clamp:
            chain.append(parts.clamp_norm(self.clamp_ratio, self.clamp_start))
        return optax.chain(*chain)

    def _learning_rate(self) -> optax.GradientTransformation:
        if self.schedule == "constant":
            return optax.scale_by_learning_rate(self.learning_rate)
        decay_steps = self.decay_steps if self.schedule == "cosine" else None
        return parts.scale_by_schedule(self.learning_rate, self.warmup_steps, decay_steps, self.final_rate)
