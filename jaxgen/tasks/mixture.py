"""Two tasks of tokens as one."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, part
from jaxgen.errors import FieldError
from jaxgen.tasks.task import Examples, Task, is_stream, table
from jaxgen.tasks.texts import Texts


@flax.struct.dataclass
class Mixture(Texts):
    """Each row that is trained on is of `second` with probability `share`, else of `first`: two streams of token rows.

    A token is the same in both, so their alphabets should be; shorter rows are right-padded with token 0 and weight 0.
    The tables hold the rows of both, split by split, with the splits "first_test", "second_length_7" and so on beside
    "train" and "test". The loss is Σ w ℓ / Σ w: rows with more labels count more.

    Attributes:
      first, second: streams with a label at every position, drawn at once (one bucket).
      share: of `second` among the rows of a step; of three, hold a mixture in a mixture.
    """

    first: Task = part("task", doc="the stream that the other rows are of")
    second: Task = part("task", doc="the stream that a share of the rows is of")
    share: float = leaf(0.5, "[0, 1]", "of the rows that are trained on, expected, of the second stream")

    def check(self):
        for name, one in self._parts():
            if not is_stream(one) or getattr(one, "buckets", 1) > 1:
                raise FieldError(name, type(one).__name__, "must be a stream that draws the rows of a step at once")
            if one.vocabulary is None:
                raise FieldError(name, type(one).__name__, "must be a task of tokens")

    @property
    def vocabulary(self) -> int:
        return max(one.vocabulary or 0 for _, one in self._parts())

    @property
    def outputs(self) -> int:
        return max(one.outputs for _, one in self._parts())

    def rows(self):
        first, second = (one.rows() for _, one in self._parts())
        return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}

    def examples(self, key: jax.Array) -> Examples:
        keys = jax.random.split(key)
        found = _alike([table(one, of, counts={}, given={}) for of, (_, one) in zip(keys, self._parts())])
        whole = jax.tree.map(lambda *parts: jnp.concatenate(parts), *(_without_splits(rows) for rows in found))
        places: dict[str, list[jax.Array]] = {name: [] for name in self.rows()}
        splits, start = dict[str, jax.Array](), 0
        for rows, (which, one) in zip(found, self._parts()):
            size, begin, masks = len(rows.labels), 0, dict(rows.splits)
            index = jnp.arange(size, dtype=jnp.int32)
            for name, count in one.rows().items():
                masks[name] = (index >= begin) & (index < begin + count)
                places[name].append(start + index[begin : begin + count])
                begin += count
            around = start, len(whole.labels) - start - size
            splits |= {f"{which}_{name}": jnp.pad(mask, around) for name, mask in masks.items()}
            start += size
        order = jnp.concatenate([at for parts in places.values() for at in parts])
        return jax.tree.map(lambda a: a[order], dataclasses.replace(whole, splits=splits))

    def draw(self, key: jax.Array, step: jax.Array, rows: int) -> Examples:
        """The rows of one step."""
        which, *keys = jax.random.split(key, 3)
        drawn = [one.draw(of, step, rows) for of, (_, one) in zip(keys, self._parts())]
        first, second = (_without_splits(rows) for rows in _alike(drawn))
        chosen = jax.random.uniform(which, (rows,), jnp.float32) < jnp.asarray(self.share).astype(jnp.float32)

        def either(a, b):
            return jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), b, a)

        return jax.tree.map(either, first, second)

    def _parts(self):
        return ("first", self.first), ("second", self.second)


def _without_splits(rows: Examples) -> Examples:
    return dataclasses.replace(rows, splits={})


def _alike(found: list[Examples]) -> list[Examples]:
    """The same rows, all as long as the longest, each label with a weight."""
    longest = max(rows.inputs.shape[1] for rows in found)

    def padded(rows: Examples) -> Examples:
        weights = jnp.ones(rows.labels.shape, jnp.float32) if rows.weights is None else rows.weights
        wide = lambda a: jnp.pad(a, ((0, 0), (0, longest - a.shape[1])))  # noqa: E731
        return Examples(wide(rows.inputs), wide(rows.labels), rows.splits, wide(weights))

    return [padded(rows) for rows in found]
