"""Which inputs of a function follow from those that were seen, by substituting what was seen to act alike.

The k-coverage of Chang et al. 2025 (arXiv 2505.20278), computed without training.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp


def coverage_cutoff(
    targets: jax.Array,
    seen: jax.Array,
    largest: int = 3,
    subsets: Sequence[Sequence[int]] | None = None,
    same_target: bool = True,
) -> jax.Array:
    """The largest k, up to `largest`, at which each input is k-covered; 0 where it is at none.

    Let I be some of the d positions. Two fragments, values at I, are k-equivalent if at least k complements, values at
    the other positions, were seen with both, and the targets agreed for all that were; what is equivalent to the same
    is equivalent. Inputs with the same complement and equivalent fragments are linked. An input is k-covered if links
    lead from it to one that was seen.

    Args:
      targets: int (n, …, n), the function's value in [0, n) at each of the nᵈ inputs.
      seen: bool, like `targets`.
      largest: k is not asked for beyond it.
      subsets: the sets I; None: all but the empty one and that of all positions, as in the paper.
      same_target: whether inputs are only linked if their targets are the same, as in the paper's code: chance makes
        fragments equivalent that are not, where k or n are small.

    Returns:
      int32, like `targets`; `largest` where the input was seen.
    """
    positions = range(targets.ndim)
    if subsets is None:
        subsets = [some for size in positions[1:] for some in itertools.combinations(positions, size)]
    values, inputs = targets.shape[0], jnp.arange(targets.size, dtype=jnp.int32).reshape(targets.shape)
    count, tables = targets.size * (values if same_target else 1), []
    for _, alike in itertools.groupby(sorted(subsets, key=len), len):  # of one size: compiled once
        some = list(alike)
        tables.append([jnp.stack([_by_fragment(of, one) for one in some]) for of in (targets, seen, inputs)])
    shared = [jax.lax.map(lambda table: _shared(*table), (target, there)) for target, there, _ in tables]

    def covered(k):
        def groups(table):
            target, places, shared = table
            group = (
                _classes(shared >= k)[:, None] * target.shape[1] + jnp.arange(target.shape[1], dtype=jnp.int32)[None]
            )
            group = group * values + target if same_target else group
            return jnp.zeros(targets.size, jnp.int32).at[places.reshape(-1)].set(group.reshape(-1))

        every = [jax.lax.map(groups, (target, places, of)) for (target, _, places), of in zip(tables, shared)]
        return _reached(seen.reshape(-1), jnp.concatenate(every), count).astype(jnp.int32)

    levels = jax.lax.map(covered, jnp.arange(1, largest + 1, dtype=jnp.int32))
    return jnp.sum(levels, axis=0, dtype=jnp.int32).reshape(targets.shape)


def _by_fragment(array: jax.Array, some: Sequence[int]) -> jax.Array:
    """(fragments, complements)."""
    others = [position for position in range(array.ndim) if position not in some]
    return array.transpose(*some, *others).reshape(array.shape[0] ** len(some), -1)


def _shared(target: jax.Array, seen: jax.Array) -> jax.Array:
    """How many complements were seen with both of two fragments, -1 where targets differ for one, (fragments)²."""

    def step(found, complement):
        value, there = complement
        both = there[:, None] & there[None]
        differ = both & (value[:, None] != value[None])
        return (found[0] + both.astype(jnp.int32), found[1] | differ), None

    count = len(target)
    start = jnp.zeros((count, count), jnp.int32), jnp.zeros((count, count), bool)
    (shared, differ), _ = jax.lax.scan(step, start, (target.T, seen.T))
    return jnp.where(differ, -1, shared)


def _classes(linked: jax.Array) -> jax.Array:
    """The least index that links lead to from each, int32 (n,), of links (n, n)."""
    count = len(linked)

    def lower(state):
        least, _ = state
        near = jnp.min(jnp.where(linked, least[None], count), axis=1)
        found = jnp.minimum(least, near)
        found = found[found]
        return found, jnp.any(found != least)

    return jax.lax.while_loop(lambda state: state[1], lower, (jnp.arange(count, dtype=jnp.int32), jnp.array(True)))[0]


def _reached(seen: jax.Array, groups: jax.Array, count: int) -> jax.Array:
    """What groups connect to something seen, bool (n,); each row of `groups` says in which of `count` each is."""

    def through(found, group):
        return found | (jax.ops.segment_max(found.astype(jnp.int32), group, count)[group] > 0), None

    def spread(state):
        reached, _ = state
        found = jax.lax.scan(through, reached, groups)[0]
        return found, jnp.any(found != reached)

    return jax.lax.while_loop(lambda state: state[1], spread, (seen, jnp.array(True)))[0]
