"""The causal decoder, held to PyTorch's pre-norm layer and to what a causal network cannot know."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import models, positions
from jaxgen.models import decoder as own

KEY = jax.random.key(0)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 5, (3, 6)), jnp.int32)
EVERY = {
    "none": None,
    "learned": positions.Learned(),
    "longer": positions.Learned(longest=9, offset=True),
    "sinusoidal": positions.Sinusoidal(),
    "t5": positions.T5Bias(buckets=8, furthest=9),
    "alibi": positions.ALiBi(),
    "rotary": positions.Rotary(share=0.5),
}


def made(**fields):
    """A small decoder and parameters that are all large enough to matter."""
    network = models.Decoder(**{"width": 8, "heads": 2, "vocabulary": 5, "outputs": 5, "init_scale": 0.5} | fields)
    params = jax.jit(network.init)(KEY, TOKENS)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return network, jax.tree.unflatten(
        tree, [w + 0.3 * jax.random.normal(k, w.shape, w.dtype) for k, w in zip(keys, leaves)]
    )


def outputs(network, params, tokens=TOKENS, **given):
    return np.asarray(jax.jit(lambda p, x: network.apply({"params": p}, x, **given))(params, tokens))


@pytest.mark.parametrize("name", EVERY)
def test_what_comes_later_is_not_seen(name):
    network, params = made(positions=EVERY[name])
    whole = outputs(network, params)
    changed = outputs(network, params, TOKENS.at[:, 4].set((TOKENS[:, 4] + 1) % 5))
    np.testing.assert_array_equal(whole[:, :4], changed[:, :4])
    assert (np.abs(whole[:, 4:] - changed[:, 4:]).max(-1) > 1e-3).all()
    padded = outputs(network, params, TOKENS[:, :3])
    np.testing.assert_allclose(whole[:, :3], padded, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_order_is_known_by_positions_and_by_the_mask(name):
    network, params = made(positions=EVERY[name], layers=1)
    swapped = outputs(network, params, TOKENS[:, jnp.array([1, 0, 2, 3, 4, 5])])[:, 5]
    same = np.allclose(outputs(network, params)[:, 5], swapped, atol=1e-5)
    assert same == (name == "none")  # one layer of attention without positions sees a set


def test_without_positions_two_layers_know_order_by_the_mask():
    network, params = made(positions=None, layers=2)
    swapped = outputs(network, params, TOKENS[:, jnp.array([1, 0, 2, 3, 4, 5])])[:, 5]
    assert not np.allclose(outputs(network, params)[:, 5], swapped, atol=1e-3)


def test_layers_are_pytorchs_pre_norm_layers():
    torch = pytest.importorskip("torch")
    network, params = made(layers=3, activation="relu", mlp_width=16)
    tensor = lambda w: torch.nn.Parameter(torch.tensor(np.asarray(w)))  # noqa: E731
    x = torch.tensor(np.asarray(params["embedding"]))[torch.tensor(np.asarray(TOKENS)).long()]
    x = x + torch.tensor(np.asarray(params["positions_vectors"]))[None]
    for i in range(3):
        found = params[f"block_{i}"]
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True).eval()
        stacked = [found[name] for name in ("query", "key", "value")]
        layer.self_attn.in_proj_weight = tensor(np.concatenate([p["kernel"].T for p in stacked]))
        layer.self_attn.in_proj_bias = tensor(np.concatenate([p["bias"] for p in stacked]))
        for ours, theirs in (
            ("attention", layer.self_attn.out_proj),
            ("mlp_in", layer.linear1),
            ("mlp_out", layer.linear2),
        ):
            theirs.weight, theirs.bias = tensor(found[ours]["kernel"].T), tensor(found[ours]["bias"])
        for ours, theirs in (("norm_attention", layer.norm1), ("norm_mlp", layer.norm2)):
            theirs.weight, theirs.bias, theirs.eps = tensor(found[ours]["scale"]), tensor(found[ours]["bias"]), 1e-6
        x = layer(x, src_mask=torch.nn.Transformer.generate_square_subsequent_mask(6), is_causal=True)
    scale, bias = (torch.tensor(np.asarray(params["norm"][name])) for name in ("scale", "bias"))
    x = torch.nn.functional.layer_norm(x, (8,), scale, bias, 1e-6)
    want = x.detach().numpy() @ np.asarray(params["unembedding"])
    np.testing.assert_allclose(outputs(network, params), want, atol=2e-5)


@pytest.mark.parametrize("length", [1, own.SHORT, own.SHORT + 1])
def test_attention_is_that_of_jax(length):
    keys = jax.random.split(KEY, 4)
    query, key, value = (jax.random.normal(k, (2, length, 3, 4)) for k in keys[:3])
    bias = jax.random.normal(keys[3], (3, length, length))
    want = jax.nn.dot_product_attention(query, key, value, bias[None], is_causal=True)
    np.testing.assert_allclose(own.attended(query, key, value, bias, lambda w: w), want, atol=1e-6)


def test_repeats_apply_the_same_parameters_again():
    network, params = made(layers=2, repeats=3)
    assert not any(name in params for name in ("block_2", "block_5"))
    unrolled = {**params, **{f"block_{i}": params[f"block_{i % 2}"] for i in range(6)}}
    deep = dataclasses.replace(network, layers=6, repeats=1)
    np.testing.assert_allclose(outputs(network, params), outputs(deep, unrolled), atol=1e-6)


def test_only_what_is_predicted_is_computed():
    network, params = made()
    whole = outputs(network, params)
    np.testing.assert_allclose(outputs(dataclasses.replace(network, predicts=2), params), whole[:, -2:], atol=1e-6)
    last = dataclasses.replace(network, predicts=1)
    np.testing.assert_allclose(outputs(last, params), whole[:, -1], atol=1e-6)
    cost = lambda n: jax.jit(lambda p: n.apply({"params": p}, TOKENS)).lower(params).cost_analysis()["flops"]  # noqa: E731
    assert cost(network) - cost(last) >= 2 * 3 * 5 * 8 * 5  # 2 · rows · positions left out · width · outputs


def test_a_tied_read_out_is_the_embedding():
    network, params = made(tied=True)
    assert "unembedding" not in params
    untied = {**params, "unembedding": params["embedding"].T}
    np.testing.assert_allclose(
        outputs(network, params), outputs(dataclasses.replace(network, tied=False), untied), atol=1e-6
    )


def test_initial_weights_are_those_of_gpt_2():
    network = models.Decoder(vocabulary=50, outputs=50, width=64, layers=2, repeats=2)
    params = jax.jit(network.init)(KEY, TOKENS)["params"]
    for path, scale in (("query", 0.02), ("mlp_in", 0.02), ("attention", 0.02 / 8**0.5), ("mlp_out", 0.02 / 8**0.5)):
        np.testing.assert_allclose(np.std(params["block_1"][path]["kernel"]), scale, rtol=0.05)
        np.testing.assert_array_equal(params["block_1"][path]["bias"], 0)
    assert not np.allclose(params["block_0"]["query"]["kernel"], params["block_1"]["query"]["kernel"])


def test_one_block_is_compiled_however_many_there_are():
    def size(layers):
        network = models.Decoder(vocabulary=5, outputs=5, width=8, heads=2, layers=layers)
        params = jax.eval_shape(network.init, KEY, TOKENS)["params"]
        loss = lambda p: jnp.sum(network.apply({"params": p}, TOKENS) ** 2)  # noqa: E731
        return jax.jit(jax.grad(loss)).lower(params).as_text().count("dot_general")

    assert size(2) == size(8)


def test_dropout_and_offsets_are_random_in_training_only():
    tasks = {"task": jg.tasks.ModularAddition(p=5)}
    for fields in ({"dropout": 0.5}, {"positions": positions.Learned(longest=6, offset=True)}):
        network = models.bind(models.Decoder(width=8, heads=2, predicts=1, **fields), tasks["task"])
        assert models.is_random(network)
        params = jax.jit(network.init)(KEY, TOKENS[:, :2])["params"]
        drawn = [
            network.apply({"params": params}, TOKENS[:, :2], train=True, rngs={"dropout": jax.random.key(i)})
            for i in (1, 2)
        ]
        assert not np.allclose(*drawn)
        assert np.isfinite(drawn).all()
    assert not models.is_random(models.Decoder())
