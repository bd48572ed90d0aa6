"""Networks as flax linen modules. Your own module is as good as these."""

from jaxgen.models.bind import bind, groups, is_random, is_whole, told
from jaxgen.models.committee import Committee
from jaxgen.models.decoder import Decoder
from jaxgen.models.layers import Dropout, Linear, gaussian, look_up, uniform_fan_in
from jaxgen.models.mlp import MLP, EmbeddingMLP, FixedReadoutMLP, MatrixEmbeddingMLP, QuadraticMLP
from jaxgen.models.transformer import Transformer
from jaxgen.models.two_layer import TwoLayer

__all__ = [
    "MLP",
    "Committee",
    "Decoder",
    "Dropout",
    "EmbeddingMLP",
    "FixedReadoutMLP",
    "Linear",
    "MatrixEmbeddingMLP",
    "QuadraticMLP",
    "Transformer",
    "TwoLayer",
    "bind",
    "gaussian",
    "groups",
    "is_random",
    "is_whole",
    "look_up",
    "told",
    "uniform_fan_in",
]
