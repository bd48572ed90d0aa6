"""k-sparse parity (Barak et al. 2022, arXiv 2207.08799)."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.split import train_test
from jaxgen.tasks.task import Examples, Task


@flax.struct.dataclass
class SparseParity(Task):
    """y = (x_1 + … + x_k) mod 2 of `bits` uniform bits, of which only the first `relevant` matter.

    Inputs are float32 (samples, bits) in {0, 1}, drawn anew for each split seed; labels int32 (samples,) in {0, 1}.

    Attributes:
      bits: input dimension.
      relevant: k, the bits that count.
      samples: rows altogether.
      train_fraction: share of the rows that are trained on.
    """

    bits: int = static(43, "[1, 100000]", "input bits")
    relevant: int = static(3, "[1, 100000]", "bits that count")
    samples: int = static(2000, "[2, 10000000]", "rows, train and test together")
    train_fraction: float = leaf(0.5, "(0, 1]", "share of the rows trained on")

    @property
    def outputs(self) -> int:
        return 2

    def check(self):
        if self.relevant > self.bits:
            raise FieldError("relevant", self.relevant, f"must be at most bits = {self.bits}")

    def rows(self):
        return train_test(self.samples, self.train_fraction)

    def examples(self, key):
        bits = jax.random.bernoulli(key, shape=(self.samples, self.bits))
        labels = jnp.sum(bits[:, : self.relevant], axis=1, dtype=jnp.int32) % 2
        return Examples(inputs=bits.astype(jnp.float32), labels=labels)
