import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxgen as jg
from examples import example
from jaxgen import losses
from jaxgen.training import compiler_options

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


FUNCTIONS = {
    losses.CrossEntropy: losses.softmax_cross_entropy,
    losses.StableMaxCrossEntropy: losses.stablemax_cross_entropy,
}


def exact_cross_entropy(logits, labels):
    picked = np.take_along_axis(logits, np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1)), -1)[..., 0]
    return np.log(np.exp(logits).sum(-1)) - picked


def exact_stablemax(logits):
    """s, as the paper writes it."""
    return np.where(logits >= 0, logits + 1, 1 / (1 - np.minimum(logits, 0)))


EXACT = {
    losses.CrossEntropy: exact_cross_entropy,
    losses.StableMaxCrossEntropy: lambda z, labels: exact_cross_entropy(np.log(exact_stablemax(z)), labels),
    losses.MeanSquaredError: lambda z, labels: np.square(z - np.eye(z.shape[-1])[labels]).mean(-1),
}
LOSSES = [*FUNCTIONS, losses.MeanSquaredError]
EXTREME = [0.0, -0.0, 1.0, -1.0, 1e-38, -1e-30, 1e-4, 7.5, -7.5, 1e3, -1e3, 6e4, -6e4, 1e10, -1e10, 1e38, -1e38]


@pytest.fixture
def x64(dtype):
    with jax.enable_x64(dtype == "float64"):
        yield


def mean_loss(loss, labels):
    return lambda z: jnp.mean(loss(z, labels).astype(jnp.promote_types(z.dtype, jnp.float32)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", LOSSES)
class TestEveryLossInEveryDtype:
    def test_is_in_that_dtype_and_so_is_its_gradient_in_its_inputs(self, make, dtype):
        logits = jnp.array([[1.0, 1.0, 1.0], [0.0, -1.0, 100.0], [-3.0, 5.0, 0.5]], jnp.float32)
        labels = jnp.array([0, 1, 2])
        loss = make(dtype=dtype)
        assert loss(logits, labels).dtype == dtype
        assert loss(logits, labels).shape == (3,)
        gradient = jax.grad(lambda z: jnp.sum(loss(z, labels).astype(jnp.float32)))(logits)
        assert gradient.dtype == jnp.float32
        assert np.isfinite(gradient).all()

    def test_gradient_is_the_float64_finite_difference_up_to_rounding(self, make, dtype):
        rng = np.random.default_rng(0)
        labels = np.arange(12) % 5
        logits = np.asarray(jnp.asarray(rng.uniform(-6, 6, (12, 5)), jnp.float32).astype(dtype), np.float64)
        got = jax.grad(mean_loss(make(dtype=dtype), labels))(jnp.asarray(logits, jnp.float32))
        steps = 1e-5 * np.eye(logits.size).reshape(-1, *logits.shape)
        ahead, behind = (EXACT[make](logits + sign * steps, labels).mean(-1) for sign in (1, -1))
        want = ((ahead - behind) / 2e-5).reshape(logits.shape)
        ulp = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(got, want, atol=max(8 * ulp * np.abs(want).max(), 1e-7))

    def test_falls_as_the_logit_of_the_label_grows(self, make, dtype):
        top = 1 if make is losses.MeanSquaredError else 30  # a square falls only up to its target
        grid = np.linspace(-30, top, 601)
        logits = np.stack([grid, 0.3 + 0 * grid, -2 + 0 * grid], 1)
        values = np.asarray(make(dtype=dtype)(jnp.asarray(logits, jnp.float32), np.zeros(601, np.int32)), np.float64)
        assert (np.diff(values) <= 2 * float(jnp.finfo(dtype).eps) * np.abs(values[1:])).all()
        assert values[0] > values[300] > values[-1]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", DTYPES)
class TestStableMaxInEveryDtype:
    def test_values_and_gradients_are_finite_for_all_finite_logits(self, dtype):
        pairs = np.array([(a, b, c) for a in EXTREME for b in EXTREME for c in (0.0, 1.0, -1e38)], np.float32)
        for label in range(3):
            labels = np.full(len(pairs), label)
            loss = losses.StableMaxCrossEntropy(dtype=dtype)
            values, pull = jax.vjp(lambda z: loss(z, labels), jnp.asarray(pairs))  # noqa: B023
            assert np.isfinite(np.asarray(values, np.float64)).all()
            assert (np.asarray(values, np.float64) >= -4 * float(jnp.finfo(dtype).eps)).all()
            assert np.isfinite(pull(jnp.ones_like(values))[0]).all()

    def test_gradient_at_0_is_that_of_x_plus_1_from_both_sides(self, dtype):
        for x in (0.0, -0.0):
            z = jnp.array([[x, 0.0]], dtype)
            gradient = jax.grad(lambda z: losses.stablemax_cross_entropy(z, jnp.array([0]))[0])(z)
            np.testing.assert_allclose(np.asarray(gradient, np.float64), [[-0.5, 0.5]], rtol=1e-2)

    def test_is_softmax_of_log_s(self, dtype):
        logits = (jax.random.normal(jax.random.key(1), (50, 7), jnp.float32) * 20).astype(dtype)
        s = exact_stablemax(np.asarray(logits, np.float64))
        want = np.log(s / s.sum(-1, keepdims=True))
        got = np.asarray(losses.log_stablemax(logits), np.float64)
        ulp = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(got, want, atol=4 * ulp * np.abs(want).max())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", FUNCTIONS)
class TestLossesAsFunctions:
    def test_padded_classes_change_nothing(self, make, dtype):
        logits = (jax.random.normal(jax.random.key(2), (3, 4, 5), jnp.float32) * 5).astype(dtype)
        labels = jnp.arange(12).reshape(3, 4) % 5
        padded = jnp.concatenate([logits, jnp.full((3, 4, 3), 100, dtype)], axis=-1)
        where = jnp.broadcast_to(jnp.arange(8) < 5, padded.shape)
        function, tolerance = FUNCTIONS[make], 4 * float(jnp.finfo(dtype).eps)
        value = lambda z, where=None: jnp.sum(function(z, labels, where).astype(jnp.float32))  # noqa: E731
        got, slope = jax.value_and_grad(value)(padded, where)
        want, want_slope = jax.value_and_grad(value)(logits)
        np.testing.assert_allclose(got, want, rtol=tolerance)
        np.testing.assert_array_equal(slope[..., 5:], 0)
        difference = np.asarray(slope[..., :5], np.float64) - np.asarray(want_slope, np.float64)
        np.testing.assert_allclose(difference, 0, atol=tolerance)

    def test_take_leading_axes_as_optax_does(self, make, dtype):
        logits = (jax.random.normal(jax.random.key(3), (2, 3, 5), jnp.float32) * 5).astype(dtype)
        labels = jnp.arange(6).reshape(2, 3) % 5
        got = FUNCTIONS[make](logits, labels)
        np.testing.assert_array_equal(got.reshape(6), make(dtype=dtype)(logits.reshape(6, 5), labels.reshape(6)))
        if make is losses.CrossEntropy:
            want = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
            ulp = float(jnp.finfo(dtype).eps)
            np.testing.assert_allclose(np.float64(got), np.float64(want), rtol=4 * ulp, atol=ulp)


@pytest.mark.parametrize("make", LOSSES)
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


@pytest.mark.optimized
@pytest.mark.parametrize(
    ("dtype", "gap"), [("float16", 7.62), ("bfloat16", 5.55), ("float32", 16.64), ("float64", 36.74)]
)
def test_a_compiled_loss_is_absorbed_where_its_dtype_says(dtype, gap):
    """One competitor's exp(-gap) vanishes beside 1 at ln 2^(mantissa bits + 1), if the loss is really in its dtype."""
    with jax.enable_x64(dtype == "float64"):
        gaps = np.linspace(4, 40, 3601)
        logits = jnp.asarray(np.stack([0 * gaps, -gaps], 1), jnp.float32)
        labels = np.zeros(len(gaps), np.int32)
        loss = jax.jit(losses.CrossEntropy(dtype=dtype).__call__, compiler_options=compiler_options())(logits, labels)
        np.testing.assert_allclose(gaps[np.argmax(loss == 0)], gap, atol=0.07 if "16" in dtype else 0.02)


def test_logistic_is_the_loss_of_the_margin():
    outputs, labels = jnp.array([[0.0], [3.0], [-200.0], [-2.0]]), jnp.array([1.0, 1.0, 1.0, -1.0])
    found = losses.Logistic()(outputs, labels)
    np.testing.assert_allclose(found, [np.log(2), np.log1p(np.exp(-3.0)), 200.0, np.log1p(np.exp(-2.0))], rtol=1e-6)


@pytest.mark.parametrize("make", FUNCTIONS)
def test_equal_logits_do_not_absorb_each_other(make):
    logits = jnp.array([[5.0, 5.0, -1e30], [5.0, -1e30, -1e30]])
    assert make().collapsed(logits).tolist() == [False, True]


def test_a_loss_that_asks_for_the_step_gets_it(toy):
    soft = example("changing_loss").SoftAtFirst
    curves = {until: jg.train(toy.override({"loss": soft(until=until)})) for until in (0, 30, 10**9)}
    plain = jg.train(toy)
    np.testing.assert_allclose(curves[0]["train/loss"], plain["train/loss"], rtol=1e-5)
    for name in ("train/loss", "weight_norm"):
        np.testing.assert_array_equal(curves[30][name][:3], curves[10**9][name][:3])
    assert curves[30]["weight_norm"][3] == curves[10**9]["weight_norm"][3]  # 30 steps were soft
    assert curves[30]["train/loss"][3] < curves[10**9]["train/loss"][3]  # the evaluation after them is not
    assert curves[30]["weight_norm"][4] != curves[10**9]["weight_norm"][4]
