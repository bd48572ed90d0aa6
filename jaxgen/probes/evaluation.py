"""What a probe sees of one run."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeGuard

import jax
import jax.numpy as jnp
import optax

from jaxgen import kinds
from jaxgen.errors import FieldError
from jaxgen.kinds import Tree
from jaxgen.paths import by_name

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One run at an evaluation.

    Attributes:
      experiment: the run.
      params: its parameters.
      inputs, labels: (rows, …) of its task.
      splits: boolean masks (rows,) by name.
      weights: of labels or rows, see `jaxgen.Examples`; None where all count alike.
      key: from which the task drew its rows.
      step: how many were made.
      opt_state: of the optimizer.
      network: from inputs (rows, …), and parameters where not these, to outputs (rows, …, outputs), as in evaluations.
      gradient: gives the gradient of the training loss (of the next batch), like `params`.
      update: gives what the optimizer would add to the parameters next, like `params`.
      initial: gives the parameters that the run began with, drawn or solved for again; not of one that starts from
        another run.
      again: gives the same evaluation with nothing computed yet. Outputs, gradient, update and initial parameters are
        computed once and kept: what is computed within a branch or a loop of JAX must not be kept outside of it.
    """

    experiment: "Experiment"
    params: optax.Params
    inputs: jax.Array
    labels: jax.Array
    splits: dict[str, jax.Array]
    weights: jax.Array | None
    key: jax.Array
    step: jax.Array
    opt_state: optax.OptState
    network: Callable[..., jax.Array]
    gradient: Callable[[], optax.Updates]
    update: Callable[[], optax.Updates]
    initial: Callable[[], optax.Params]
    again: Callable[[], "Evaluation"]

    @functools.cached_property
    def outputs(self) -> jax.Array:
        """The network's outputs on all rows at once, whatever `training.evaluation_rows` is."""
        return self.network(self.inputs)

    @staticmethod
    def tensors(tree: optax.Params) -> dict[str, jax.Array]:
        """The leaves of a tree like `params` by name, e.g. "Linear_0.kernel"."""
        return by_name(tree)

    def means(self, values: Callable[..., Mapping[str, jax.Array]]) -> dict[str, jax.Array]:
        """Σ w v / Σ w over each split, as "<split>/<name>"; NaN where a split is empty.

        With `training.evaluation_rows` only the outputs of so many rows are in memory at a time.

        Args:
          values: from outputs, labels and weights (or None) of some rows to numbers v by name, one for each label or
            for each row.
        """
        rows, size = len(self.labels), self.experiment.training.evaluation_rows
        if size is None or size >= rows:
            found = values(self.outputs, self.labels, self.weights)
            return {
                f"{split}/{name}": masked_mean(v, mask, self.weights)
                for name, v in found.items()
                for split, mask in self.splits.items()
            }

        def totals(start):
            at = jnp.minimum(start, rows - size) + jnp.arange(size, dtype=jnp.int32)
            labels = self.labels[at]
            weights = None if self.weights is None else self.weights[at]
            found = values(self.network(self.inputs[at]), labels, weights)
            return {
                f"{split}/{name}": jnp.stack(masked_sums(v, mask[at] & (at >= start), weights))
                for name, v in found.items()
                for split, mask in self.splits.items()
            }

        starts = jnp.arange(0, rows, size, dtype=jnp.int32)
        sums = jax.tree.map(lambda parts: jnp.sum(parts, axis=0), jax.lax.map(totals, starts))
        return {name: total / weight for name, (total, weight) in sums.items()}


def remembers(probe: object) -> TypeGuard[kinds.Remembering]:
    """Whether a probe has a memory."""
    return hasattr(probe, "init")


def measured_by(probe: kinds.Probe, seen: Evaluation, memory: Tree) -> tuple[dict[str, jax.Array], Tree]:
    """What a probe measures, by name in the training dtype, and what it remembers: `memory` where it has no `init`.

    Raises:
      FieldError: it gives something else.
    """
    name = type(probe).__name__
    found = probe.measure(seen, memory) if remembers(probe) else (probe.measure(seen), memory)
    if not isinstance(found, tuple) or len(found) != 2:
        raise FieldError("training.probes", name, "must give numbers by name and a memory, for it has init")
    if not isinstance(found[0], Mapping):
        raise FieldError("training.probes", name, "must give a table of numbers by name")
    dtype = seen.experiment.training.dtype
    return {name: jnp.asarray(value).astype(dtype) for name, value in found[0].items()}, found[1]


def masked_mean(values: jax.Array, mask: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Σ w v / Σ w over the rows of a mask, in float32 or wider; NaN where there is none. See `masked_sums`."""
    total, weight = masked_sums(values, mask, weights)
    return total / weight


def masked_sums(values: jax.Array, mask: jax.Array, weights: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Σ w v and Σ w over the rows of a mask, in float32 or wider.

    Args:
      values: (rows,) or (rows, …).
      mask: (rows,) bool.
      weights: (rows,) or like `values`; None is 1. Where values are of rows and weights of labels, a row counts that
        has a label of weight above 0.
    """
    dtype = values.dtype if jnp.issubdtype(values.dtype, jnp.floating) and jnp.finfo(values.dtype).bits >= 32 else None
    values = values.astype(dtype or jnp.float32)
    counted = jnp.reshape(mask, (*mask.shape, *[1] * (values.ndim - 1)))
    if weights is None:
        counted = jnp.broadcast_to(counted, values.shape)
        return jnp.sum(jnp.where(counted, values, 0)), jnp.sum(counted, dtype=values.dtype)
    if weights.ndim > values.ndim:
        weights = jnp.any(weights > 0, axis=tuple(range(values.ndim, weights.ndim)))
    weights = jnp.reshape(weights, (*weights.shape, *[1] * (values.ndim - weights.ndim))).astype(values.dtype)
    weights = jnp.broadcast_to(jnp.where(counted, weights, 0), values.shape)
    return jnp.sum(jnp.where(weights > 0, values, 0) * weights), jnp.sum(weights)
