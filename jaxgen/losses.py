"""Losses of one run: outputs (rows, outputs) and labels (rows,) to one loss per row, (rows,)."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.component import static

DTYPES = ("float16", "bfloat16", "float32", "float64")


@flax.struct.dataclass
class CrossEntropy:
    """-log softmax(z)_y = log Σ_j exp(z_j - max z) - (z_y - max z), with the logits z cast to `dtype` first.

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of logits and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        logits = outputs.astype(self.dtype)
        shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
        return jnp.log(jnp.sum(jnp.exp(shifted), axis=-1)) - at_labels(shifted, labels)

    def collapsed(self, outputs: jax.Array) -> jax.Array:
        """Rows (rows,) whose fl(Σ exp(z - max z)) is exactly 1: all but the largest logit are absorbed."""
        return absorbed(outputs.astype(self.dtype))


@flax.struct.dataclass
class StableMaxCrossEntropy:
    """-log(s(z_y) / Σ_j s(z_j)), s(x) = x + 1 for x ≥ 0 and 1 / (1 - x) for x < 0 (Prieto et al., arXiv 2501.04697).

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of logits and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        return -at_labels(log_stablemax(outputs.astype(self.dtype)), labels)

    def collapsed(self, outputs: jax.Array) -> jax.Array:
        """Rows (rows,) whose fl(Σ s(z) / max s(z)) is exactly 1."""
        return absorbed(log_stablemax(outputs.astype(self.dtype)))


@flax.struct.dataclass
class MeanSquaredError:
    """Mean over the outputs of (o - onehot(y))².

    Attributes:
      dtype: "float16", "bfloat16", "float32" or "float64".
    """

    dtype: str = static("float32", DTYPES, "dtype of outputs and loss")

    def __call__(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        outputs = outputs.astype(self.dtype)
        error = outputs - jax.nn.one_hot(labels, outputs.shape[-1], dtype=self.dtype)
        return jnp.mean(jnp.square(error), axis=-1)


def absorbed(logs: jax.Array) -> jax.Array:
    """Rows whose fl(1 + Σ exp(x - max x)) is 1, the sum without the largest x: what no order of summation changes."""
    terms = jnp.exp(logs - jnp.max(logs, axis=-1, keepdims=True))
    columns = jax.lax.broadcasted_iota(jnp.int32, logs.shape, 1)
    largest = columns == jax.lax.argmax(logs, 1, jnp.int32)[:, None]
    return 1 + jnp.sum(jnp.where(largest, jnp.zeros_like(terms), terms), axis=-1) == 1


def at_labels(values: jax.Array, labels: jax.Array) -> jax.Array:
    """values[i, labels[i]] for values (rows, outputs): a masked sum, whose gradient needs no scatter."""
    columns = jax.lax.broadcasted_iota(labels.dtype, values.shape, 1)
    return jnp.sum(jnp.where(columns == labels[:, None], values, jnp.zeros_like(values)), axis=-1)


def log_stablemax(logits: jax.Array) -> jax.Array:
    """log(s(z_i) / Σ_j s(z_j)) along the last axis, s(x) = x + 1 for x ≥ 0 and 1 / (1 - x) for x < 0.

    log s is computed as log1p(x) and -log1p(-x), each on a safe argument where the other is selected, so that the
    gradient is finite at x = ±1 too, and 1 at x = 0. The sum is taken by logsumexp, which cannot overflow.
    """
    at_least_0 = logits >= 0
    zero = jnp.zeros_like(logits)
    positive, negative = jnp.where(at_least_0, logits, zero), jnp.where(at_least_0, zero, logits)
    log_s = jnp.where(at_least_0, jnp.log1p(positive), -jnp.log1p(-negative))
    return log_s - jax.nn.logsumexp(log_s, axis=-1, keepdims=True)


__all__ = ["CrossEntropy", "MeanSquaredError", "StableMaxCrossEntropy", "absorbed", "at_labels", "log_stablemax"]
