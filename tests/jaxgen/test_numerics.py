"""What the compiler computes is what numpy computes, in the cases in which a jaxlib was found not to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import training


def compiled(f):
    return jax.jit(f, compiler_options=training.compiler_options())


@pytest.mark.optimized
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_products_with_a_constant_are_right(value):
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(160, 30)).astype(np.float32), draw.normal(size=(30, 100)).astype(np.float32)
    exact = (x.astype(float) @ np.full((30, 100), value) * (1 + 0.1 * (x.astype(float) @ w))).mean(axis=1)

    def f(x, w):
        return jnp.mean((x @ jnp.full((30, 100), np.float32(value))) * (1 + np.float32(0.1) * (x @ w)), axis=-1)

    with jax.default_matmul_precision("highest"):
        np.testing.assert_allclose(compiled(f)(x, w), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.optimized
def test_sums_over_products_of_many_rows_are_right():
    rows = np.zeros((32_769, 3), np.float32)
    rows[:, 0] = np.arange(len(rows))
    f = jax.vmap(lambda row: jnp.sum(jnp.square(jnp.eye(3, dtype=jnp.float32) @ row)))
    np.testing.assert_allclose(compiled(f)(rows), np.square(rows[:, 0]), rtol=1e-6)
