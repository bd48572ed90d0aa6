"""Compositions of functions that are random tables (arXiv 2505.20278): which data must be seen to answer the rest."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict, Unpack

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.coverage import coverage_cutoff
from jaxgen.tasks.split import check_ratio, exact_share
from jaxgen.tasks.task import Examples
from jaxgen.tasks.texts import ANSWERS, Texts, answered, next_tokens

LEVELS = 3


class How(TypedDict, total=False):
    """What coverage is, see `coverage_cutoff`."""

    subsets: Sequence[Sequence[int]] | None
    same_target: bool


class Questions(NamedTuple):
    """All n³ inputs of a world, with what is asked of them.

    Attributes:
      tokens: x₁ x₂ x₃, int32 (n³, 3), as `jnp.indices` counts.
      bridge, answer: b and t, int32 (n³,).
      rank: place in the order in which they are taken for training; those that are not meant for it last.
      meant: whether both calls are in the functions' seen parts.
      first, second: whether a train row has the call f₁(x₁, x₂), and that of f₂.
    """

    tokens: jax.Array
    bridge: jax.Array
    answer: jax.Array
    rank: jax.Array
    meant: jax.Array
    first: jax.Array
    second: jax.Array


@flax.struct.dataclass
class FunctionTables(Texts):
    """Answer t = f₂(f₁(x₁, x₂), x₃) from x₁ x₂ x₃ < n alone; f₁, f₂: [n]² → [n] are tables drawn uniformly.

    The first ⌈(1 - unseen) · entries⌉ of each table, in random order, are its seen part. N = ⌊ratio · n²⌋ of the
    inputs whose two calls both are seen are train rows; about (1 - unseen)² n³ are such. Of the inputs beyond those
    that the `largest` N would take, "test" rows have two calls that train rows have too; "first_unseen",
    "second_unseen" and "both_unseen" have a call that no train row has. Where a world has fewer, those that lack have
    weight 0. It is drawn from the split seed: a larger ratio has the train rows of a smaller one.

    The splits "k0" … "k3" are the test rows by the largest k up to 3 at which they are k-covered by the train rows
    (`coverage_cutoff`). Rows are tokens: x₁ x₂ x₃ and the answer, then the filler's; at each position the label is the
    next token, of which only answers have weight.

    Attributes:
      size: n.
      form: "two_hop"; "non_tree": t = f₂(f₁(x₁, x₂), x₂, x₃), where the bridge alone does not determine what follows.
      ratio: N / n², train rows for each pair (x₁, x₂).
      largest: the table has room for a ratio up to this.
      unseen: share of each function's entries that no train row calls.
      test_rows, ood_rows: rows of "test" and of each split with unseen calls.
      answer: "direct"; "bridge": b = f₁(x₁, x₂), then t (chain of thought); "filler": one token that says nothing, then
        t, for the same length.
    """

    size: int = static(20, "[2, 200]", "values of each token")
    form: str = static("two_hop", ("two_hop", "non_tree"), "how the functions are composed")
    ratio: float = leaf(2.5, "(0, 200]", "train rows for each pair of first tokens")
    largest: float = static(5.5, "(0, 200]", "ratio up to which the table has room")
    unseen: float = static(0.3, "[0, 1)", "share of each function's entries that is not trained on")
    test_rows: int = static(1400, "[1, 1000000]", "inputs tested on")
    ood_rows: int = static(256, "[0, 1000000]", "inputs of each kind with unseen calls")
    answer: str = static("direct", tuple(ANSWERS), "what is predicted")

    def check(self):
        check_ratio(self.ratio, self.largest)
        if self.ratio * self.size**2 < 1:
            raise FieldError("ratio", self.ratio, f"leaves no train row of {self.size}² pairs")
        room = (1 - self.unseen) ** 2 * self.size
        if self.largest > room:
            why = f"must be at most (1 - unseen)² · size = {room:.6g}, about as many inputs have seen calls"
            raise FieldError("largest", self.largest, why)
        for name in ("test_rows", "ood_rows"):
            if getattr(self, name) > self.size**3:
                raise FieldError(name, getattr(self, name), f"must be at most the {self.size**3} inputs")

    @property
    def vocabulary(self) -> int:
        return self.size + 1

    def rows(self):
        train, most = (exact_share(self.size**2, ratio) for ratio in (self.ratio, self.largest))
        unseen = dict.fromkeys(("first_unseen", "second_unseen", "both_unseen"), self.ood_rows)
        return {"train": train, "left_out": most - train, "test": self.test_rows, **unseen}

    def questions(self, key: jax.Array, train: jax.Array) -> Questions:
        """All inputs of a world with so many train rows, int32 ()."""
        n, keys = self.size, jax.random.split(key, 5)
        tokens = jnp.stack(jnp.meshgrid(*[jnp.arange(n, dtype=jnp.int32)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        x1, x2, x3 = tokens.T
        pair, entries = x1 * n + x2, n**2 if self.form == "two_hop" else n**3
        bridge = jax.random.randint(keys[0], (n**2,), 0, n, jnp.int32)[pair]
        call = bridge * n + x3 if self.form == "two_hop" else (bridge * n + x2) * n + x3
        answer = jax.random.randint(keys[1], (entries,), 0, n, jnp.int32)[call]

        def is_seen(key: jax.Array, count: int) -> jax.Array:
            return _rank(jax.random.uniform(key, (count,), jnp.float32)) >= exact_share(count, self.unseen)

        meant = is_seen(keys[2], n**2)[pair] & is_seen(keys[3], entries)[call]
        rank = _rank(jnp.where(meant, jax.random.uniform(keys[4], meant.shape, jnp.float32), 2.0))
        trained = (meant & (rank < train)).astype(jnp.int32)
        first, second = (
            jax.ops.segment_max(trained, of, count)[of] > 0 for of, count in ((pair, n**2), (call, entries))
        )
        return Questions(tokens, bridge, answer, rank, meant, first, second)

    def cutoff(self, asked: Questions, train: jax.Array, **how: Unpack[How]) -> jax.Array:
        """The largest k up to 3 at which so many train rows cover each input, int32 (n³,): `coverage_cutoff`."""
        cube, trained = (self.size,) * 3, asked.meant & (asked.rank < train)
        return coverage_cutoff(asked.answer.reshape(cube), trained.reshape(cube), LEVELS, **how).reshape(-1)

    def examples(self, key: jax.Array, counts: Mapping[str, jax.Array]) -> Examples:
        asked = self.questions(key, counts["train"])
        most = exact_share(self.size**2, self.largest)

        def drawn(among: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
            chosen = jnp.argsort(jnp.where(among, asked.rank, self.size**3))[:count]
            return chosen, among[chosen]

        kinds = [asked.first & asked.second, ~asked.first & asked.second, asked.first & ~asked.second]
        kinds.append(~asked.first & ~asked.second)
        sizes = [self.test_rows, *[self.ood_rows] * 3]
        found = [drawn(asked.meant & (asked.rank < most), most)]
        found += [drawn((asked.rank >= most) & kind, count) for kind, count in zip(kinds, sizes)]
        chosen, there = (jnp.concatenate(parts) for parts in zip(*found))
        tokens, bridge, answer = asked.tokens[chosen], asked.bridge[chosen], asked.answer[chosen]
        said = answered(self.answer, [*tokens.T], bridge, answer, filler=self.size)
        answers = jnp.arange(said.shape[1] - 1, dtype=jnp.int32)[None] >= 2
        row, k = jnp.arange(len(said), dtype=jnp.int32), self.cutoff(asked, counts["train"])[chosen]
        tested = there & (row >= most) & (row < most + self.test_rows)
        splits = {f"k{level}": tested & (k == level) for level in range(LEVELS + 1)}
        return next_tokens(said, splits, there[:, None] & answers)


def covered_shares(task: FunctionTables, key: jax.Array, train: jax.Array, **how: Unpack[How]) -> jax.Array:
    """The shares of all inputs of seen calls that are not trained on which so many train rows cover at k = 1, 2, 3."""
    asked = task.questions(key, train)
    tested = asked.first & asked.second & (asked.rank >= train)
    reached = task.cutoff(asked, train, **how)[None] >= jnp.arange(1, LEVELS + 1, dtype=jnp.int32)[:, None]
    return jnp.mean(reached, axis=1, where=tested[None], dtype=jnp.float32)


def rows_to_cover(task: FunctionTables, share: float = 0.99, worlds: int = 3, **how: Unpack[How]) -> np.ndarray:
    """N at which on average so large a share of the test rows is covered at k = 1, 2, 3, float (3,).

    From 20 numbers N up to nearly all inputs of seen calls, linearly in log N between them. Nothing is trained.

    Args:
      task: what is composed; its `size`, `form` and `unseen` count.
      share: of the test rows, the mean over worlds.
      worlds: how many, of keys 0, 1, …
      **how: see `coverage_cutoff`.

    Raises:
      FieldError: so many rows do not cover it.
    """
    most = 0.95 * (1 - task.unseen) ** 2 * task.size**3
    counts = np.geomspace(most / 20, most, 20).astype(np.int32)
    shares = jax.jit(lambda key, train: covered_shares(task, key, train, **how))
    keys = [jax.random.key(world) for world in range(worlds)]
    found = np.array([np.mean([shares(key, count) for key in keys], axis=0) for count in counts])
    found = np.maximum.accumulate(found, axis=0)
    if not (found[-1] >= share).all():
        raise FieldError("share", share, f"must be at most {found[-1].min():.6g}, what {counts[-1]} rows cover")
    return np.exp([np.interp(share, level, np.log(counts)) for level in found.T])


def _rank(values: jax.Array) -> jax.Array:
    return jnp.argsort(jnp.argsort(values)).astype(jnp.int32)
