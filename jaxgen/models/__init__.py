"""Networks as flax linen modules. Your own module is as good as these."""

from jaxgen.models.bind import bind
from jaxgen.models.layers import Linear, look_up, uniform_fan_in
from jaxgen.models.mlp import MLP, QuadraticMLP
from jaxgen.models.transformer import Transformer

__all__ = ["MLP", "Linear", "QuadraticMLP", "Transformer", "bind", "look_up", "uniform_fan_in"]
