"""Fitting a network to a task."""

from typing import Any

import flax.linen as nn


def bind(model: nn.Module, task: Any) -> nn.Module:
    """`model` with its fields `vocabulary` and `outputs` taken from the task, where it has them and they are None."""
    sizes = {"vocabulary": task.vocabulary, "outputs": task.outputs}
    missing = {k: v for k, v in sizes.items() if getattr(model, k, 0) is None and v is not None}
    return model.clone(**missing)
