"""The toy additions of Liu et al. 2022 (arXiv 2205.10343): few symbols, targets that are random vectors."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.tasks.split import train_test
from jaxgen.tasks.task import Examples, Task


@flax.struct.dataclass
class ToyAddition(Task):
    """Predict the template of i + j from the tokens (i, j) with i ≤ j < p: a fixed N(0, 1) vector for each sum.

    The train split is a uniformly random subset of ⌊train_fraction · p (p + 1) / 2⌋ pairs. Inputs are int32 (n, 2)
    tokens; labels float32 (n, dimensions). A row is correct if the template nearest to its output is its own.

    Attributes:
      p: number of symbols.
      train_fraction: share of the pairs that are trained on; 45 of 55 in the paper.
      dimensions: of the templates.
      templates_seed: draws the templates, the same in all runs.
    """

    p: int = static(10, "[2, 1000]", "symbols")
    train_fraction: float = leaf(0.8182, "(0, 1]", "share of the pairs trained on")
    dimensions: int = static(30, "[1, 10000]", "of the templates")
    templates_seed: int = static(0, "[0, 2147483647]", "draws the templates")

    @property
    def outputs(self) -> int:
        return self.dimensions

    @property
    def vocabulary(self) -> int:
        return self.p

    def templates(self) -> jax.Array:
        """The target of each sum, float32 (2 p - 1, dimensions)."""
        key = jax.random.key(self.templates_seed, impl="threefry2x32")
        return jax.random.normal(key, (2 * self.p - 1, self.dimensions), jnp.float32)

    def rows(self):
        return train_test(self.p * (self.p + 1) // 2, self.train_fraction)

    def examples(self, key):
        pairs = jnp.asarray(np.stack(np.triu_indices(self.p), 1).astype(np.int32))
        pairs = pairs[jax.random.permutation(key, len(pairs))]
        return Examples(inputs=pairs, labels=self.templates()[jnp.sum(pairs, axis=1)])

    def correct(self, outputs, labels):
        templates = self.templates().astype(outputs.dtype)
        squared = jnp.sum(jnp.square(outputs[:, None] - templates[None]), axis=-1)
        nearest = templates[jax.lax.argmin(squared, 1, jnp.int32)]
        return jnp.all(nearest == labels.astype(outputs.dtype), axis=-1)
