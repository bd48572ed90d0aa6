"""What is done to the weights of another run before a run starts with them."""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.paths import by_name, in_group, name_of


@flax.struct.dataclass
class Prune:
    """Sets the ⌊rate · n⌉ smallest of the n weights in matrices to 0, by |w| over all of them; they stay 0 in training.

    Attributes:
      rate: share of the weights that are removed.
      by: "magnitude" or, as a control, "random": any of them, of fixed random numbers.
    """

    rate: float = leaf(0.5, "[0, 1)", "share of the weights in matrices that are removed")
    by: str = static("magnitude", ("magnitude", "random"), "which are removed")

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `Continued.transformed`; what a mask has removed before counts, and stays removed."""
        del drawn
        if self.by == "magnitude":
            return params, without_smallest(jax.tree.map(jnp.abs, params), self.rate, mask)
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), len(leaves))
        scores = [jax.random.uniform(key, w.shape, w.dtype) for key, w in zip(keys, leaves)]
        return params, without_smallest(jax.tree.unflatten(tree, scores), self.rate, mask)


@flax.struct.dataclass
class PruneUnits:
    """Removes the ⌊rate · n⌉ of n hidden units that have the smallest numbers: their weights are 0 and stay so.

    The numbers, (n,), are what a probe of the parent keeps, for instance the participation ratio of each unit.

    Attributes:
      rate: share of the units that are removed.
      by: name of the array; None: of fixed random numbers, as a control.
      largest: whether units with the largest numbers are removed, as another control.
      incoming: patterns of the names of tensors whose last axis counts the units.
      outgoing: patterns of those whose first axis does.
    """

    rate: float = leaf(0.5, "[0, 1]", "share of the units that are removed")
    by: str | None = static(None, doc="array of the parent; None: random")
    largest: bool = static(False, doc="whether those with the largest numbers are removed")
    incoming: tuple = static(("Linear_0",), doc="patterns of tensors whose last axis counts the units")
    outgoing: tuple = static(("Linear_1.kernel",), doc="patterns of tensors whose first axis counts the units")

    def check(self):
        for field in ("incoming", "outgoing"):
            if not all(isinstance(pattern, str) for pattern in getattr(self, field)):
                raise FieldError(field, getattr(self, field), "must be patterns of names")
        if not self.incoming + self.outgoing:
            raise FieldError("incoming", (), "must name at least one tensor, here or in outgoing")

    def apply(
        self,
        drawn: optax.Params,
        params: optax.Params,
        mask: optax.Params | None,
        held: Mapping[str, jax.Array],
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `Continued.transformed`; what a mask has removed before stays removed.

        Raises:
          FieldError: no tensor is matched, they disagree on how many units there are, or nothing of that name is held.
        """
        del drawn
        sides = {-1: self.incoming, 0: self.outgoing}
        matched = [(w, axis) for axis in sides for name, w in by_name(params).items() if in_group(name, sides[axis])]
        sizes = {w.shape[axis] for w, axis in matched}
        if len(sizes) != 1 or len({id(w) for w, _ in matched}) < len(matched):
            why = "must each be of one side, and all of one number of units"
            raise FieldError("transforms.incoming", f"{self.incoming}, outgoing {self.outgoing}", why)
        rank = jnp.argsort(jnp.argsort(self.numbers(held, *sizes)))
        stays = rank >= jnp.round(self.rate * len(rank)).astype(rank.dtype)

        def kept(path, w, there):
            name = name_of(path)
            if in_group(name, self.outgoing):
                return there & jnp.expand_dims(stays, range(1, w.ndim))
            return there & jnp.expand_dims(stays, range(w.ndim - 1)) if in_group(name, self.incoming) else there

        before = jax.tree.map(lambda w: jnp.ones_like(w, bool), params) if mask is None else mask
        return params, jax.tree_util.tree_map_with_path(kept, params, before)

    def numbers(self, held: Mapping[str, jax.Array], count: int) -> jax.Array:
        """What is ranked, (units,): those with the smallest go."""
        if self.by is None:
            return jax.random.uniform(jax.random.key(0, impl="threefry2x32"), (count,))
        found = held.get(self.by)
        if found is None or found.shape != (count,):
            has = ", ".join(f"{name} {a.shape}" for name, a in held.items()) or "nothing"
            raise FieldError("transforms.by", self.by, f"must be {(count,)}, and the parent's probes keep {has}")
        return -found if self.largest else found


@flax.struct.dataclass
class Rewind:
    """The weights that the seed draws, with what was removed before still removed (Frankle & Carbin, 1803.03635).

    As the first transform it leaves nothing of the parent's weights, which may be of other shapes then: what the run
    starts with is what the parent's probes keep (`jaxgen.probes`).
    """

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `Continued.transformed`."""
        del params
        return drawn, mask


@flax.struct.dataclass
class MatchNorm:
    """All weights back, as small as pruning left them: θ · ‖m ⊙ θ‖ / ‖θ‖ over all parameters, where m is the mask.

    After `Prune` and `Rewind` it is the dense control of a ticket: the norm at the start is the same, nothing is
    removed (Minegishi et al. 2023, arXiv 2310.19470).

    Attributes:
      order: of the norm: 1, Σ |w|, or 2, √Σ w².
    """

    order: int = static(2, (1, 2), "of the norm: 1 or 2")

    def apply(self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None) -> tuple[optax.Params, None]:
        """See `Continued.transformed`."""
        del drawn
        if mask is None:
            return params, None
        left, whole = (jnp.linalg.norm(ravel_pytree(tree)[0], self.order) for tree in (masked(params, mask), params))
        return jax.tree.map(lambda w: w * (left / whole), params), None


@flax.struct.dataclass
class Transplant:
    """Only some of the parent's tensors; the others are what the seed draws, and may have other shapes in the parent.

    Attributes:
      parameters: patterns of their names, as in a network's `groups` ("embedding", "Linear_*.kernel").
    """

    parameters: tuple = static((), doc="patterns of the names of the parent's tensors")

    def check(self):
        if not self.parameters or not all(isinstance(pattern, str) for pattern in self.parameters):
            raise FieldError("parameters", self.parameters, "must be patterns of names, at least one")

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `Continued.transformed`."""

        def choose(path, new, old):
            return old if in_group(name_of(path), self.parameters) else new

        return jax.tree_util.tree_map_with_path(choose, drawn, params), mask


def masked(params: optax.Params, mask: optax.Params) -> optax.Params:
    """The parameters that a mask keeps, and 0 elsewhere."""
    return jax.tree.map(lambda w, there: jnp.where(there, w, 0), params, mask)


def without_smallest(scores: optax.Params, rate: ArrayLike, before: optax.Params | None) -> optax.Params:
    """The mask, like the parameters, that removes the ⌊rate · n⌉ of the n weights in matrices with the smallest scores.

    Args:
      scores: like the parameters; those of vectors are not looked at: all of them stay.
      rate: share of the weights in matrices, over all of them.
      before: the mask so far; what it removes counts, and stays removed. None: nothing is removed.
    """
    leaves, tree = jax.tree.flatten(scores)
    masks = [jnp.ones_like(s, bool) for s in leaves] if before is None else jax.tree.leaves(before)
    flat = jnp.concatenate([jnp.where(m, s, -jnp.inf).ravel() for m, s in zip(masks, leaves) if s.ndim > 1])
    rank = jnp.zeros(flat.shape, jnp.int32).at[jnp.argsort(flat)].set(jnp.arange(flat.size, dtype=jnp.int32))
    stays, at, found = rank >= jnp.round(rate * flat.size).astype(jnp.int32), 0, []
    for there in masks:
        size = there.size if there.ndim > 1 else 0
        found.append(there & stays[at : at + size].reshape(there.shape) if size else there)
        at += size
    return jax.tree.unflatten(tree, found)
