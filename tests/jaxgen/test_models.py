import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import finite_groups, models, training
from jaxgen.models import layers

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


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(480, 64, 31), (64, 64, 32), (63, 64, 31), (480, 64, 33)])
def test_a_tall_matrix_is_multiplied_as_its_transpose_and_so_is_its_gradient(rows, inputs, outputs):
    x, w, g = (
        np.asarray(jax.random.normal(jax.random.fold_in(KEY, i), shape))
        for i, shape in enumerate([(rows, inputs), (inputs, outputs), (rows, outputs)])
    )
    made, back = jax.vjp(layers.product, x, w)
    exact = [a.astype(np.float64) for a in (x, w, g)]
    np.testing.assert_allclose(made, exact[0] @ exact[1], rtol=1e-4, atol=1e-4)
    for found, expected in zip(back(g), (exact[2] @ exact[1].T, exact[0].T @ exact[2])):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    by_two = layers.product(x[: rows // 2 * 2].reshape(2, -1, inputs), w)
    np.testing.assert_allclose(by_two.reshape(-1, outputs), made[: rows // 2 * 2], rtol=1e-5, atol=1e-5)
    text = jax.jit(lambda g: back(g)[1]).lower(g).compile().as_text()
    tall = rows >= inputs >= layers.TALL * outputs
    assert (f"f32[{outputs},{inputs}]{{1,0}} dot" in text) == tall


def test_initial_weights_are_uniform_within_the_fan_in_bound():
    bound = models.bind(models.MLP(width=300, depth=1, init_scale=2.0), jg.tasks.ModularAddition(p=50))
    params = bound.init(KEY, jnp.zeros((1, 2), jnp.int32))["params"]
    for kernel, fan_in in ((params["Linear_0"]["kernel"], 100), (params["Linear_1"]["kernel"], 300)):
        limit = 2 / np.sqrt(fan_in)
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        np.testing.assert_allclose(np.std(kernel), limit / np.sqrt(3), rtol=0.02)


def test_a_network_of_embeddings_may_read_out_by_a_product_of_two_matrices():
    network = models.EmbeddingMLP(embedding=6, width=5, depth=1, activation="relu", use_bias=False, readout=7)
    bound = models.bind(network, jg.tasks.ModularAddition(p=4))
    tokens = jnp.array([[0, 1], [3, 3], [2, 0]])
    params = bound.init(KEY, tokens)["params"]
    inward, out, last = (params[f"Linear_{i}"]["kernel"] for i in range(3))
    assert [w.shape for w in (inward, out, last)] == [(6, 5), (5, 7), (7, 4)]
    summed = jax.nn.one_hot(tokens, 4).sum(1) @ params["embedding"]
    wanted = np.maximum(summed @ inward, 0) @ (out @ last)
    np.testing.assert_allclose(bound.apply({"params": params}, tokens), wanted, rtol=1e-5, atol=1e-7)


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
    variables = jax.jit(bound.init)(KEY, jnp.zeros((1, 2), jnp.int32))
    outputs = jax.jit(bound.apply)(variables, jnp.array([[1, 2], [2, 1], [3, 2]]))
    assert outputs.shape == (3, 5)
    assert not np.allclose(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])


def encoder(**fields):
    return models.Transformer.encoder(width=8, heads=2, mlp_width=16, **fields)


def test_encoder_without_positions_reads_the_last_token_and_the_set_of_the_others():
    bound = models.bind(encoder(dropout=None), jg.tasks.ModularAddition(p=5))
    variables = jax.jit(bound.init)(KEY, jnp.zeros((1, 3), jnp.int32))
    outputs = jax.jit(bound.apply)(variables, jnp.array([[1, 2, 3], [2, 1, 3], [1, 3, 2]]))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-6)
    assert not np.allclose(outputs[0], outputs[2])
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["bias"] == (5,)
    assert shapes["attention"]["query"] == {"kernel": (8, 2, 4), "bias": (2, 4)}
    assert "positions" not in shapes


def test_encoder_is_pytorchs_post_norm_layer():
    torch = pytest.importorskip("torch")
    bound = models.bind(encoder(), jg.tasks.ModularAddition(p=5))
    tokens = np.array([[1, 2], [4, 0], [3, 3]])
    params = jax.tree.map(
        lambda w: w + 0.1 * jax.random.normal(KEY, w.shape), jax.jit(bound.init)(KEY, jnp.asarray(tokens))["params"]
    )
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True).eval()
    to_torch = lambda w: torch.nn.Parameter(torch.tensor(np.asarray(w)))  # noqa: E731
    attention, stacked = params["attention"], ("query", "key", "value")
    kernels = [attention[n]["kernel"].reshape(8, 8).T for n in stacked]
    layer.self_attn.in_proj_weight = to_torch(np.concatenate(kernels))
    layer.self_attn.in_proj_bias = to_torch(np.concatenate([attention[n]["bias"].reshape(8) for n in stacked]))
    layer.self_attn.out_proj.weight = to_torch(attention["out"]["kernel"].reshape(8, 8).T)
    layer.self_attn.out_proj.bias = to_torch(attention["out"]["bias"])
    for ours, theirs in (("mlp_in", layer.linear1), ("mlp_out", layer.linear2)):
        theirs.weight, theirs.bias = to_torch(params[ours]["kernel"].T), to_torch(params[ours]["bias"])
    for ours, theirs in (("LayerNorm_0", layer.norm1), ("LayerNorm_1", layer.norm2)):
        theirs.weight, theirs.bias = to_torch(params[ours]["scale"]), to_torch(params[ours]["bias"])
        theirs.eps = 1e-6
    x = torch.tensor(np.asarray(params["embedding"]))[torch.tensor(tokens)]
    want = layer(x)[:, -1].detach().numpy() @ np.asarray(params["unembedding"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(jax.jit(bound.apply)({"params": params}, jnp.asarray(tokens)), want, atol=1e-5)


def test_dropout_keeps_its_share_and_the_mean():
    x = jnp.ones((200, 50))
    drop = lambda rate, train: models.Dropout(rate).apply({}, x, train, rngs={"dropout": KEY})  # noqa: E731
    kept = drop(0.25, True)
    np.testing.assert_allclose(np.unique(kept), [0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(np.mean(kept == 0), 0.25, atol=5 * (0.25 * 0.75 / x.size) ** 0.5)
    np.testing.assert_array_equal(drop(0.0, True), x)
    for same in (drop(0.25, False), drop(None, True)):
        np.testing.assert_array_equal(same, x)


def test_dropout_is_new_at_each_step_and_for_each_seed_and_off_in_evaluations(toy):
    toy = toy.override({"model": encoder(dropout=0.5)})

    apply, numbers = jax.jit(training.apply), training.numbers(toy)
    data = training.load(numbers, training.Rows.of(toy))
    params = jax.jit(training.init)(numbers, data).params

    def outputs(step, seed=0, **changes):
        e = training.numbers(toy.override({"split_seed": 0, "seed": seed, **changes}))
        return np.asarray(apply(e, params, data.inputs, step))

    np.testing.assert_array_equal(outputs(3), outputs(3))
    np.testing.assert_array_equal(outputs(None), outputs(3, **{"model.dropout": 0.0}))
    assert not np.allclose(outputs(3), outputs(4))
    assert not np.allclose(outputs(3), outputs(3, seed=1))
    assert not np.allclose(outputs(3), outputs(None))


class Noisy(nn.Module):
    """A user's network whose `train` has no default."""

    rate: float = 0.5
    outputs: int | None = None

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dropout(self.rate, deterministic=not train)(jax.nn.one_hot(x, 7).reshape(len(x), -1))
        return nn.Dense(self.outputs)(x)


def test_a_users_network_is_told_when_it_trains(toy):
    toy = toy.override({"model": Noisy()})
    numbers = training.numbers(toy)
    data = training.load(numbers, training.Rows.of(toy))
    params, apply = jax.jit(training.init)(numbers, data).params, jax.jit(training.apply)
    calm, first, second = (apply(numbers, params, data.inputs, step) for step in (None, 0, 1))
    assert not np.allclose(first, second)
    assert not np.allclose(first, calm)
    assert np.isfinite(jg.train(toy.override({"training.steps": 20}))["train/loss"]).all()


def test_dropout_rates_share_a_program_and_no_dropout_is_another(toy):
    signature = lambda rate: toy.override({"model": encoder(dropout=rate)}).signature  # noqa: E731
    structure = lambda rate: toy.override({"model": encoder(dropout=rate)}).structure_json()  # noqa: E731
    assert signature(0.1) == signature(0.3) != signature(None)
    assert structure(0.1) == structure(0.3) != structure(None)
    with pytest.raises(jg.FieldError, match="random in training"):
        toy.override({"model": encoder(), "training.stop_frozen": True})
    toy.override({"model": encoder(dropout=None), "training.stop_frozen": True})


def test_init_scale_zero_gives_zero_outputs(toy):
    experiment = training.numbers(toy.override({"model.init_scale": 0.0}))
    data = training.load(experiment, training.Rows.of(toy))
    state = training.init(experiment, data)
    np.testing.assert_array_equal(training.apply(experiment, state.params, data.inputs), 0)


def test_bind_keeps_what_the_user_set():
    bound = models.bind(models.MLP(vocabulary=9, outputs=8), jg.tasks.ModularAddition(p=5))
    assert (bound.vocabulary, bound.outputs) == (9, 8)


def test_a_fixed_readout_adds_and_subtracts_hidden_units():
    network = models.FixedReadoutMLP(width=4, init_scale=0.5)
    x = jax.random.normal(jax.random.key(1), (5, 3))
    params = network.init(jax.random.key(0), x)["params"]
    assert list(params) == ["kernel"]
    hidden = np.maximum(np.asarray(x) @ np.asarray(params["kernel"]), 0)
    expected = (hidden[:, 0] - hidden[:, 1] + hidden[:, 2] - hidden[:, 3]) / 2
    np.testing.assert_allclose(network.apply({"params": params}, x)[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_an_evaluation_leaves_nothing_out(toy):
    toy = toy.override({"model": Noisy()})
    values, rows = training.numbers(toy), training.Rows.of(toy)
    data = training.load(values, rows)
    state = training.init(values, data)
    first, later = (training.evaluate(values, data, state.replace(step=jnp.int32(s)))[0] for s in (0, 7))
    assert {name: float(v) for name, v in first.items()} == {name: float(v) for name, v in later.items()}


@pytest.mark.parametrize("activation", ["square", "relu"])
def test_two_layers_are_a_product_an_activation_and_a_product(activation):
    bound = models.bind(
        models.TwoLayer(width=400, activation=activation, init_scale=0.3), jg.tasks.ModularAddition(p=5)
    )
    tokens = jnp.array([[0, 1], [4, 4], [2, 0]])
    variables = bound.init(KEY, tokens)
    first, second = (np.asarray(variables["params"][f"Linear_{i}"]["kernel"]) for i in (0, 1))
    hidden = np.asarray(one_hot_pairs(tokens, 5)) @ first
    expected = (np.square(hidden) if activation == "square" else np.maximum(hidden, 0)) @ second
    np.testing.assert_allclose(bound.apply(variables, tokens), expected, rtol=1e-4, atol=1e-5)
    for kernel in (first, second):  # N(0, .3²), whatever the fan-in: kurtosis 3
        np.testing.assert_allclose(np.std(kernel), 0.3, rtol=0.05)
        np.testing.assert_allclose(np.mean(kernel**4) / np.mean(kernel**2) ** 2, 3, rtol=0.2)


def test_dropout_of_two_layers_is_of_hidden_units_and_in_training_only():
    bound = models.bind(models.TwoLayer(width=50, dropout=0.4), jg.tasks.ModularAddition(p=5))
    tokens = jnp.array([[0, 1]])
    variables = bound.init(KEY, tokens)
    plain = bound.apply(variables, tokens)
    many = [bound.apply(variables, tokens, train=True, rngs={"dropout": jax.random.key(i)}) for i in range(400)]
    spread = np.std(many, axis=0) / np.sqrt(400)
    assert (spread > 0).all()
    assert (np.abs(np.mean(many, axis=0) - plain) < 5 * spread).all()


def test_batch_norm_of_two_layers_is_of_the_rows_that_count():
    model = models.TwoLayer(width=6, activation="relu", init_scale=1.0, batch_norm=True)
    bound = models.bind(model, jg.tasks.ModularAddition(p=5))
    tokens, mask = jnp.array([[0, 1], [4, 4], [2, 0], [3, 3]]), jnp.array([True, True, True, False])
    variables = bound.init(KEY, tokens, train=False, mask=None)
    outputs, kept = bound.apply(variables, tokens, train=True, mask=mask, mutable=["batch_stats"])
    first, second = (np.asarray(variables["params"][f"Linear_{i}"]["kernel"]) for i in (0, 1))
    hidden = np.asarray(one_hot_pairs(tokens, 5)) @ first
    mean, var = hidden[:3].mean(0), hidden[:3].var(0)
    expected = np.maximum((hidden - mean) / np.sqrt(var + 1e-5), 0) @ second
    np.testing.assert_allclose(outputs[:3], expected[:3], rtol=1e-4, atol=1e-4)
    running = kept["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * var, rtol=1e-4)
    still = bound.apply({**variables, **kept}, tokens, train=False, mask=None)
    from_running = (hidden - 0.1 * mean) / np.sqrt(0.9 + 0.1 * var + 1e-5)
    np.testing.assert_allclose(still, np.maximum(from_running, 0) @ second, rtol=1e-4, atol=1e-4)


def test_matrices_of_a_representation_give_equal_products_equal_outputs():
    group = "S3"
    task = jg.tasks.GroupProduct(group=group)
    bound = models.bind(models.MatrixEmbeddingMLP(width=5, embedding=6), task)
    products = finite_groups.group_table(group)
    regular = (products[:, None] == np.arange(6)[None, :, None]).astype(np.float32)  # R(g) e_h = e_(g h)
    tokens = np.indices((6, 6)).reshape(2, -1).T.astype(np.int32)
    params = bound.init(KEY, tokens)["params"] | {"embedding": jnp.asarray(regular.reshape(6, -1))}
    outputs = np.asarray(bound.apply({"params": params}, tokens)).reshape(6, 6, -1)
    for g, h in np.ndindex(6, 6):
        np.testing.assert_allclose(outputs[g, h], outputs[products[g, h], products[0].tolist().index(0)], rtol=1e-5)
    assert not np.allclose(outputs[1, 3], outputs[3, 1])  # in their order
    assert np.abs(bound.init(KEY, tokens)["params"]["embedding"]).max() <= 0.05
