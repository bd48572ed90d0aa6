"""What an optimizer sees in the place of the gradient.

Grokfast (Lee et al. 2024, arXiv 2405.20233) and clipping (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063).
"""

import flax.struct
import optax

from jaxgen.components import leaf, static
from jaxgen.optimizers import parts


@flax.struct.dataclass
class GrokfastEMA:
    """g ← g + gain · m with m ← decay · m + (1 - decay) · g, m₀ = g₀.

    Attributes:
      decay: of the mean.
      gain: weight of the mean.
    """

    decay: float = leaf(0.98, "[0, 1)", "decay of the mean")
    gain: float = leaf(2.0, "[0, inf)", "weight of the mean")

    def transform(self) -> optax.GradientTransformation:
        """As an optax transformation."""
        return parts.grokfast_ema(self.decay, self.gain)


@flax.struct.dataclass
class GrokfastAverage:
    """g ← g + gain · mean of the last `window` gradients, once there are so many (Grokfast-MA).

    Attributes:
      window: gradients in the mean, all of which are kept.
      gain: weight of the mean.
    """

    window: int = static(100, "[1, 100000]", "gradients in the mean")
    gain: float = leaf(2.0, "[0, inf)", "weight of the mean")

    def transform(self) -> optax.GradientTransformation:
        """As an optax transformation."""
        return parts.grokfast_average(self.window, self.gain)


@flax.struct.dataclass
class ClipNorm:
    """g ← g · min(1, largest / ‖g‖), ‖g‖ over all parameters of the optimizer.

    Attributes:
      largest: norm that is left as it is.
    """

    largest: float = leaf(1.0, "(0, inf)", "norm that is left as it is")

    def transform(self) -> optax.GradientTransformation:
        """As an optax transformation."""
        return optax.clip_by_global_norm(self.largest)


__all__ = ["ClipNorm", "GrokfastAverage", "GrokfastEMA"]
