"""Arithmetic modulo p over all pairs (a, b): the task family of Power et al. 2022 (arXiv 2201.02177)."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.split import train_test
from jaxgen.tasks.task import Examples, Task


@flax.struct.dataclass
class Modular(Task):
    """Base of the modular tasks: predict c = f(a, b) mod p from the tokens (a, b).

    The train split is a uniformly random subset of ⌊train_fraction · n⌋ of the n pairs; the others are tested.
    Inputs are int32 (n, 2) tokens in [0, p); labels int32 (n,).

    Attributes:
      p: the modulus: vocabulary and number of classes.
      train_fraction: share of the pairs that are trained on.
      lowest: smallest a and b: 0, or 1 for pairs without zeros.
      ordered: whether (a, b) and (b, a) are two pairs; otherwise only those with a ≤ b are there.
    """

    p: int = static(97, "[2, 4096]", "modulus")
    train_fraction: float = leaf(0.5, "(0, 1]", "share of all pairs trained on")
    lowest: int = static(0, "[0, 4095]", "smallest a and b")
    ordered: bool = static(True, doc="whether (a, b) and (b, a) are two pairs", added=True)

    def check(self):
        if self.lowest > self.p - 2:
            raise FieldError("lowest", self.lowest, f"must be at most p - 2 = {self.p - 2}")

    @property
    def outputs(self) -> int:
        return self.p

    @property
    def vocabulary(self) -> int:
        return self.p

    def table(self) -> np.ndarray:
        """All rows (a, b, c) as int32 (n, 3)."""
        first, second = (np.arange(low, self.p, dtype=np.int64) for low in (self.lowest, self.lowest_second()))
        a, b = np.repeat(first, len(second)), np.tile(second, len(first))
        if not self.ordered:
            a, b = a[a <= b], b[a <= b]
        return np.stack([a, b, self.result(a, b) % self.p], 1).astype(np.int32)

    def lowest_second(self) -> int:
        """Smallest b."""
        return self.lowest

    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """f(a, b) before reduction modulo p, elementwise on int64 arrays."""
        raise NotImplementedError

    def size(self) -> int:
        """Number of rows n."""
        first, second = range(self.lowest, self.p), self.lowest_second()
        return sum(self.p - (second if self.ordered else max(a, second)) for a in first)

    def rows(self) -> dict[str, int]:
        return train_test(self.size(), self.train_fraction)

    def examples(self, key: jax.Array) -> Examples:
        rows = jnp.asarray(self.table())[jax.random.permutation(key, self.size())]
        return Examples(inputs=rows[:, :2], labels=rows[:, 2])


@flax.struct.dataclass
class ModularAddition(Modular):
    """c = a + b mod p."""

    @property
    def group(self) -> str | None:
        """The group that this is the product of (`jaxgen.finite_groups`); None where pairs are left out."""
        return f"Z{self.p}" if self.ordered and not self.lowest else None

    def result(self, a, b):
        return a + b


@flax.struct.dataclass
class ModularSubtraction(Modular):
    """c = a - b mod p."""

    def result(self, a, b):
        return a - b


@flax.struct.dataclass
class ModularMultiplication(Modular):
    """c = a · b mod p."""

    def result(self, a, b):
        return a * b


@flax.struct.dataclass
class ModularDivision(Modular):
    """c = a / b = a · b^(p-2) mod p for prime p, over the p(p-1) pairs with b ≠ 0."""

    def check(self):
        super().check()
        if any(self.p % d == 0 for d in range(2, int(self.p**0.5) + 1)):
            raise FieldError("p", self.p, "must be prime, or division has no answer for every b ≠ 0")

    def lowest_second(self):
        return max(self.lowest, 1)

    def result(self, a, b):
        inverse = np.array([0] + [pow(k, -1, self.p) for k in range(1, self.p)], np.int64)
        return a * inverse[b]


_FORMS = {
    "x+y": lambda x, y: x + y,
    "xy": lambda x, y: x * y,
    "x^2+y^2": lambda x, y: x * x + y * y,
    "x^2+xy+y^2": lambda x, y: x * x + x * y + y * y,
    "x^2+xy+y^2+x": lambda x, y: x * x + x * y + y * y + x,
    "x^3+xy": lambda x, y: x**3 + x * y,
    "x^3+xy^2+y": lambda x, y: x**3 + x * y * y + y,
}


@flax.struct.dataclass
class ModularPolynomial(Modular):
    """c = form(a, b) mod p, a sum, a product, or one of the polynomial forms of Power et al. 2022.

    Attributes:
      form: "x+y" or "xy", so that the operation is a field like others; "x^2+y^2", "x^2+xy+y^2", "x^2+xy+y^2+x",
        "x^3+xy" or "x^3+xy^2+y".
    """

    form: str = static("x^2+xy+y^2", tuple(_FORMS), "polynomial in x = a and y = b")

    def result(self, a, b):
        return _FORMS[self.form](a, b)
