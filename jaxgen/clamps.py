"""What is imposed on the weights after a step."""

import flax.struct
import optax

from jaxgen.components import leaf
from jaxgen.optimizers import parts


@flax.struct.dataclass
class NormClamp:
    """From step `start` on, all weights together are scaled down to a norm of at most ratio · ‖w₀‖.

    In a group of `optimizers.Groups`, the weights are those of the group.

    Attributes:
      ratio: norm allowed, relative to that at initialisation.
      start: first step that is clamped.
    """

    ratio: float = leaf(1.0, "(0, inf)", "norm allowed, relative to the start")
    start: int = leaf(0, "[0, 2147483647]", "first step that is clamped")

    def transform(self) -> optax.GradientTransformation:
        """As an optax transformation, the last of a chain."""
        return parts.clamp_norm(self.ratio, self.start)


__all__ = ["NormClamp"]
