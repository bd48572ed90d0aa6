"""Finite groups as tables of products, the parts of functions on them, and what features of those are worth.

A group is called by name: "Z23" (integers modulo 23), "D5" (symmetries of a pentagon, 10 elements), "Q8" (quaternions;
Q12, Q16 … are the other dicyclic groups), "S4" (permutations of 4), "A4" (the even ones), or a direct product, "Z4xS3".
"""

import functools
import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.errors import FieldError

LARGEST = 1024
FACTOR = re.compile(r"(Z|D|Q|S|A)([1-9]\d{0,3})")
ORDERS = {
    "Z": lambda n: n,
    "D": lambda n: 2 * n,
    "Q": lambda n: n,
    "S": math.factorial,
    "A": lambda n: max(math.factorial(n) // 2, 1),
}


def factors(group: str) -> list[tuple[str, int]]:
    """The family and number of each factor of a group's name.

    Raises:
      FieldError: it is no such name, or has more than 1024 elements.
    """
    found = [FACTOR.fullmatch(part) for part in group.split("x")]
    named = [(match[1], int(match[2])) for match in found if match]
    wrong = len(named) < len(found) or any(
        (kind == "Q" and (n < 8 or n % 4)) or (kind in "SA" and n > 6) for kind, n in named
    )
    if wrong:
        allowed = 'must be factors Z1…, D1…, Q8, Q12, Q16…, S1…S6 or A1…A6, "x" between them: "Z23", "Z4xS3"'
        raise FieldError("group", group, allowed)
    return named


def order(group: str) -> int:
    """How many elements a group has, 2 to 1024.

    Raises:
      FieldError: see `factors`.
    """
    size = math.prod(ORDERS[kind](n) for kind, n in factors(group))
    if not 2 <= size <= LARGEST:
        raise FieldError("group", group, f"has {size} elements: must have 2 to {LARGEST}")
    return size


@functools.lru_cache(16)
def group_table(group: str) -> np.ndarray:
    """Its products: element [g, h] is g h, int64 (M, M). Element 0 is the neutral one.

    Raises:
      FieldError: see `order`.
    """
    order(group)
    whole = np.zeros((1, 1), np.int64)
    for kind, n in factors(group):
        part = _permutations(n, kind == "A") if kind in "SA" else _rotations(kind, n)
        size = len(part)
        whole = (whole[:, None, :, None] * size + part[None, :, None, :]).reshape(len(whole) * size, -1)
    whole.flags.writeable = False
    return whole


def _rotations(kind: str, n: int) -> np.ndarray:
    """aⁱ xˢ of cyclic (s = 0), dihedral (x² = 1) and dicyclic groups (x² = aⁿ′ᐟ² of n′ powers of a): x a = a⁻¹ x."""
    powers = n // 2 if kind == "Q" else n
    size = n if kind in "ZQ" else 2 * n
    i, s = np.divmod(np.arange(size), powers)[::-1]
    turn = np.where(s[:, None] == 1, -i[None], i[None]) + i[:, None]
    if kind == "Q":
        turn = turn + powers // 2 * (s[:, None] & s[None])
    return turn % powers + powers * (s[:, None] ^ s[None])


def _permutations(n: int, even: bool) -> np.ndarray:
    """Permutations in lexicographic order; (g h)(i) = g(h(i))."""
    found = np.array(list(itertools.permutations(range(n))), np.int64)
    if even:
        inversions = sum((found[:, i] > found[:, j]).astype(int) for i in range(n) for j in range(i + 1, n))
        found = found[np.broadcast_to(inversions, len(found)) % 2 == 0]
    code = n ** np.arange(n)[::-1]
    return np.searchsorted(found @ code, found[:, found] @ code)


@functools.lru_cache(16)
def isotypic_projections(group: str) -> np.ndarray:
    """The parts into which functions on a group fall under it, real ones: projections, float64 (R, M, M).

    A part belongs to an irreducible representation of dimension d with a real character χ, and has d² dimensions, or
    to one with its conjugate, and has 2 d²; the projection is d/M χ(g⁻¹ h), or d/M · 2 Re χ(g⁻¹ h). They are the
    common eigenspaces of the sums over the classes {k g k⁻¹} ∪ {k g⁻¹ k⁻¹}, and there are as many. The first is of the
    constant functions; those of "Z23" are the frequencies 0, 1, …, 11.
    """
    products = group_table(group)
    inverse = np.argmin(products, axis=1)  # the neutral element is 0
    conjugates = products[products, inverse[:, None]]  # [k, g] = k g k⁻¹
    least = np.minimum(conjugates.min(axis=0), conjugates[:, inverse].min(axis=0))
    _, which = np.unique(least, return_inverse=True)
    quotient = which[products[inverse]]  # the class of g⁻¹ h
    mixed = np.random.default_rng(0).normal(size=which.max() + 1)[quotient]
    values, vectors = np.linalg.eigh(mixed)
    ends = np.flatnonzero(np.diff(values) > 1e-7 * np.abs(values).max()) + 1
    parts = np.stack([v @ v.T for v in np.split(vectors, ends, axis=1)])
    characters = np.round(parts[:, 0] / parts[:, :1, 0], 6)
    return parts[np.lexsort(-characters.T[::-1])]


@functools.lru_cache(16)
def greatest_energies(group: str) -> np.ndarray:
    """The largest energy of a unit in each of the `isotypic_projections`, float64 (R,); that of the first is 0.

    The energy of a unit w = (u, v), ‖w‖ = 1, on all pairs is E(w) = ½ ‖Ỹᵀ (X w)²‖² = 2 Σ_c (Σ_{gh=c} u_g v_h)² for u,
    v of mean 0, with rows of Ỹ the centred one-hot products and X w = u_g + v_h. Its local maxima lie in one part each
    (Tian 2025, arXiv 2509.21519). There it is M/2d for a representation of dimension d that can be written in real
    numbers, and M/4d for a pair of complex ones and for one of quaternionic type: by Plancherel's theorem
    Σ_c (u * v)_c² = Σ d/M ‖û v̂‖², largest where û and v̂ have the least rank.
    """
    products, parts = group_table(group), isotypic_projections(group)
    size = len(products)
    dimensions = np.trace(parts, axis1=1, axis2=2)
    types = parts[:, np.diagonal(products), 0].sum(axis=1)  # d · the indicator of Frobenius and Schur: 1, 0 or -1
    is_pair = np.abs(types) < 0.5
    d = np.sqrt(np.where(is_pair, dimensions / 2, dimensions))
    energies = size / d / np.where(types > 0.5, 2, 4)
    energies[0] = 0
    return energies


def energy(weights: jax.Array, group: str) -> jax.Array:
    """E(w) = ½ ‖Ỹᵀ (X w)²‖² on all pairs (see `greatest_energies`) of each column of weights (2 M, units): (units,)."""
    products = group_table(group)
    second = np.argsort(products, axis=1)  # [g, c]: the h with g h = c
    u, v = weights.reshape(2, len(products), -1)
    sums = jax.lax.map(lambda h: jnp.sum(jnp.square(u + v[h]), axis=0), jnp.asarray(second.T, jnp.int32))
    return jnp.sum(jnp.square(sums - jnp.mean(sums, axis=0, keepdims=True)), axis=0) / 2
