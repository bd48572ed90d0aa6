"""Products in finite groups (Tian 2025, arXiv 2509.21519)."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.finite_groups import group_table, order
from jaxgen.tasks.split import train_test
from jaxgen.tasks.task import Examples, Task


@flax.struct.dataclass
class GroupProduct(Task):
    """Predict the product g h of the tokens (g, h), two elements of a finite group with M elements.

    The train split is a uniformly random subset of ⌊train_fraction · M²⌋ of the M² ordered pairs; the others are
    tested. Inputs are int32 (M², 2) tokens in [0, M); labels int32 (M²,).

    Attributes:
      group: its name, as in `jaxgen.finite_groups`: "Z23", "D5", "Q8", "S4", "A4", or a direct product, "Z4xS3".
      train_fraction: share of the pairs that are trained on.
    """

    group: str = static("Z23", doc="name of the group")
    train_fraction: float = leaf(0.5, "(0, 1]", "share of all pairs trained on")

    def check(self):
        order(self.group)

    @property
    def outputs(self) -> int:
        return order(self.group)

    @property
    def vocabulary(self) -> int:
        return order(self.group)

    def rows(self) -> dict[str, int]:
        return train_test(order(self.group) ** 2, self.train_fraction)

    def examples(self, key: jax.Array) -> Examples:
        products = group_table(self.group)
        g, h = np.indices(products.shape).reshape(2, -1)
        rows = jnp.asarray(np.stack([g, h, products.ravel()], 1).astype(np.int32))
        rows = rows[jax.random.permutation(key, len(rows))]
        return Examples(inputs=rows[:, :2], labels=rows[:, 2])
