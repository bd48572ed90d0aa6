"""What a decoder's residual stream says after some of its blocks."""

import dataclasses
from collections.abc import Callable
from typing import cast

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen import models
from jaxgen.components import static
from jaxgen.errors import FieldError
from jaxgen.lapack import one_by_one
from jaxgen.probes.evaluation import Evaluation, masked_mean
from jaxgen.tasks.task import answers


@flax.struct.dataclass
class PositionFit:
    """R² of the position of a token, as a linear function of the residual stream there, named "position_r2".

    Ridge regression, w = (C + λ tr C / d)⁻¹ c with covariances C and c and λ = 1e-5, on the train rows of even number;
    R² = 1 - Σ (i - î)² / Σ (i - ī)² on those of odd number. Of a row, tokens up to the one whose label is the last with
    weight count: padding does not. For `jaxgen.models.Decoder` (Kazemnejad et al. 2023, arXiv 2305.19466).

    Attributes:
      layers: blocks after which the residual stream is looked at.
    """

    layers: int = static(1, "[1, 1000]", "blocks after which the residual stream is looked at")

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        stream = _network(e, self)({"params": e.params}, e.inputs, until=self.layers)
        rows, length, width = stream.shape
        told = jnp.ones((rows, length), bool)
        if e.weights is not None:
            told = jnp.flip(jnp.cumsum(jnp.flip(e.weights, 1), 1), 1) > 0
        told = told & e.splits["train"][:, None]
        odd = jnp.arange(rows, dtype=jnp.int32)[:, None] % 2 == 1
        place = jnp.broadcast_to(jnp.arange(length, dtype=stream.dtype)[None], (rows, length))

        def centred(x, where):
            return jnp.where(where[..., None], x - jnp.mean(x, axis=(0, 1), keepdims=True, where=where[..., None]), 0)

        def sums(where):
            x = centred(stream, where).reshape(-1, width)
            y = centred(place[..., None], where).reshape(-1)
            return x.T @ x, x.T @ y, y @ y

        square, product, _ = sums(told & ~odd)
        weights = _ridge(square, product)
        square, product, spread = sums(told & odd)
        return {"position_r2": (2 * weights @ product - weights @ square @ weights) / spread}


@flax.struct.dataclass
class LogitLens:
    """The task's metrics of what is read out after some blocks already, named "lens_1/test/accuracy" and so on.

    Outputs are norm(h) U of the residual stream h after so many blocks, with the network's own last norm and read-out
    U (nostalgebraist 2020; Wang et al. 2024, arXiv 2405.15071, §5). For `jaxgen.models.Decoder`.

    Attributes:
      layers: blocks after which the residual stream is read out; after all it is the network.
    """

    layers: int = static(1, "[1, 1000]", "blocks after which the residual stream is read out")

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        network = _network(e, self)

        def early(inputs, params=e.params):
            return network({"params": params}, inputs, until=self.layers, read=True)

        seen = dataclasses.replace(e, network=early)
        return {f"lens_{self.layers}/{name}": value for name, value in e.experiment.task.metrics(seen).items()}


@flax.struct.dataclass
class LinearRead:
    """Share of rows whose answer is linear in the residual stream at a position, "linear_read_1_-1/test" and so on.

    The name has layers and position. The answer y is one of a row's labels of weight above 0, the last by default; of
    strings, which all end alike, `label=-2` is the last before the end. Ridge regression on the train rows of even
    number, W = (C + λ tr C / d)⁻¹ c with the covariances C of the stream h and c of h and the indicators of y and
    λ = 1e-5; right is argmax_y (ȳ + (h - h̄) W)_y = y. Of the train split only rows of odd number count. For `Decoder`
    (Alain & Bengio 2017, arXiv 1610.01644).

    Attributes:
      layers: blocks after which the residual stream is looked at.
      position: of the tokens, from the first, 0, or the last, -1.
      label: which of a row's labels of weight above 0 is the answer, from the last, -1.
    """

    layers: int = static(1, "[1, 1000]", "blocks after which the residual stream is looked at")
    position: int = static(-1, "[-10000, 10000]", "of the tokens: from the first, 0, or the last, -1")
    label: int = static(-1, "[-10000, -1]", "of those that count: from the last, -1, which is the answer")

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        stream = _network(e, self)({"params": e.params}, e.inputs, until=self.layers)
        rows, length, _ = stream.shape
        if not -length <= self.position < length:
            why = f"position {self.position} must be in [{-length}, {length}): rows are so long"
            raise FieldError("training.probes", type(self).__name__, why)
        x = stream[:, self.position]
        answer, there = answers(e.labels, e.weights, self.label)
        odd = jnp.arange(rows, dtype=jnp.int32) % 2 == 1
        fitted = e.splits["train"] & ~odd & there

        def mean(values):
            return jnp.mean(values, axis=0, keepdims=True, where=fitted[:, None])

        told = jax.nn.one_hot(answer, e.experiment.task.outputs, dtype=x.dtype)
        centred = x - mean(x)
        kept = jnp.where(fitted[:, None], centred, 0)
        weights = _ridge(kept.T @ kept, kept.T @ told)
        right = jnp.argmax(mean(told) + centred @ weights, axis=1) == answer
        told_of = {name: there & (mask & odd if name == "train" else mask) for name, mask in e.splits.items()}
        name = f"linear_read_{self.layers}_{self.position}"
        return {f"{name}/{split}": masked_mean(right, mask) for split, mask in told_of.items()}


def _network(e: Evaluation, probe: PositionFit | LogitLens | LinearRead) -> Callable:
    """A decoder, which gives the residual stream after some of its blocks."""
    model = e.experiment.model
    if not isinstance(model, models.Decoder) or probe.layers > model.layers:
        has = f"Decoder with {model.layers}" if isinstance(model, models.Decoder) else type(model).__name__
        why = f"looks behind block {probe.layers}: needs a Decoder with as many, the model is a {has}"
        raise FieldError("training.probes", type(probe).__name__, why)
    return cast(Callable, models.bind(model, e.experiment.task).apply)


def _ridge(square: jax.Array, product: jax.Array) -> jax.Array:
    """(C + λ tr C / d)⁻¹ c with λ = 1e-5."""
    width = len(square)
    ridge = 1e-5 * jnp.trace(square) / width * jnp.eye(width, dtype=square.dtype)
    return one_by_one(jnp.linalg.solve)(square + ridge, product)
