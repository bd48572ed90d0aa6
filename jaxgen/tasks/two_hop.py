"""Facts of a random world, and what follows from two of them (Wang et al. 2024, arXiv 2405.15071)."""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.split import check_ratio, exact_share
from jaxgen.tasks.task import Examples
from jaxgen.tasks.texts import ANSWERS, Texts, answered, next_tokens


@flax.struct.dataclass
class TwoHop(Texts):
    """Answer t of (h, r₁, r₂), where (h, r₁, b) and (b, r₂, t) are facts: a network has to compose what it stores.

    Each of `entities` has `degree` facts (h, r, t): different relations r of `relations`, tails t drawn uniformly with
    replacement. All facts are train rows. ⌊unseen · facts⌋ of them are out of distribution: no train row is composed
    of them. Of the two-hops of two facts in distribution, ⌊ratio · facts in distribution⌋ are train rows and
    `test_rows` others test rows; those of two facts out of distribution are the split "ood"; mixed ones are left out.
    The world is drawn from the split seed, with which rows are taken: a larger ratio has those of a smaller one.

    Rows are tokens, h r t or h r₁ r₂ t, right-padded: entities from 0, then relations, the filler, the padding. At each
    position the label is the next token; only answers have weight. Splits beside "train", "test", "ood" and
    "left_out": "facts" and "unseen_facts" (all of them train rows), and "inferred", the train rows of two hops. Their
    "exact_match" is the share of rows whose answer, bridge included, is right.

    Attributes:
      entities, relations, degree: of the world.
      ratio: φ, train two-hops for each fact in distribution.
      largest: the table has room for a ratio up to this.
      unseen: share of the facts that is out of distribution.
      test_rows, ood_rows: rows of these splits; where a world has fewer, those that lack have weight 0.
      answer: "direct"; "bridge": h r₁ r₂ b t, the bridge is answered first (chain of thought; Yao et al. 2025,
        2502.04667); "filler": as long, with one token that says nothing in the place of b.
      wrong_bridges, wrong_answers: share of the train two-hops whose b or t is replaced by an entity drawn uniformly;
        of b the answer stays that of the right one.
      persistent: whether a wrong b is of the fact (h, r₁), the same in all its two-hops; drawn for each of them if not.
    """

    entities: int = static(64, "[2, 100000]", "entities")
    relations: int = static(32, "[1, 100000]", "relations")
    degree: int = static(16, "[1, 10000]", "facts of each entity")
    ratio: float = leaf(6.0, "[0, 1000]", "train two-hops for each fact in distribution")
    largest: float = static(6.0, "[0, 1000]", "ratio up to which the table has room")
    unseen: float = static(0.15, "[0, 1)", "share of the facts that is out of distribution")
    test_rows: int = static(512, "[1, 1000000]", "two-hops tested on")
    ood_rows: int = static(256, "[0, 1000000]", "two-hops of unseen facts")
    answer: str = static("direct", tuple(ANSWERS), "what is predicted")
    wrong_bridges: float = leaf(0.0, "[0, 1]", "share of train two-hops with another bridge")
    wrong_answers: float = leaf(0.0, "[0, 1]", "share of train two-hops with another answer")
    persistent: bool = static(False, doc="whether a wrong bridge is of the fact")

    def check(self):
        if self.degree > self.relations:
            raise FieldError("degree", self.degree, f"must be at most relations = {self.relations}")
        check_ratio(self.ratio, self.largest)
        room = int((1 - self.unseen) ** 2 * self.entities * self.degree**2)
        if (wanted := self.test_rows + self._two_hops(self.largest)) > room:
            why = f"needs {wanted} two-hops in distribution with the test rows, of about {room} that there are"
            raise FieldError("largest", self.largest, why)
        if self.wrong_bridges and self.answer != "bridge":
            raise FieldError("wrong_bridges", self.wrong_bridges, f"needs answer = bridge, not {self.answer}")

    @property
    def vocabulary(self) -> int:
        return self.entities + self.relations + 2

    def _two_hops(self, ratio: float) -> int:
        facts = self.entities * self.degree
        return exact_share(facts - exact_share(facts, self.unseen), ratio)

    def rows(self):
        inferred = self._two_hops(self.ratio)
        others = {"left_out": self._two_hops(self.largest) - inferred, "test": self.test_rows, "ood": self.ood_rows}
        return {"train": self.entities * self.degree + inferred, **others}

    def examples(self, key: jax.Array, counts: Mapping[str, jax.Array]) -> Examples:
        keys = jax.random.split(key, 4)
        relation, tail, known = self.world(keys[0])
        first = jnp.arange(len(tail) * self.degree, dtype=jnp.int32) // self.degree  # of each two-hop its two facts
        second = tail[first] * self.degree + jnp.arange(len(first), dtype=jnp.int32) % self.degree
        chance = jax.random.uniform(keys[1], first.shape, jnp.float32)

        def drawn(among: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
            chosen = jnp.argsort(jnp.where(among, chance, 2.0))[:count]
            return chosen, among[chosen]

        most = self._two_hops(self.largest)
        within, there = drawn(known[first] & known[second], self.test_rows + most)
        without, ood_there = drawn(~known[first] & ~known[second], self.ood_rows)
        hops = jnp.concatenate([within[self.test_rows :], within[: self.test_rows], without])
        there = jnp.concatenate([there[self.test_rows :], there[: self.test_rows], ood_there])
        first, second = first[hops], second[hops]
        answers = self._with_errors(keys[2:], first, tail[first], tail[second], most)

        said = jnp.concatenate([self._facts(relation, tail), self._hops(relation, first, second, *answers)])
        row = jnp.arange(len(said), dtype=jnp.int32)
        is_hop = row >= len(tail)
        place = jnp.arange(said.shape[1] - 1, dtype=jnp.int32)[None]
        there = jnp.pad(there, (len(tail), 0), constant_values=True)
        weights = there[:, None] & jnp.where(is_hop[:, None], place >= 2, place == 1)
        fact = jnp.pad(known, (0, len(hops)))
        splits = {"facts": fact, "unseen_facts": ~fact & ~is_hop, "inferred": is_hop & (row < counts["train"])}
        return next_tokens(said, splits, weights)

    def world(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Relation and tail of each fact, (facts,), and whether it is in distribution; `degree` facts of each head."""
        of, to, which = jax.random.split(key, 3)
        order = jnp.argsort(jax.random.uniform(of, (self.entities, self.relations), jnp.float32), axis=1)
        relation = order[:, : self.degree].reshape(-1).astype(jnp.int32)
        tail = jax.random.randint(to, relation.shape, 0, self.entities, jnp.int32)
        rank = jnp.argsort(jnp.argsort(jax.random.uniform(which, relation.shape, jnp.float32)))
        return relation, tail, rank >= exact_share(len(relation), self.unseen)

    def _facts(self, relation: jax.Array, tail: jax.Array) -> jax.Array:
        """h r t and padding, (facts, tokens)."""
        head = jnp.arange(len(tail), dtype=jnp.int32) // self.degree
        said = jnp.stack([head, self.entities + relation, tail], axis=1)
        return jnp.pad(said, ((0, 0), (0, ANSWERS[self.answer])), constant_values=self.vocabulary - 1)

    def _hops(
        self, relation: jax.Array, first: jax.Array, second: jax.Array, bridge: jax.Array, answer: jax.Array
    ) -> jax.Array:
        """h r₁ r₂, then what is answered, (two-hops, tokens)."""
        asked = [first // self.degree, self.entities + relation[first], self.entities + relation[second]]
        return answered(self.answer, asked, bridge, answer, filler=self.entities + self.relations)

    def _with_errors(
        self, keys: jax.Array, first: jax.Array, bridge: jax.Array, answer: jax.Array, train: int
    ) -> tuple[jax.Array, jax.Array]:
        """Bridges and answers, of which those of the first `train` two-hops are wrong as often as is asked for."""
        early = jnp.arange(len(first), dtype=jnp.int32) < train
        facts = self.entities * self.degree
        found = []
        for key, right, share in zip(keys, (bridge, answer), (self.wrong_bridges, self.wrong_answers)):
            of, to = jax.random.split(key)
            shared = self.persistent and right is bridge
            shape = (facts,) if shared else right.shape
            wrong = jax.random.uniform(of, shape, jnp.float32) < share
            other = jax.random.randint(to, shape, 0, self.entities, jnp.int32)
            wrong, other = (wrong[first], other[first]) if shared else (wrong, other)
            found.append(jnp.where(wrong & early, other, right))
        return found[0], found[1]
