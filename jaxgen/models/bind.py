"""Fitting a network to a task, and to training."""

import inspect
from typing import Any

import flax.linen as nn

from jaxgen.errors import FieldError


def bind(model: nn.Module, task: Any) -> nn.Module:
    """`model` with its fields `vocabulary` and `outputs` taken from the task, where it has them and they are None.

    Raises:
      FieldError: they are set, and too small for the task.
    """
    missing = {}
    for name, size in (("vocabulary", task.vocabulary), ("outputs", task.outputs)):
        if size is None or not hasattr(model, name):
            continue
        if (own := getattr(model, name)) is None:
            missing[name] = size
        elif own < size:
            raise FieldError(f"model.{name}", own, f"must be at least the task's {size}")
    return model.clone(**missing)


def quiet(model: nn.Module) -> dict[str, bool]:
    """What tells the network that it is not being trained: {"train": False} where its `__call__` takes `train`."""
    return {"train": False} if "train" in inspect.signature(type(model).__call__).parameters else {}


def is_random(model: nn.Module) -> bool:
    """Whether outputs may be random in training: it takes `train`, and has no field `dropout` that is None."""
    return bool(quiet(model)) and getattr(model, "dropout", 0.0) is not None
