import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgen import losses
from jaxgen.training import COMPILER_OPTIONS

REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "stablemax.json").read_text())
DTYPES = losses.DTYPES


def test_log_stablemax_matches_reference():
    with jax.enable_x64(True):
        for case in REFERENCE["log_stablemax"]:
            got = losses.log_stablemax(jnp.array(case["logits"], jnp.float64))
            np.testing.assert_allclose(got, case["values"], atol=1e-8)


def test_stablemax_cross_entropy_and_gradient_match_reference():
    case = REFERENCE["cross_entropy"]
    with jax.enable_x64(True):
        loss = losses.StableMaxCrossEntropy(dtype="float64")
        labels = jnp.array(case["labels"])
        value, gradient = jax.value_and_grad(lambda z: jnp.mean(loss(z, labels)))(
            jnp.array(case["logits"], jnp.float64)
        )
        np.testing.assert_allclose(value, case["mean_loss"], rtol=1e-9)
        np.testing.assert_allclose(gradient[:2], case["gradient_of_mean_loss_rows_1_2"], rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [losses.CrossEntropy, losses.StableMaxCrossEntropy, losses.MeanSquaredError])
def test_every_loss_in_every_dtype_is_finite_and_in_that_dtype(make, dtype):
    with jax.enable_x64(dtype == "float64"):
        logits = jnp.array([[1.0, 1.0, 1.0], [0.0, -1.0, 100.0], [-3.0, 5.0, 0.5]], jnp.float32)
        labels = jnp.array([0, 1, 2])
        loss = make(dtype=dtype)
        assert loss(logits, labels).dtype == dtype
        assert loss(logits, labels).shape == (3,)
        gradient = jax.grad(lambda z: jnp.sum(loss(z, labels).astype(jnp.float32)))(logits)
        assert gradient.dtype == jnp.float32
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("make", [losses.CrossEntropy, losses.StableMaxCrossEntropy, losses.MeanSquaredError])
def test_gradients_match_finite_differences(make):
    with jax.enable_x64(True):
        logits = jax.random.normal(jax.random.key(0), (4, 5), jnp.float64) * 3
        labels = jnp.array([0, 1, 4, 2])
        loss = make(dtype="float64")
        check_grads(lambda z: jnp.mean(loss(z, labels)), (logits,), order=1, modes=["rev"])


def test_cross_entropy_of_uniform_logits_is_log_n():
    loss = losses.CrossEntropy()(jnp.zeros((2, 7)), jnp.array([0, 6]))
    np.testing.assert_allclose(loss, np.log(7), rtol=1e-6)


def test_mse_of_zero_output_is_one_over_p():
    np.testing.assert_allclose(losses.MeanSquaredError()(jnp.zeros((3, 97)), jnp.array([0, 5, 96])), 1 / 97, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_is_minus_log_softmax(dtype):
    with jax.enable_x64(dtype == "float64"):
        logits = (jax.random.normal(jax.random.key(0), (50, 7), jnp.float32) * 10).astype(dtype)
        labels = jnp.arange(50, dtype=jnp.int32) % 7
        got = losses.CrossEntropy(dtype=dtype)(logits, labels)
        want = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]
        # XLA keeps bfloat16 in float32 within a fusion: one unit in the last place
        np.testing.assert_allclose(np.float64(got), np.float64(want), rtol=float(jnp.finfo(dtype).eps), atol=0)


@pytest.mark.parametrize(
    ("dtype", "gap"), [("float16", 7.62), ("bfloat16", 5.55), ("float32", 16.64), ("float64", 36.74)]
)
def test_a_compiled_loss_is_absorbed_where_its_dtype_says(dtype, gap):
    """One competitor's exp(-gap) vanishes beside 1 at ln 2^(mantissa bits + 1), if the loss is really in its dtype."""
    with jax.enable_x64(dtype == "float64"):
        gaps = np.linspace(4, 40, 3601)
        logits = jnp.asarray(np.stack([0 * gaps, -gaps], 1), jnp.float32)
        labels = np.zeros(len(gaps), np.int32)
        loss = jax.jit(losses.CrossEntropy(dtype=dtype).__call__, compiler_options=COMPILER_OPTIONS)(logits, labels)
        np.testing.assert_allclose(gaps[np.argmax(loss == 0)], gap, atol=0.07 if "16" in dtype else 0.02)
