import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import models, training

KEY = jax.random.key(1)


def one_hot_pairs(tokens, p):
    return jnp.concatenate([jax.nn.one_hot(tokens[:, i], p) for i in range(tokens.shape[1])], axis=1)


def test_look_up_is_a_one_hot_product_forward_and_backward():
    table, tokens = jax.random.normal(KEY, (7, 5)), jnp.array([0, 3, 3, 6])
    weight = jnp.arange(20.0).reshape(4, 5)
    by_rows = jax.value_and_grad(lambda t: jnp.sum(weight * models.look_up(t, tokens)))
    by_product = jax.value_and_grad(lambda t: jnp.sum(weight * (jax.nn.one_hot(tokens, 7) @ t)))
    for a, b in zip(jax.tree.leaves(by_rows(table)), jax.tree.leaves(by_product(table))):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "model", [models.QuadraticMLP(width=6), models.MLP(width=6, use_bias=True)], ids=["quadratic", "mlp"]
)
def test_tokens_stand_for_concatenated_one_hot_vectors(model):
    bound = models.bind(model, jg.tasks.ModularAddition(p=5))
    tokens = jnp.array([[0, 1], [4, 4], [2, 0]])
    variables = bound.init(KEY, tokens)
    np.testing.assert_allclose(
        bound.apply(variables, tokens), bound.apply(variables, one_hot_pairs(tokens, 5)), rtol=1e-5
    )


def test_initial_weights_are_uniform_within_the_fan_in_bound():
    bound = models.bind(models.MLP(width=300, depth=1, init_scale=2.0), jg.tasks.ModularAddition(p=50))
    params = bound.init(KEY, jnp.zeros((1, 2), jnp.int32))["params"]
    for kernel, fan_in in ((params["Linear_0"]["kernel"], 100), (params["Linear_1"]["kernel"], 300)):
        limit = 2 / np.sqrt(fan_in)
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        np.testing.assert_allclose(np.std(kernel), limit / np.sqrt(3), rtol=0.02)


def test_closed_form_solves_modular_addition():
    # Gromov 2023 (arXiv 2301.02679), eq. 4: random phases, every frequency; p = 97, N = 500 classifies every pair.
    p, n = 97, 500
    rng = np.random.default_rng(0)
    frequency, a, b = rng.integers(1, p // 2 + 1, n), *rng.uniform(-np.pi, np.pi, (2, n))
    angle = 2 * np.pi * frequency[:, None] * np.arange(p)[None] / p
    first = np.concatenate([np.cos(angle + a[:, None]).T, np.cos(angle + b[:, None]).T])
    params = {"Linear_0": {"kernel": first}, "Linear_1": {"kernel": np.cos(-angle - a[:, None] - b[:, None])}}
    task = jg.tasks.ModularAddition(p=p)
    bound = models.bind(models.QuadraticMLP(width=n), task)
    rows = task.table()
    outputs = bound.apply({"params": jax.tree.map(jnp.float32, params)}, jnp.asarray(rows[:, :2]))
    assert float(jnp.mean(task.correct(outputs, jnp.asarray(rows[:, 2])))) == 1.0


def test_transformer_sees_positions_and_all_tokens():
    bound = models.bind(models.Transformer(width=8, heads=2, mlp_width=16), jg.tasks.ModularAddition(p=5))
    variables = bound.init(KEY, jnp.zeros((1, 2), jnp.int32))
    outputs = bound.apply(variables, jnp.array([[1, 2], [2, 1], [3, 2]]))
    assert outputs.shape == (3, 5)
    assert not np.allclose(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])


def test_init_scale_zero_gives_zero_outputs(toy):
    experiment = training.numbers(toy.override({"model.init_scale": 0.0}))
    data = training.load(experiment, training.Rows.of(toy.task))
    state = training.init(experiment, data)
    np.testing.assert_array_equal(training.apply(experiment, state.params, data.inputs), 0)


def test_bind_keeps_what_the_user_set():
    bound = models.bind(models.MLP(vocabulary=9, outputs=8), jg.tasks.ModularAddition(p=5))
    assert (bound.vocabulary, bound.outputs) == (9, 8)
