"""Optax transformations that optax does not have; each composes with any optimizer."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgen.errors import FieldError
from jaxgen.kinds import Tree
from jaxgen.paths import in_group, name_of

MASKS = ("all", "matrices", "no_embeddings")
tree_map = jax.tree.map


def decay_mask(
    name: str, groups: Mapping[str, tuple[str, ...]] | None = None
) -> Callable[[optax.Params], optax.Params] | None:
    """Function from parameters to a tree of bools: which of them decay. None stands for all.

    Args:
      name: one of `MASKS`.
      groups: patterns of the network's parameters by group (`in_group`); "no_embeddings" needs "embeddings".

    Raises:
      FieldError: it does not have them.
    """
    if name == "all":
        return None
    if name == "no_embeddings" and "embeddings" not in (groups or {}):
        why = 'needs a network that says which of its parameters are embeddings: groups = {"embeddings": ("wte",)}'
        raise FieldError("optimizer.decay_mask", name, f"{why}; () where none are")
    embeddings = (groups or {}).get("embeddings", ())

    def keep(path, parameter) -> bool:
        return parameter.ndim >= 2 and not (name == "no_embeddings" and in_group(name_of(path), embeddings))

    return lambda parameters: jax.tree_util.tree_map_with_path(keep, parameters)


def perp_grad() -> optax.GradientTransformation:
    """The gradient's part orthogonal to the weights, with the gradient's norm, tensor by tensor.

    g⊥ = g - (w·g / w·w) w, rescaled to ‖g‖ (Prieto et al., arXiv 2501.04697, algorithm 1). Where w = 0 the gradient is
    left as it is. Where g is parallel to w up to rounding (‖g⊥‖ ≤ 8 ε ‖g‖) there is no such part, and the result is 0
    rather than blown-up noise.
    """

    def project(g, w):
        tiny = jnp.finfo(g.dtype).tiny
        squared = jnp.sum(w * w)
        along = jnp.where(squared > tiny, jnp.sum(w * g) / jnp.where(squared > tiny, squared, 1), 0)
        rest = g - along * w
        size, rest_size = _norm(g), _norm(rest)
        parallel = rest_size <= 8 * jnp.finfo(g.dtype).eps * size
        return jnp.where(parallel, jnp.zeros_like(g), rest * (size / jnp.where(parallel, 1, rest_size)))

    return optax.stateless(lambda updates, params: tree_map(project, updates, params))


class AdamState(NamedTuple):
    """Steps made, first moment m, and root r of the second moment."""

    steps: jax.Array
    m: optax.Params
    r: optax.Params


def scale_by_adam(b1, b2, eps) -> optax.GradientTransformation:
    """Adam's direction m̂ / (√v̂ + eps), for gradients down to the smallest float.

    m ← b1 m + (1 - b1) g; v ← b2 v + (1 - b2) g²; m̂ = m / (1 - b1ᵗ), v̂ = v / (1 - b2ᵗ) (Kingma & Ba 2015).

    The state holds r = √v: in float32, v of a gradient of 1e-20 would underflow, and with eps = 1e-25 the step would be
    1e5 times too long (XLA flushes denormals from g ≈ 1e-18 on; PyTorch follows near 1e-21). Squares are taken of
    values scaled by 2⁶⁰ where r and g are small. 1 - bᵗ is computed as -expm1(t log b), which is exact at small t.
    """

    def init(params):
        return AdamState(jnp.zeros([], jnp.int32), tree_map(jnp.zeros_like, params), tree_map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        steps = state.steps + 1
        m = tree_map(lambda m, g: b1 * m + (1 - b1) * g, state.m, updates)
        r = tree_map(lambda r, g: _root_mean(r, g, b2), state.r, updates)

        def direction(m, r):
            one_minus = lambda b: -jnp.expm1(steps.astype(m.dtype) * jnp.log(jnp.asarray(b, m.dtype)))  # noqa: E731
            return m / one_minus(b1) / (r / jnp.sqrt(one_minus(b2)) + eps)

        return tree_map(direction, m, r), AdamState(steps, m, r)

    return optax.GradientTransformation(init, update)


def _root_mean(r, g, b2):
    small = jnp.maximum(r, jnp.abs(g)) < 2.0**-50
    up, down = jnp.where(small, 2.0**60, 1.0), jnp.where(small, 2.0**-60, 1.0)
    up, down = up.astype(g.dtype), down.astype(g.dtype)
    return jnp.sqrt(b2 * jnp.square(r * up) + (1 - b2) * jnp.square(g * up)) * down


def adam_states(state: optax.OptState) -> list[AdamState]:
    """Every `AdamState` within an optimizer state."""
    found = jax.tree.leaves(state, is_leaf=lambda s: isinstance(s, AdamState))
    return [s for s in found if isinstance(s, AdamState)]


def same_bits(a: Tree, b: Tree) -> jax.Array:
    """Whether all floats of two trees are equal (step counts are left out; -0 equals 0; NaN equals nothing)."""
    pairs = [(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.array(True), *(jnp.all(x == y) for x, y in pairs)]))


def grokfast_ema(decay, gain) -> optax.GradientTransformation:
    """Grokfast-EMA (Lee et al. 2024, arXiv 2405.20233): g ← g + gain · m, m ← decay · m + (1 - decay) · g, m₀ = g₀."""

    def init(params):
        return jnp.zeros([], jnp.int32), tree_map(jnp.zeros_like, params)

    def update(updates, state, params=None):
        del params
        count, m = state
        m = tree_map(lambda m, g: jnp.where(count == 0, g, decay * m + (1 - decay) * g), m, updates)
        return tree_map(lambda m, g: g + gain * m, m, updates), (count + 1, m)

    return optax.GradientTransformation(init, update)


def grokfast_average(window: int, gain) -> optax.GradientTransformation:
    """Grokfast-MA (Lee et al. 2024): g ← g + gain · mean of the last `window` gradients, from step `window` on."""

    def init(params):
        return jnp.zeros([], jnp.int32), tree_map(lambda w: jnp.zeros((window, *w.shape), w.dtype), params)

    def update(updates, state, params=None):
        del params
        count, past = state
        past = tree_map(lambda p, g: p.at[count % window].set(g), past, updates)
        full = count + 1 >= window
        change = lambda p, g: jnp.where(full, g + gain * jnp.mean(p, axis=0), g)  # noqa: E731
        return tree_map(change, past, updates), (count + 1, past)

    return optax.GradientTransformation(init, update)


def add_sign_decay(strength, mask) -> optax.GradientTransformation:
    """g ← g + strength · sign w: the gradient of an L1 penalty."""
    add = lambda g, w: g + strength * jnp.sign(w)  # noqa: E731
    transform = optax.stateless(lambda updates, params: tree_map(add, updates, params))
    return transform if mask is None else optax.masked(transform, mask)


def add_decay_to_start(strength, mask) -> optax.GradientTransformation:
    """u ← u + strength · (w - w₀), w₀ the parameters at initialisation."""

    def update(updates, start, params=None):
        return tree_map(lambda u, w, w0: u + strength * (w - w0), updates, params, start), start

    transform = optax.GradientTransformation(lambda params: params, update)
    return transform if mask is None else optax.masked(transform, mask)


def scale_by_schedule(rate, factor: Callable[[jax.Array], jax.Array]) -> optax.GradientTransformation:
    """u ← -rate · factor(t) · u with t = 0, 1, …"""

    def update(updates, count, params=None):
        del params
        now = -rate * factor(count)
        return tree_map(lambda u: u * now.astype(u.dtype), updates), count + 1

    return optax.GradientTransformation(lambda _: jnp.zeros([], jnp.int32), update)


def clamp_norm(ratio, start) -> optax.GradientTransformation:
    """After step `start`, the norm of all weights together is at most ratio · (their norm at initialisation)."""

    def init(params):
        return jnp.zeros([], jnp.int32), optax.tree_utils.tree_norm(params)

    def update(updates, state, params=None):
        count, first = state
        moved = tree_map(jnp.add, params, updates)
        norm, allowed = optax.tree_utils.tree_norm(moved), ratio * first
        scale = jnp.where((count >= start) & (norm > allowed), allowed / norm, 1)
        return tree_map(lambda new, w: new * scale - w, moved, params), (count + 1, first)

    return optax.GradientTransformation(init, update)


def _norm(x: jax.Array) -> jax.Array:
    """‖x‖ without overflow or underflow of the squares."""
    largest = jnp.max(jnp.abs(x))
    safe = jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(jnp.sum(jnp.square(x / safe)))
