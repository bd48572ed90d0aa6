"""How linear learned embeddings are (Liu et al. 2022, arXiv 2205.10343)."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.probes.evaluation import Evaluation


@flax.struct.dataclass
class Parallelograms:
    """Representation quality index, "rqi": the share of parallelograms that the embeddings of tokens close.

    A parallelogram is two rows of the task, (i, j) and (m, n), with the same label and other tokens; all splits count.
    It is closed where mean_d (E_i + E_j - E_m - E_n)² < tolerance², E being standardised in each of its d dimensions
    over the tokens (mean 0, variance 1 with p - 1 degrees of freedom); the released code has tolerance² = 0.01. 1 where
    tokens of an addition are equally spaced on a line; NaN where no two rows have the same label or a dimension does
    not vary. All pairs of rows are compared: for small tables.

    Attributes:
      tolerance: of a closed parallelogram, in standard deviations of the embeddings.
      parameter: name of the embeddings, (tokens, dimensions).
    """

    tolerance: float = leaf(0.1, "(0, inf)", "of a closed parallelogram, in standard deviations")
    parameter: str = static("embedding", doc="name of the embeddings")

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        table = e.tensors(e.params).get(self.parameter)
        if table is None or table.ndim != 2 or len(table) != e.experiment.task.vocabulary:
            why = "must name embeddings of the task's tokens, (tokens, dimensions)"
            raise FieldError("training.probes.parameter", self.parameter, why)
        centred = table - jnp.mean(table, axis=0, keepdims=True)
        scale = jnp.sqrt(jnp.sum(jnp.square(centred), axis=0, keepdims=True) / (len(table) - 1))
        sums = jnp.sum((centred / scale)[e.inputs], axis=1)
        labels, tokens = e.labels.reshape(len(e.labels), -1), jnp.sort(e.inputs, axis=1)
        same = lambda rows: jnp.all(rows[:, None] == rows[None], axis=-1)  # noqa: E731
        pairs = same(labels) & ~same(tokens)
        apart = jnp.mean(jnp.square(sums[:, None] - sums[None]), axis=-1)
        closed = jnp.sum(pairs & (apart < jnp.square(self.tolerance)), dtype=table.dtype)
        varied = jnp.all(scale > 0)
        return {"rqi": jnp.where(varied, closed / jnp.sum(pairs, dtype=table.dtype), jnp.nan)}
