"""What a decoder's residual stream says of positions."""

from collections.abc import Callable
from typing import cast

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen import models
from jaxgen.components import static
from jaxgen.errors import FieldError
from jaxgen.probes.evaluation import Evaluation


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
        model = e.experiment.model
        if not isinstance(model, models.Decoder) or self.layers > model.layers:
            why = f"looks behind block {self.layers} of a Decoder that has as many"
            raise FieldError("training.probes", type(self).__name__, why)
        network = cast(Callable, models.bind(model, e.experiment.task).apply)
        stream = network({"params": e.params}, e.inputs, until=self.layers)
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
        ridge = 1e-5 * jnp.trace(square) / width * jnp.eye(width, dtype=stream.dtype)
        weights = jnp.linalg.solve(square + ridge, product)
        square, product, spread = sums(told & odd)
        return {"position_r2": (2 * weights @ product - weights @ square @ weights) / spread}
