"""How the learning rate changes over the steps: factors of an optimizer's `learning_rate`."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf
from jaxgen.errors import FieldError


@flax.struct.dataclass
class Warmup:
    """lr(t) = lr · min(1, (t + 1) / steps) at t = 0, 1, …

    Attributes:
      steps: of the warm-up; they can be swept.
    """

    steps: int = leaf(10, "[0, 2147483647]", "steps of the warm-up")

    def factor(self, count: jax.Array) -> jax.Array:
        """What the rate is multiplied by in the step after `count` others, float32."""
        rising = (count.astype(jnp.float32) + 1) / jnp.maximum(self.steps, 1)
        return jnp.where(count < self.steps, rising, 1.0)


@flax.struct.dataclass
class Cosine:
    """`Warmup`, then lr(t) down to final_rate · lr at step `steps`, along half a cosine; it stays there.

    Attributes:
      steps: at which the cosine ends; they can be swept.
      warmup: steps of the warm-up.
      final_rate: share of the rate that is left at the end.
    """

    steps: int = leaf(1000, "[1, 2147483647]", "step at which the cosine ends")
    warmup: int = leaf(0, "[0, 2147483647]", "steps of the warm-up")
    final_rate: float = leaf(0.0, "[0, 1]", "share of the rate left at the end")

    def check(self) -> None:
        """FieldError where the cosine ends before it begins."""
        if self.steps <= self.warmup:
            raise FieldError("steps", self.steps, f"must be above warmup = {self.warmup}")

    def factor(self, count: jax.Array) -> jax.Array:
        """What the rate is multiplied by in the step after `count` others, float32."""
        done = jnp.clip((count - self.warmup) / jnp.maximum(self.steps - self.warmup, 1), 0.0, 1.0)
        falling = self.final_rate + (1 - self.final_rate) * 0.5 * (1 + jnp.cos(jnp.pi * done))
        return Warmup(self.warmup).factor(count) * falling


__all__ = ["Cosine", "Warmup"]
