"""Comparisons of what entities have: two facts are looked up side by side (Wang et al. 2024, arXiv 2405.15071)."""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.split import check_ratio, exact_share
from jaxgen.tasks.task import Examples
from jaxgen.tasks.texts import Texts, next_tokens


@flax.struct.dataclass
class Comparison(Texts):
    """Answer whether v(a, e₁) <, = or > v(a, e₂), where (e, a) → v(a, e) are facts: no fact is needed after another.

    Each of `entities` has a value of each of `attributes`, drawn uniformly from `values`. All facts are train rows.
    Of each attribute, the facts of ⌊unseen · entities⌋ entities, drawn anew for each, are out of distribution: no train
    row compares them. Of the pairs of different entities in distribution, in both orders, ⌊ratio · facts in
    distribution⌋ rows are train rows and `test_rows` others test rows; those of two entities out of distribution are
    the split "ood"; mixed ones are left out. The two orders of a tested pair are both tested on. The world is drawn
    from the split seed; a larger ratio has the train rows of a smaller one.

    Rows are tokens, e a v or a e₁ e₂ label, right-padded: entities from 0, then attributes, values, labels (three of
    each attribute: <, =, >), the padding. Labels, weights and the splits "facts", "unseen_facts" and "inferred" are as
    those of `TwoHop`.

    Attributes:
      entities, attributes, values: of the world.
      ratio: φ, train comparisons for each fact in distribution.
      largest: the table has room for a ratio up to this.
      unseen: share of the entities that is out of distribution, for each attribute.
      test_rows: comparisons tested on; even, for they are pairs in both orders.
    """

    entities: int = static(100, "[2, 100000]", "entities")
    attributes: int = static(10, "[1, 10000]", "attributes")
    values: int = static(10, "[1, 10000]", "values of each attribute")
    ratio: float = leaf(6.0, "[0, 1000]", "train comparisons for each fact in distribution")
    largest: float = static(6.0, "[0, 1000]", "ratio up to which the table has room")
    unseen: float = static(0.1, "[0, 1)", "share of the entities that is out of distribution")
    test_rows: int = static(512, "[2, 1000000]", "comparisons tested on")

    def check(self):
        if self.test_rows % 2:
            raise FieldError("test_rows", self.test_rows, "must be even: both orders of a pair are tested on")
        check_ratio(self.ratio, self.largest)
        seen = self.entities - self._unseen()
        room = self.attributes * seen * (seen - 1)
        if (wanted := self.test_rows + self._inferred(self.largest)) > room:
            why = f"needs {wanted} comparisons in distribution with the test rows, of {room} that there are"
            raise FieldError("largest", self.largest, why)

    @property
    def vocabulary(self) -> int:
        return self._labels() + 3 * self.attributes + 1

    def _labels(self) -> int:
        """The first token of the labels."""
        return self.entities + self.attributes + self.values

    def _unseen(self) -> int:
        return exact_share(self.entities, self.unseen)

    def _inferred(self, ratio: float) -> int:
        return exact_share(self.attributes * (self.entities - self._unseen()), ratio)

    def rows(self):
        inferred, unseen = self._inferred(self.ratio), self._unseen()
        others = {"left_out": self._inferred(self.largest) - inferred, "test": self.test_rows}
        others["ood"] = self.attributes * unseen * (unseen - 1)
        return {"train": self.attributes * self.entities + inferred, **others}

    def examples(self, key: jax.Array, counts: Mapping[str, jax.Array]) -> Examples:
        keys = jax.random.split(key, 2)
        value, order = self.world(keys[0])
        seen, unseen = order[:, self._unseen() :], order[:, : self._unseen()]
        within = self._pairs(seen)
        mixed = within[jnp.argsort(jax.random.uniform(keys[1], (len(within),), jnp.float32))]
        flipped = mixed[:, jnp.array([0, 2, 1])]
        both = jnp.stack([mixed, flipped], axis=1).reshape(-1, 3)  # the two orders of a pair follow each other
        tested, others = both[: self.test_rows], both[self.test_rows :][: self._inferred(self.largest)]
        without = self._pairs(unseen)
        asked = jnp.concatenate([others, tested, without, without[:, jnp.array([0, 2, 1])]])

        said = jnp.concatenate([self._facts(value), self._comparisons(value, asked)])
        row = jnp.arange(len(said), dtype=jnp.int32)
        compares = row >= value.size
        place = jnp.arange(said.shape[1] - 1, dtype=jnp.int32)[None]
        weights = place == jnp.where(compares, 2, 1)[:, None]
        rank = jnp.argsort(order, axis=1)  # of each entity for each attribute
        known = jnp.pad((rank >= self._unseen()).T.reshape(-1), (0, len(asked)))
        inferred = compares & (row < counts["train"])
        splits = {"facts": known, "unseen_facts": ~known & ~compares, "inferred": inferred}
        return next_tokens(said, splits, weights)

    def world(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Values, and the entities in an order of which the first are out of distribution: (attributes, entities)."""
        of, which = jax.random.split(key)
        shape = self.attributes, self.entities
        value = jax.random.randint(of, shape, 0, self.values, jnp.int32)
        return value, jnp.argsort(jax.random.uniform(which, shape, jnp.float32), axis=1).astype(jnp.int32)

    def _pairs(self, among: jax.Array) -> jax.Array:
        """Attribute and two different of its entities, each pair in one order, (pairs, 3)."""
        first, second = jnp.triu_indices(among.shape[1], 1)
        attribute = jnp.repeat(jnp.arange(self.attributes, dtype=jnp.int32), len(first))
        return jnp.stack([attribute, among[:, first].reshape(-1), among[:, second].reshape(-1)], axis=1)

    def _facts(self, value: jax.Array) -> jax.Array:
        """e a v and padding, by entity, then attribute, (facts, 4)."""
        entity, attribute = (grid.reshape(-1) for grid in jnp.indices((self.entities, self.attributes), jnp.int32))
        tail = self.entities + self.attributes + value.T.reshape(-1)
        return jnp.stack([entity, self.entities + attribute, tail, jnp.full_like(tail, self.vocabulary - 1)], axis=1)

    def _comparisons(self, value: jax.Array, asked: jax.Array) -> jax.Array:
        """a e₁ e₂ label, (comparisons, 4)."""
        attribute, first, second = asked.T
        sign = jnp.sign(value[attribute, first] - value[attribute, second])
        label = self._labels() + 3 * attribute + sign + 1
        return jnp.stack([self.entities + attribute, first, second, label], axis=1)
