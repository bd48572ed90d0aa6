"""The toy addition of Liu et al. 2022 (arXiv 2205.10343): few symbols, each unordered pair once."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.tasks.split import train_test
from jaxgen.tasks.task import Examples, Task


@flax.struct.dataclass
class ToyAddition(Task):
    """Predict the sum i + j, one of 2 p - 1 classes, from the tokens (i, j) with i ≤ j < p.

    The train split is a uniformly random subset of ⌊train_fraction · p (p + 1) / 2⌋ pairs. Inputs are int32 (n, 2)
    tokens; labels int32 (n,). The sums 0, 1, 2 p - 3 and 2 p - 2 have one pair each: where that is tested, its class
    was never trained on (`KnownClasses`). The paper's regression is `Templates(task=ToyAddition())`.

    Attributes:
      p: number of symbols.
      train_fraction: share of the pairs that are trained on; 45 of 55 in the paper.
    """

    p: int = static(10, "[2, 1000]", "symbols")
    train_fraction: float = leaf(0.8182, "(0, 1]", "share of the pairs trained on")

    @property
    def outputs(self) -> int:
        return 2 * self.p - 1

    @property
    def vocabulary(self) -> int:
        return self.p

    def rows(self):
        return train_test(self.p * (self.p + 1) // 2, self.train_fraction)

    def examples(self, key):
        pairs = jnp.asarray(np.stack(np.triu_indices(self.p), 1).astype(np.int32))
        pairs = pairs[jax.random.permutation(key, len(pairs))]
        return Examples(inputs=pairs, labels=jnp.sum(pairs, axis=1, dtype=jnp.int32))


def freedom(pairs: np.ndarray, p: int) -> int:
    """In how many ways numbers E_0 … E_(p-1) can differ that give pairs of the same sum the same E_i + E_j.

    p less the rank of the equations E_i + E_j = E_m + E_n of all pairs (i, j), (m, n) with i + j = m + n. It is 2
    (offset and scale) where the pairs leave equally spaced numbers alone: the paper's condition for a linear
    representation to be found.

    Args:
      pairs: (n, 2) in [0, p), the rows that are trained on.
      p: number of symbols.

    >>> freedom(np.stack(np.triu_indices(10), 1), 10)
    2
    """
    tokens, sums = np.eye(p)[pairs].sum(1), pairs.sum(1)
    equations = (tokens[:, None] - tokens[None])[sums[:, None] == sums[None]]
    return p - int(np.linalg.matrix_rank(equations))
