"""The committee from lazy to rich, its tangent kernel and exact errors, and features of groups, by closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import probes, training
from jaxgen.training import Rows, numbers, numerics
from jaxgen.training.run import State, evaluation, load, optimizer

TASK = jg.tasks.GaussianQuadratic(dimension=5, train_rows=12, samples=20)
BASE = jg.Experiment(
    task=TASK,
    model=jg.models.Committee(width=7, scale=3.0, epsilon=0.4),
    loss=jg.losses.MeanSquaredError(),
    optimizer=jg.optimizers.SGD(learning_rate=2.0),
    training=jg.Training(steps=3, evaluate_every=1, stop_metric=None, probes=("loss", "tangent_kernel")),
)


def weights(key=0):
    first, second = (
        np.asarray(jax.random.normal(k, (5, 7)), np.float64) for k in jax.random.split(jax.random.key(key))
    )
    return first, second


def seen(experiment, params):
    with numerics(experiment):
        data = load(numbers(experiment), Rows.of(experiment))
        params = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), params)
        return evaluation(numbers(experiment), data, State(params, optimizer(experiment).init(params), jnp.int32(0)))


def test_a_committee_says_alpha_times_what_it_says_beyond_its_start():
    start, v = weights()
    x = np.random.default_rng(0).normal(size=(9, 5))
    phi = lambda w: (x @ w + 0.2 * (x @ w) ** 2).mean(axis=1)  # noqa: E731
    params = {"start": jnp.asarray(start, jnp.float32), "kernel": jnp.asarray(v, jnp.float32)}
    found = training.apply(BASE, params, jnp.asarray(x, jnp.float32))[:, 0]
    np.testing.assert_allclose(found, 3 * (phi(start + v / 3) - phi(start)), atol=1e-5)


def test_training_is_gradient_descent_on_all_weights_with_the_rate_over_alpha_squared():
    curves, state = training.trained(BASE)
    with numerics(BASE):
        data = load(numbers(BASE), Rows.of(BASE))
    x, y = (np.asarray(a, np.float64)[:12] for a in (data.inputs, data.labels))
    start = w = np.asarray(state.params["start"], np.float64)
    for _ in range(3):
        h, h0 = x @ w, x @ start
        error = 3 * (h - h0 + 0.2 * (h**2 - h0**2)).mean(axis=1) - y
        w = w - 2.0 / 9 * (2 / 12) * 3 / 7 * x.T @ (error[:, None] * (1 + 0.4 * h))
    np.testing.assert_allclose(state.params["kernel"], 3 * (w - start), atol=2e-5)
    assert curves["kernel/change"][0] == 0 < curves["kernel/change"][-1]


def test_the_tangent_kernel_is_that_of_its_formula_and_aligned_as_it_says():
    start, v = weights()
    e = seen(BASE, {"start": start, "kernel": v})
    probe = probes.TangentKernel()
    with numerics(BASE):
        memory = probe.init(e)
        found, _ = probe.measure(e, memory)
    x, y = (np.asarray(a, np.float64)[:12] for a in (e.inputs, e.labels))
    slopes = 1 + 0.4 * (x @ (start + v / 3))
    kernel = x @ x.T * (slopes @ slopes.T) / 49
    np.testing.assert_allclose(memory["kernel"][:12, :12], kernel, rtol=1e-4, atol=1e-5)
    assert not np.asarray(memory["kernel"])[12:].any()
    centre = np.eye(12) - 1 / 12
    inner, outer = centre @ kernel @ centre, np.outer(centre @ y, centre @ y)
    expected = np.sum(inner * outer) / np.linalg.norm(inner) / np.linalg.norm(outer)
    assert found["kernel/alignment"] == pytest.approx(expected, rel=1e-4)
    assert found["kernel/change"] == 0


def test_a_linear_committee_keeps_its_kernel():
    curves = jg.train(BASE.override({"model.linear": True}))
    np.testing.assert_allclose(curves["kernel/change"], 0, atol=1e-6)


def test_the_population_error_is_the_papers_and_that_of_many_rows():
    start, v = weights(1)
    with numerics(BASE):
        found = probes.PopulationError().measure(seen(BASE, {"start": start, "kernel": v}))
    w, beta, size = start + v / 3, np.ones(5), 5
    second = (w @ w.T - start @ start.T) / 7  # Kumar et al.: of M = mean w wᵀ and w̄, here less those of the start
    first = (w - start).mean(axis=1)
    a = 3 * 0.4 * second - np.outer(beta, beta)
    closed = np.trace(a) ** 2 / 4 / size**2 + np.sum(a**2) / 2 / size**2 + 9 / size * first @ first
    assert found["population/error"] == pytest.approx(closed, rel=1e-4)
    assert found["population/r2"] == pytest.approx(1 - closed / 0.5, rel=1e-4)
    x = np.random.default_rng(2).normal(size=(400_000, 5)) / 5**0.5
    said = 3 * ((x @ w - x @ start) + 0.2 * ((x @ w) ** 2 - (x @ start) ** 2)).mean(axis=1)
    squares = (said - (x @ beta) ** 2 / 2) ** 2
    assert abs(squares.mean() - closed) < 4 * squares.std() / 400_000**0.5


def test_population_errors_need_a_target():
    other = {"task": jg.tasks.ModularAddition(p=5), "model": jg.models.QuadraticMLP(width=4)}
    with pytest.raises(jg.FieldError, match="needs a task with a target"):
        jg.train(BASE.override(other | {"training.probes": ("loss", "population_error")}))


def test_cosines_are_features_of_their_frequency_at_the_greatest_energy():
    turn = 2 * np.pi * np.arange(7)[:, None] / 7
    waves, phases = np.array([1, 1, 2]), np.array([0.3, 1.1, 2.0])
    kernel = np.concatenate([np.cos(waves * turn + phases), np.cos(waves * turn - phases)])
    kernel = np.concatenate([kernel, 1e-3 * np.ones((14, 1))], axis=1)  # a unit that is hardly there
    experiment = BASE.override(
        {"task": jg.tasks.ModularAddition(p=7), "model": jg.models.QuadraticMLP(width=4), "training.probes": ("loss",)}
    )
    params = {"Linear_0": {"kernel": kernel}, "Linear_1": {"kernel": np.zeros((4, 7))}}
    with numerics(experiment):
        found = probes.Features().measure(seen(experiment, params))
    np.testing.assert_array_equal(found["features/units"], [0, 2, 1, 0])
    assert found["features/covered"] == pytest.approx(2 / 3)
    assert found["features/purity"] == pytest.approx(1)
    assert found["features/energy"] == pytest.approx(1, rel=1e-5)


def test_centred_squared_errors_do_not_see_what_all_outputs_share():
    outputs = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)
    labels, loss = jnp.arange(6, dtype=jnp.int32) % 5, jg.losses.CentredSquaredError()
    o = np.asarray(outputs, np.float64)
    o -= o.mean(axis=1, keepdims=True)
    expected = np.sum(o**2, axis=1) - 2 * o[np.arange(6), np.arange(6) % 5] + 1 - 1 / 5
    np.testing.assert_allclose(loss(outputs + 3, labels), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(jnp.zeros((6, 5)), labels), 0.8, rtol=1e-6)


def test_a_read_out_can_begin_as_nothing():
    experiment = BASE.override(
        {"task": jg.tasks.ModularAddition(p=5), "model": jg.models.MLP(width=4, depth=1, readout_scale=0.0)}
    ).override({"training.probes": ("loss",), "training.steps": 0})
    _, state = training.trained(experiment)
    assert not np.asarray(state.params["Linear_1"]["kernel"]).any()
    assert np.asarray(state.params["Linear_0"]["kernel"]).any()
