"""Fitting a network to a task, and to training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax

from jaxgen.errors import FieldError
from jaxgen.signatures import takes

if TYPE_CHECKING:
    from jaxgen.tasks.task import Task


def bind(model: nn.Module, task: "Task") -> nn.Module:
    """`model` with `vocabulary`, `outputs` and `predicts` from the task, where it has these fields and they are None.

    Raises:
      FieldError: they are set, and too small for the task.
    """
    missing: dict[str, Any] = {}
    if getattr(model, "predicts", 0) is None:
        missing["predicts"] = getattr(task, "predicts", None)
    for name, size in (("vocabulary", task.vocabulary), ("outputs", task.outputs)):
        if size is None or not hasattr(model, name):
            continue
        if (own := getattr(model, name)) is None:
            missing[name] = size
        elif own < size:
            raise FieldError(f"model.{name}", own, f"must be at least the task's {size}")
    return model.clone(**missing)


def told(model: nn.Module, train: bool, mask: jax.Array | None) -> dict[str, bool | jax.Array | None]:
    """What the network's `__call__` is told beside its inputs: `train` and `mask`, where it takes them."""
    call = type(model).__call__
    return {name: value for name, value in (("train", train), ("mask", mask)) if takes(call, name)}


def is_random(model: nn.Module) -> bool:
    """Whether outputs may be random in training: it takes `train`, and has no field `dropout` that is None.

    A network whose `random` says whether it is, is believed.
    """
    return takes(type(model).__call__, "train") and getattr(model, "random", getattr(model, "dropout", 0.0) is not None)


def is_whole(model: nn.Module) -> bool:
    """Whether a training step has to show it the whole batch: it is random then, or is told `mask`.

    Not where it takes `mask` and has a field `batch_norm` that is False.
    """
    return is_random(model) or (takes(type(model).__call__, "mask") and getattr(model, "batch_norm", True))


def groups(model: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """The named groups of parameters that a network declares, `groups = {"embeddings": ("wte", "wpe")}`: patterns.

    A pattern is a path ("Linear_0.kernel") or the first names of one, with * and ? as in file names.

    Raises:
      FieldError: it is no such table.
    """
    found = getattr(model, "groups", {})
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(some, tuple) and all(isinstance(one, str) for one in some)
        for name, some in found.items()
    ):
        raise FieldError("model.groups", found, 'must be a table of patterns by name: {"embeddings": ("wte", "wpe")}')
    return found
