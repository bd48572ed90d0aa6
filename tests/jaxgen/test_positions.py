"""What a decoder knows of positions, held to the formulas that define it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import FieldError, positions

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def test_sinusoids_are_those_of_vaswani():
    x = positions.Sinusoidal().add(jnp.zeros((1, 9, 6), jnp.float64), {}, None)[0]
    for i in range(9):
        for k in range(3):
            angle = i / 10_000 ** (2 * k / 6)
            np.testing.assert_allclose(x[i, 2 * k : 2 * k + 2], [np.sin(angle), np.cos(angle)], rtol=1e-12, atol=1e-12)


def test_an_odd_width_ends_with_a_sine():
    x = positions.Sinusoidal().add(jnp.zeros((1, 4, 5), jnp.float64), {}, None)[0]
    np.testing.assert_allclose(x[:, 4], np.sin(np.arange(4) / 10_000 ** (4 / 5)), rtol=1e-12)


def test_slopes_of_alibi_are_the_published_ones():
    bias = positions.ALiBi().bias(4, 8, {}, jnp.float64)
    np.testing.assert_allclose(bias[:, 1, 0], [-(0.5**h) for h in range(1, 9)])  # 1/2, 1/4, … 1/256
    np.testing.assert_allclose(bias[2, 3], [-3 / 8, -2 / 8, -1 / 8, 0])


def bucket_of_t5(distance, buckets=32, furthest=128):
    """The rule of the released code, for causal attention."""
    exact = buckets // 2
    if distance < exact:
        return distance
    scaled = np.log(distance / exact) / np.log(furthest / exact) * (buckets - exact)
    return min(exact + int(scaled), buckets - 1)


@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (8, 20), (2, 2)])
def test_buckets_are_those_of_t5(buckets, furthest):
    distance = np.arange(300)
    found = positions.T5Bias(buckets=buckets, furthest=furthest).bucket(distance)
    np.testing.assert_array_equal(found, [bucket_of_t5(d, buckets, furthest) for d in distance])
    assert found[-1] == buckets - 1


def test_the_bias_of_t5_is_of_head_and_distance():
    encoding = positions.T5Bias(buckets=4, furthest=5)
    (shape,) = encoding.tables(6, 8, 2).values()
    table = jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape)
    bias = encoding.bias(6, 2, {"distances": table}, jnp.float32)
    for i in range(6):
        for j in range(i + 1):
            np.testing.assert_array_equal(bias[:, i, j], table[bucket_of_t5(i - j, 4, 5)])


def test_rotary_turns_planes_as_complex_numbers_turn():
    x = np.asarray(jax.random.normal(KEY, (2, 7, 3, 8), jnp.float64))
    turned = positions.Rotary().rotate(jnp.asarray(x))
    angle = np.arange(7)[:, None] / 10_000 ** (2 * np.arange(4) / 8)
    whole = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * angle)[None, :, None]
    np.testing.assert_allclose(turned, np.concatenate([whole.real, whole.imag], -1), rtol=1e-12, atol=1e-12)


def test_products_of_rotated_vectors_depend_on_their_distance_alone():
    query, key = (
        jnp.broadcast_to(jax.random.normal(k, (8,), jnp.float64), (1, 9, 1, 8)) for k in jax.random.split(KEY)
    )
    turn = positions.Rotary().rotate
    products = np.einsum("bihd,bjhd->ij", turn(query), turn(key))
    for offset in range(9):
        along = np.diagonal(products, -offset)
        np.testing.assert_allclose(along, along[0], rtol=1e-10)
    assert np.std(products[:, 0]) > 0.01


def test_a_share_of_the_dimensions_is_turned():
    x = jax.random.normal(KEY, (1, 5, 2, 8), jnp.float64)
    turned = positions.Rotary(share=0.25).rotate(x)
    np.testing.assert_array_equal(turned[..., 2:], x[..., 2:])
    assert not np.allclose(turned[:, 1:, :, :2], x[:, 1:, :, :2])


def test_random_offsets_train_all_positions_and_evaluations_begin_at_0():
    encoding = positions.Learned(longest=10, offset=True)
    table = jnp.arange(10.0, dtype=jnp.float32)[:, None]
    x = jnp.zeros((300, 4, 1), jnp.float32)
    drawn = encoding.add(x, {"vectors": table}, KEY)[..., 0]
    np.testing.assert_array_equal(drawn - drawn[:, :1], np.broadcast_to(np.arange(4.0), (300, 4)))
    assert set(np.asarray(drawn[:, 0])) == set(range(7))  # 10 - 4 + 1 places
    counts = np.bincount(np.asarray(drawn[:, 0]).astype(int))
    assert counts.min() > 20  # of 43 on average
    np.testing.assert_array_equal(encoding.add(x, {"vectors": table}, None)[0, :, 0], np.arange(4))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: positions.Learned(offset=True).check(), "offset"),
        (lambda: positions.Learned(longest=3).tables(4, 8, 2), "longest = 3"),
        (lambda: positions.T5Bias(buckets=32, furthest=16).check(), "furthest = 16"),
        (lambda: positions.Rotary().rotate(jnp.zeros((1, 2, 3, 1))), "heads = 3"),
    ],
)
def test_what_cannot_be_is_told(make, field):
    with pytest.raises(FieldError, match=field):
        make()
