"""Linear algebra in blocks of lanes."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
from jax.lax import linalg

from jaxgen.jaxprs import inside

F = TypeVar("F", bound=Callable)
ROUTINES = (
    *(linalg.cholesky_p, linalg.eig_p, linalg.eigh_p, linalg.hessenberg_p, linalg.householder_product_p, linalg.lu_p),
    *(linalg.qr_p, linalg.schur_p, linalg.svd_p, linalg.triangular_solve_p, linalg.tridiagonal_p),
)
"""What jaxlib computes by LAPACK on a CPU."""


def one_by_one(function: F) -> F:
    """A function of arrays that a block of lanes calls for one lane after another, instead of for all of them at once.

    For whatever calls LAPACK: `jnp.linalg.svd`, `eigh`, `solve`, `qr`, `cholesky`, … jaxlib gives the matrices of a
    batch to the threads that wait for them, so that blocks on several CPU devices may wait for each other for ever. A
    program that calls LAPACK elsewhere has one lane on a CPU, which is slower where networks are small.

    No gradient goes through it, though it may take gradients itself: in a network that is trained through a
    decomposition leave it out. Its arguments are arrays; shapes and dtypes stand in a closure, as for orthogonal
    weights: `lambda key, shape, dtype: one_by_one(lambda k: orthogonal()(k, shape, dtype))(key)`.
    """
    return jax.custom_batching.sequential_vmap(function)


class Call(NamedTuple):
    """A call of LAPACK: the routine, of how many matrices in one run, and whether lanes make it one after another."""

    routine: str
    matrices: int
    in_turn: bool


def calls(jaxpr: Any, in_turn: bool = False) -> Iterator[Call]:
    """The calls of LAPACK in the jaxpr of a function of one run, also in its loops and branches."""
    for equation in jaxpr.eqns:
        if equation.primitive in ROUTINES:
            yield Call(equation.primitive.name, math.prod(equation.invars[0].aval.shape[:-2]), in_turn)
        mapped = in_turn or equation.primitive.name == "custom_vmap_call"
        for inner in inside(equation):
            yield from calls(inner, mapped)
