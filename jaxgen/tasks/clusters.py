"""Gaussian clusters that are labelled like XOR (Xu et al. 2023, arXiv 2310.02541)."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.task import Examples, Task


@flax.struct.dataclass
class XorClusters(Task):
    """Predict y of x = ±μ₁ + N(0, I_d) (y = +1) or ±μ₂ + N(0, I_d) (y = -1), with μ₁ ⟂ μ₂ of norm `separation`.

    Some train labels are wrong, which may be more features than any table should have: d = 40,000 in the paper. So the
    inputs (rows, rows + 2) are the coordinates of the rows along μ₁, along μ₂, and in an orthonormal basis of what the
    rows span in the d - 2 other directions. Their inner products are distributed as those of x in d dimensions (the
    last part is the Bartlett factor of a Wishart matrix), and gradient descent from an isotropic Gaussian trains the
    same function on either.

    Labels are float32 (rows,), -1 or 1. A row is correct if its output has the label's sign. The masks "flipped" and
    "clean" part the train rows.

    Attributes:
      train_rows, test_rows: how many.
      dimension: d, at least the number of rows + 2.
      separation: ‖μ₁‖ = ‖μ₂‖; 2.5 √(d / train_rows) in the paper.
      flipped: chance of each train label to be wrong.
      balanced: whether the four clusters have equally many rows (up to one); each row's is drawn otherwise.
    """

    train_rows: int = static(200, "[1, 100000]", "rows trained on")
    test_rows: int = static(200, "[1, 100000]", "rows tested on")
    dimension: int = leaf(40_000, "[4, 100000000]", "of the space in which the clusters lie")
    separation: float = leaf(35.36, "[0, inf)", "norm of the means")
    flipped: float = leaf(0.05, "[0, 1]", "chance of a train label to be wrong")
    balanced: bool = static(False, doc="whether the clusters have equally many rows")

    def check(self):
        least = self.train_rows + self.test_rows + 2
        if self.dimension < least:
            raise FieldError("dimension", self.dimension, f"must be at least the number of rows + 2 = {least}")

    @property
    def outputs(self) -> int:
        return 1

    def rows(self):
        return {"train": self.train_rows, "test": self.test_rows}

    def examples(self, key):
        count = self.train_rows + self.test_rows
        keys = jax.random.split(key, 5)
        drawn = jax.random.randint(keys[0], (count,), 0, 4, jnp.int32)
        cluster = jnp.arange(count, dtype=jnp.int32) % 4 if self.balanced else drawn  # +μ₁, -μ₁, +μ₂, -μ₂
        sign, along_first = 1 - 2 * (cluster % 2), cluster < 2
        centre = sign.astype(jnp.float32) * jnp.asarray(self.separation, jnp.float32)
        means = jnp.stack([jnp.where(along_first, centre, 0), jnp.where(along_first, 0, centre)], axis=1)
        means = means + jax.random.normal(keys[1], (count, 2), jnp.float32)
        is_train = jnp.arange(count, dtype=jnp.int32) < self.train_rows
        wrong = is_train & (jax.random.uniform(keys[4], (count,), jnp.float32) < self.flipped)
        labels = jnp.where(along_first ^ wrong, 1.0, -1.0).astype(jnp.float32)
        splits = {"flipped": wrong, "clean": is_train & ~wrong}
        return Examples(jnp.concatenate([means, self.others(keys[2:4], count)], axis=1), labels, splits)

    def others(self, keys: jax.Array, count: int) -> jax.Array:
        """Coordinates of so many rows beside those along the means."""
        free = jnp.asarray(self.dimension, jnp.float32) - 2 - jnp.arange(count, dtype=jnp.float32)
        below = jnp.tril(jax.random.normal(keys[0], (count, count), jnp.float32), -1)
        return below + jnp.diag(jnp.sqrt(jax.random.chisquare(keys[1], free, dtype=jnp.float32)))

    def correct(self, outputs, labels):
        return outputs[:, 0] * labels.astype(outputs.dtype) > 0


@flax.struct.dataclass
class XorPoints(XorClusters):
    """`XorClusters` whose inputs are the points x themselves, (rows, dimension), with μ₁ and μ₂ along the first axes.

    What is trained on them from weights in the span of the rows is the same function as of the rows' coordinates in an
    orthonormal basis of that span.

    Attributes:
      dimension: d, of which each number is another program.
    """

    dimension: int = static(1000, "[4, 1000000]", "of the space in which the clusters lie")

    def check(self):
        """Any number of rows goes."""

    def others(self, keys, count):
        return jax.random.normal(keys[0], (count, self.dimension - 2), jnp.float32)
