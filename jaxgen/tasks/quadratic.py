"""A quadratic form of Gaussian inputs (Kumar et al. 2024, arXiv 2310.06110)."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.task import Examples, Regression


@flax.struct.dataclass
class GaussianQuadratic(Regression):
    """Predict y = ½ (β·x)² of x ~ N(0, I/D), with β = (1, …, 1): β·x ~ N(0, 1).

    Which direction β has does not matter where the network begins isotropic. Inputs are float32 (rows, D), drawn anew
    for each split seed; labels float32 (rows,).

    Attributes:
      dimension: D.
      train_rows: rows trained on.
      samples: rows altogether.
    """

    dimension: int = static(100, "[1, 100000]", "numbers in each row")
    train_rows: int = leaf(550, "[1, 10000000]", "rows trained on")
    samples: int = static(1550, "[2, 10000000]", "rows, train and test together")

    @property
    def outputs(self) -> int:
        return 1

    def check(self):
        if self.train_rows >= self.samples:
            raise FieldError("train_rows", self.train_rows, f"must be below samples = {self.samples}")

    def rows(self):
        return {"train": self.train_rows, "test": self.samples - self.train_rows}

    def target(self, x: jax.Array) -> jax.Array:
        """y of inputs (…, D): (…)."""
        return jnp.square(jnp.sum(x, axis=-1)) / 2

    def examples(self, key):
        x = jax.random.normal(key, (self.samples, self.dimension), jnp.float32) / self.dimension**0.5
        return Examples(x, self.target(x))
