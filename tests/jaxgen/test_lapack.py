"""Which functions call LAPACK, of how many matrices at once, and which of them lanes call in turn."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import jaxgen as jg
from jaxgen import lapack

SQUARE = jnp.eye(4)
STACK = jnp.stack([SQUARE] * 3)


def singular(a):
    """Its singular values."""
    return jnp.linalg.svd(a, compute_uv=False)


def found(function, *arguments):
    """The calls in its jaxpr."""
    return {tuple(call) for call in lapack.calls(jax.make_jaxpr(function)(*arguments).jaxpr)}


@pytest.mark.parametrize("name", ["cholesky", "qr", "svd", "eigh", "eigvals", "inv", "det", "slogdet", "pinv"])
def test_functions_of_linear_algebra_are_noticed_wherever_they_are_called(name):
    function = getattr(jnp.linalg, name)
    first = lambda a: jax.tree.leaves(function(a))[0]  # noqa: E731
    direct = found(function, SQUARE)
    assert direct
    assert all(matrices == 1 and not in_turn for _, matrices, in_turn in direct)
    assert found(jax.jit(function), SQUARE) == direct
    assert found(lambda a: jax.lax.scan(lambda c, x: (c, first(x)), 0, a), STACK) == direct
    assert found(lambda a: jax.lax.cond(a.sum() > 0, first, lambda a: 0 * first(a), a), SQUARE) == direct
    ended = lambda a: jax.lax.while_loop(lambda c: c < 1, lambda c: c + first(a).sum().real, 0.0)  # noqa: E731
    assert found(ended, SQUARE) == direct


def test_those_in_turn_are_told_apart_and_matrices_at_once_are_counted():
    assert found(jg.one_by_one(singular), SQUARE) == {("svd", 1, True)}
    assert found(singular, STACK) == {("svd", 3, False)}
    assert found(jax.vmap(singular), STACK) == {("svd", 3, False)}
    assert found(jg.one_by_one(singular), STACK) == {("svd", 3, True)}
    assert found(lambda a: jax.lax.map(singular, a), STACK) == {("svd", 1, False)}
    assert found(jax.vmap(jg.one_by_one(singular)), STACK) == {("svd", 1, True)}  # a loop over them
    assert found(lambda a: jnp.linalg.norm(a) + jnp.linalg.matrix_power(a, 2).sum(), SQUARE) == set()


def test_orthogonal_weights_are_made_by_lapack():
    made = nn.initializers.orthogonal()
    assert found(lambda key: made(key, (4, 4)), jax.random.key(0))
