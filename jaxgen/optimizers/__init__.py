"""Optimizers: optax chains built inside the compiled program from numbers that can be swept."""

from jaxgen.optimizers.directions import SGD, Adam, AdamW, Lion, Muon, PerpAdamW, PerpSGD
from jaxgen.optimizers.groups import Groups, transform_of
from jaxgen.optimizers.optax import Optax
from jaxgen.optimizers.optimizer import Optimizer
from jaxgen.optimizers.parts import (
    clamp_norm,
    decay_mask,
    grokfast_average,
    grokfast_ema,
    perp_grad,
    scale_by_adam,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Groups",
    "Lion",
    "Muon",
    "Optax",
    "Optimizer",
    "PerpAdamW",
    "PerpSGD",
    "clamp_norm",
    "decay_mask",
    "grokfast_average",
    "grokfast_ema",
    "perp_grad",
    "scale_by_adam",
    "transform_of",
]
