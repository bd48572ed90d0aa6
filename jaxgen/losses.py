"""Losses of one run: outputs (rows, …, outputs) and labels (rows, …) to one loss per label, (rows, …).

The classes are parts of an experiment; one whose `__call__` takes `step` is given the number of steps made. The
functions below them are losses in the style of `optax.losses`, for use in any code: logits (…, classes) and integer
labels (…) to losses (…), computed in the dtype of the logits.
"""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen import from_optax, kinds
from jaxgen.components import static
from jaxgen.errors import FieldError
from jaxgen.signatures import takes

DTYPES = ("float16", "bfloat16", "float32", "float64")


@flax.struct.dataclass
class CrossEntropy:
    """`softmax_cross_entropy` of the logits cast to `dtype`, which overflow where they are larger than it can hold.

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of logits and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        return softmax_cross_entropy(outputs.astype(self.dtype), labels)

    def collapsed(self, outputs: jax.Array) -> jax.Array:
        """Labels (rows, …) whose fl(Σ exp(z - max z)) is exactly 1: all but the largest logit are absorbed."""
        return absorbed(outputs.astype(self.dtype))


@flax.struct.dataclass
class StableMaxCrossEntropy:
    """`stablemax_cross_entropy` of the logits cast to `dtype`, first limited to what it can hold (±65504 in float16).

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of logits and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        return stablemax_cross_entropy(_saturated(outputs, self.dtype), labels)

    def collapsed(self, outputs: jax.Array) -> jax.Array:
        """Labels (rows, …) whose fl(Σ s(z) / max s(z)) is exactly 1."""
        return absorbed(_log_s(_saturated(outputs, self.dtype)))


@flax.struct.dataclass
class MeanSquaredError:
    """Mean over the outputs of (o - onehot(y))² for classes y, of (o - y)² for numbers y, (rows, outputs) or (rows,).

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of outputs and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        outputs = outputs.astype(self.dtype)
        if labels.ndim == outputs.ndim:
            target = labels.astype(self.dtype)
        elif jnp.issubdtype(labels.dtype, jnp.integer):
            target = jax.nn.one_hot(labels, outputs.shape[-1], dtype=self.dtype)
        elif outputs.shape[-1] == 1:
            target = labels[..., None].astype(self.dtype)
        else:
            raise FieldError("task.outputs", outputs.shape[-1], "must be 1, for each label is one number")
        return jnp.mean(jnp.square(outputs - target), axis=-1)


@flax.struct.dataclass
class CentredSquaredError:
    """Σ_j (õ_j - ỹ_j)² over classes, of õ = o - mean(o) and ỹ = onehot(y) - 1/M.

    = ‖õ‖² - 2 õ_y + 1 - 1/M: what all outputs have in common costs nothing (Tian 2025, arXiv 2509.21519). A sum, not a
    mean: a network that says nothing has 1 - 1/M.

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of outputs and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        outputs = outputs.astype(self.dtype)
        error = outputs - jax.nn.one_hot(labels, outputs.shape[-1], dtype=self.dtype)
        return jnp.sum(jnp.square(error - jnp.mean(error, axis=-1, keepdims=True)), axis=-1)


@flax.struct.dataclass
class Logistic:
    """log(1 + exp(-y o)) of one output per label (rows, …, 1) and labels y = -1 or 1, float (rows, …).

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of outputs and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        return jax.nn.softplus(-outputs[..., 0].astype(self.dtype) * labels.astype(self.dtype))


def Optax(name: str, **numbers: float) -> kinds.Loss:
    """The component of a loss of `optax.losses`: `Optax("sigmoid_focal_loss", gamma=2.0)`.

    It has to give one value per row. Fields and `type` are as in `jaxgen.optimizers.Optax`.

    Raises:
      FieldError: optax has no loss of that name, it has no such number, or one without a default is missing.
    """
    return from_optax.component("loss", name, numbers)


def of_step(loss: kinds.Loss | kinds.ChangingLoss, outputs: jax.Array, labels: jax.Array, step: jax.Array) -> jax.Array:
    """One loss per label, (rows, …), after so many steps."""
    call: Callable[..., jax.Array] = loss
    return call(outputs, labels, step=step) if takes(type(loss).__call__, "step") else call(outputs, labels)


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """-log softmax(z)_y = log Σ_j exp(z_j - max z) - (z_y - max z).

    Args:
      logits: z, (…, classes).
      labels: y, integers (…).
      where: which classes exist, bool (…, classes); the others are padding and have probability 0.
    """
    at_least = jnp.finfo(logits.dtype).min
    largest = jnp.max(logits, axis=-1, keepdims=True, where=where, initial=at_least if where is not None else None)
    shifted = logits - jax.lax.stop_gradient(largest)
    if where is not None:
        shifted = jnp.where(where, shifted, -jnp.inf)
    return jnp.log(jnp.sum(jnp.exp(shifted), axis=-1)) - at_labels(shifted, labels)


def stablemax_cross_entropy(logits: jax.Array, labels: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """-log(s(z_y) / Σ_j s(z_j)), s(x) = x + 1 for x ≥ 0 and 1 / (1 - x) for x < 0 (Prieto et al., arXiv 2501.04697).

    Args:
      logits: z, (…, classes).
      labels: y, integers (…).
      where: which classes exist, bool (…, classes); the others are padding, left out after s.
    """
    return softmax_cross_entropy(_log_s(logits), labels, where)


def log_stablemax(logits: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """log(s(z_i) / Σ_j s(z_j)) along the last axis, with s of `stablemax_cross_entropy`: the log-softmax of log s.

    Values and gradients are finite for all finite logits.

    Args:
      logits: z, (…, classes).
      where: which classes exist, bool (…, classes); the others are padding: left out after s, -inf in the result.
    """
    return jax.nn.log_softmax(_log_s(logits), axis=-1, where=where)


def absorbed(logs: jax.Array) -> jax.Array:
    """Rows whose fl(1 + Σ exp(x - max x)) is 1, the sum without the largest x: what no order of summation changes."""
    terms = jnp.exp(logs - jnp.max(logs, axis=-1, keepdims=True))
    columns = jax.lax.broadcasted_iota(jnp.int32, logs.shape, logs.ndim - 1)
    largest = columns == jax.lax.argmax(logs, logs.ndim - 1, jnp.int32)[..., None]
    return 1 + jnp.sum(jnp.where(largest, jnp.zeros_like(terms), terms), axis=-1) == 1


def at_labels(values: jax.Array, labels: jax.Array) -> jax.Array:
    """values[…, labels[…]] for values (…, classes): a masked sum, whose gradient needs no scatter."""
    labels = jnp.asarray(labels).astype(jnp.int32)
    columns = jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
    return jnp.sum(jnp.where(columns == labels[..., None], values, jnp.zeros_like(values)), axis=-1)


def _log_s(logits: jax.Array) -> jax.Array:
    """log1p(x) and -log1p(-x), each on a safe argument where the other is selected.

    So the gradient is finite at x = ±1 too, and 1 at x = 0, where the naive form has NaN.
    """
    at_least_0 = logits >= 0
    zero = jnp.zeros_like(logits)
    positive, negative = jnp.where(at_least_0, logits, zero), jnp.where(at_least_0, zero, logits)
    return jnp.where(at_least_0, jnp.log1p(positive), -jnp.log1p(-negative))


def _saturated(outputs: jax.Array, dtype: str) -> jax.Array:
    limit = float(jnp.finfo(dtype).max)
    if limit < float(jnp.finfo(outputs.dtype).max):
        outputs = jnp.clip(outputs, -limit, limit)
    return outputs.astype(dtype)


__all__ = [
    "CentredSquaredError",
    "CrossEntropy",
    "Logistic",
    "MeanSquaredError",
    "Optax",
    "StableMaxCrossEntropy",
    "absorbed",
    "at_labels",
    "log_stablemax",
    "softmax_cross_entropy",
    "stablemax_cross_entropy",
]
