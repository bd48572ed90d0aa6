"""What a decoder knows of positions: vectors added to the embeddings, biases of attention, or rotations.

Positions count from 0, j ≤ i. One of your own is a `flax.struct.dataclass` that is a `Positions`.
"""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError

Tables = Mapping[str, jax.Array]


class Positions:
    """A base: nothing is trained, added, biased or rotated."""

    def tables(self, length: int, width: int, heads: int) -> dict[str, tuple[int, ...]]:
        """Shapes of what is trained, by name; initialised as embeddings are."""
        del length, width, heads
        return {}

    def add(self, x: jax.Array, tables: Tables, key: jax.Array | None) -> jax.Array:
        """Embeddings (rows, length, width) with their positions; `key` in training, None in evaluations."""
        del tables, key
        return x

    def bias(self, length: int, heads: int, tables: Tables, dtype: jnp.dtype) -> jax.Array | None:
        """What is added to the logits of attention, (heads, length of queries i, of keys j)."""
        del length, heads, tables, dtype
        return None

    def rotate(self, x: jax.Array) -> jax.Array:
        """Queries or keys, (rows, length, heads, dimension), of which products are taken."""
        return x


@flax.struct.dataclass
class NoPositions(Positions):
    """Nothing: a decoder knows of order what its causal mask tells (Kazemnejad et al. 2023, arXiv 2305.19466)."""


@flax.struct.dataclass
class Learned(Positions):
    """A trained vector for each position: x_i + p_{i + o}.

    Attributes:
      longest: how many vectors there are; None: as many as the longest inputs have positions, o = 0.
      offset: whether o is drawn anew for each row in training, uniformly from 0 to longest - length, so that all
        vectors are trained (Zhou et al. 2023, arXiv 2310.16028); 0 in evaluations.
    """

    longest: int | None = static(None, "[1, 1000000]", "vectors; None: the inputs' length")
    offset: bool = static(False, doc="whether rows begin at a random position in training")

    def check(self) -> None:
        """FieldError where an offset has no room."""
        if self.offset and self.longest is None:
            raise FieldError("offset", True, "needs `longest`, more positions than the inputs have")

    def tables(self, length: int, width: int, heads: int) -> dict[str, tuple[int, ...]]:
        """`vectors`: (longest, width)."""
        del heads
        if self.longest is not None and self.longest < length:
            raise FieldError("model.positions.longest", self.longest, f"must be at least the inputs' length, {length}")
        return {"vectors": (self.longest or length, width)}

    def add(self, x: jax.Array, tables: Tables, key: jax.Array | None) -> jax.Array:
        """See the class."""
        rows, length, _ = x.shape
        if not self.offset or key is None:
            return x + tables["vectors"][None, :length]
        first = jax.random.randint(key, (rows, 1), 0, len(tables["vectors"]) - length + 1, jnp.int32)
        return x + tables["vectors"][first + jnp.arange(length, dtype=jnp.int32)[None]]


@flax.struct.dataclass
class Sinusoidal(Positions):
    """x_i + p_i with p_{i, 2k} = sin(i / b^(2k/d)), p_{i, 2k+1} = cos(i / b^(2k/d)) (Vaswani et al. 2017, 1706.03762).

    Attributes:
      base: b.
    """

    base: float = leaf(10_000.0, "(1, inf)", "longest wave over 2π")

    def add(self, x: jax.Array, tables: Tables, key: jax.Array | None) -> jax.Array:
        """See the class."""
        del tables, key
        _, length, width = x.shape
        angle = _angles(length, -(-width // 2), self.base, width, x.dtype)
        waves = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(length, -1)[:, :width]
        return x + waves[None]


@flax.struct.dataclass
class T5Bias(Positions):
    """Attention's logits get a trained number for each head and bucket of the distance i - j (Raffel et al. 2020).

    With B buckets, distances below B/2 have one each; the others share those that are left, ever wider ones, up to
    `furthest`, beyond which all are in the last: B/2 + ⌊ln(2 n / B) / ln(2 furthest / B) · B/2⌋ (arXiv 1910.10683).

    Attributes:
      buckets: B.
      furthest: the distance from which on all share a bucket.
    """

    buckets: int = static(32, "[2, 100000]", "buckets of distances")
    furthest: int = static(128, "[2, 1000000]", "distance from which on all share the last bucket")

    def check(self) -> None:
        """FieldError where no distances are left to share buckets."""
        if self.furthest <= self.buckets // 2:
            raise FieldError("furthest", self.furthest, f"must be above half of the buckets, {self.buckets // 2}")

    def tables(self, length: int, width: int, heads: int) -> dict[str, tuple[int, ...]]:
        """`distances`: (buckets, heads)."""
        del length, width
        return {"distances": (self.buckets, heads)}

    def bias(self, length: int, heads: int, tables: Tables, dtype: jnp.dtype) -> jax.Array:
        """See the class."""
        del heads, dtype
        return jnp.transpose(tables["distances"][self.bucket(_distances(length))], (2, 0, 1))

    def bucket(self, distance: np.ndarray) -> np.ndarray:
        """In which bucket distances of 0 and more are; those below 0, which no position sees, in the first."""
        exact, near = self.buckets // 2, np.maximum(distance, 0)
        wide = np.log(np.maximum(near, exact) / exact) / np.log(self.furthest / exact) * (self.buckets - exact)
        return np.where(near < exact, near, np.minimum(exact + wide.astype(int), self.buckets - 1))


@flax.struct.dataclass
class ALiBi(Positions):
    """Attention's logits get -m_h (i - j), m_h = 2^(-8 h / heads) for h = 1, 2, … (Press et al. 2022, 2108.12409)."""

    def bias(self, length: int, heads: int, tables: Tables, dtype: jnp.dtype) -> jax.Array:
        """See the class."""
        del tables
        slopes = 2.0 ** (-8 * np.arange(1, heads + 1) / heads)
        return jnp.asarray(-slopes[:, None, None] * np.maximum(_distances(length), 0), dtype)


@flax.struct.dataclass
class Rotary(Positions):
    """Queries and keys are turned by i b^(-2k/r) in the plane of dimensions k and k + r/2, k < r/2 (Su et al. 2021).

    Only the first r = share · dimension of each head are turned; their products depend on i - j alone (2104.09864).

    Attributes:
      share: of the dimensions that are turned, rounded down to an even number of them, at least 2.
      base: b.
    """

    share: float = static(1.0, "(0, 1]", "of a head's dimensions that are turned")
    base: float = leaf(10_000.0, "(1, inf)", "longest wave over 2π")

    def rotate(self, x: jax.Array) -> jax.Array:
        """See the class."""
        half = max(int(self.share * x.shape[-1]) // 2, 1)
        if x.shape[-1] < 2:
            raise FieldError("model.heads", x.shape[2], "leaves one dimension to each: Rotary turns planes of two")
        angle = _angles(x.shape[1], half, self.base, 2 * half, x.dtype)[None, :, None]
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        first, second = x[..., :half], x[..., half : 2 * half]
        return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, x[..., 2 * half :]], axis=-1)


def _angles(length: int, count: int, base: float | jax.Array, width: int, dtype: jnp.dtype) -> jax.Array:
    """i b^(-2k / width), (length, count)."""
    wave = jnp.asarray(base, dtype) ** jnp.asarray(-2 * np.arange(count) / width, dtype)
    return jnp.arange(length, dtype=dtype)[:, None] * wave[None]


def _distances(length: int) -> np.ndarray:
    """i - j, (length, length)."""
    at = np.arange(length)
    return at[:, None] - at


__all__ = ["ALiBi", "Learned", "NoPositions", "Positions", "Rotary", "Sinusoidal", "T5Bias"]
