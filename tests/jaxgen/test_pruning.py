"""Masks by gradients and by synaptic flow, against what a small linear network gives by hand, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lanes import train_in_block

import jaxgen as jg
from jaxgen import training
from jaxgen.kernel import Program
from jaxgen.starts import SNIP, Fit, FromRun, GraSP, MatchNorm, Prune, Rewind, SynFlow

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))
W, V = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))
BIAS = RNG.normal(size=2)
TRAIN = np.array([True, True, True, True, False])


@pytest.fixture
def linear():
    """f(x) = x W V + b with half the squared error of the first four rows, its parameters, and what a start sees."""
    with jax.enable_x64(True):
        params = {"W": jnp.asarray(W), "V": jnp.asarray(V), "bias": jnp.asarray(BIAS)}

        def network(params, inputs):
            return inputs @ params["W"] @ params["V"] + params["bias"][None]

        def loss(outputs):
            return jnp.sum(jnp.where(TRAIN[:, None], jnp.square(outputs - Y), 0)) / 8

        yield params, Fit(network, loss, jnp.asarray(X), jnp.asarray(Y), jnp.asarray(TRAIN))


def smallest(scores, count):
    """The mask, by name, that removes the so many smallest of all scores."""
    order = np.sort(np.concatenate([np.ravel(s) for s in scores.values()]))
    return {name: s > (order[count - 1] if count else -np.inf) for name, s in scores.items()}


def assert_masks(found, wanted):
    for name, mask in wanted.items():
        np.testing.assert_array_equal(found[name], mask)
    assert found["bias"].all()


def gradients(w, v, bias=BIAS, temperature=1.0):
    """Those of the loss by hand: x = rows, residual r = x W V + b - y, ∂L/∂W = xᵀ r Vᵀ / 4, ∂L/∂V = (x W)ᵀ r / 4."""
    x, y = X[:4], Y[:4]
    residual = ((x @ w @ v + bias) / temperature - y) / temperature / 4
    return {"W": x.T @ residual @ v.T, "V": (x @ w).T @ residual}


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.85])
def test_snip_removes_what_the_loss_hangs_least_on(linear, rate):
    params, fit = linear
    by_hand = gradients(W, V)
    wanted = smallest({"W": np.abs(W * by_hand["W"]), "V": np.abs(V * by_hand["V"])}, round(rate * 20))
    values, mask = SNIP(rate=rate).apply(None, params, None, fit)
    assert values is params
    assert_masks(mask, wanted)


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_grasp_keeps_the_gradient_flow(linear, temperature):
    """H g by hand, as the change of the gradients along g; only weights in matrices are counted."""
    params, fit = linear
    g = gradients(W, V, temperature=temperature)
    scale = 1e-4 / max(np.abs(g["W"]).max(), np.abs(g["V"]).max())
    ahead, behind = (
        gradients(W + sign * scale * g["W"], V + sign * scale * g["V"], temperature=temperature) for sign in (1, -1)
    )
    scores = {name: w * (ahead[name] - behind[name]) / 2 for name, w in (("W", W), ("V", V))}
    values, mask = GraSP(rate=0.4, temperature=temperature).apply(None, params, None, fit)
    assert values is params
    assert_masks(mask, smallest(scores, 8))
    assert (np.concatenate([np.ravel(s) for s in scores.values()]) < 0).any()  # so that their sign is seen


def synaptic_flow(w, v):
    """|θ| · ∂R/∂|θ| of R = 1ᵀ |W| |V| 1."""
    w, v = np.abs(w), np.abs(v)
    return {"W": w * v.sum(1)[None], "V": v * w.sum(0)[:, None]}


@pytest.mark.parametrize(("rate", "rounds"), [(0.5, 1), (0.6, 3), (0.9, 100)])
def test_synaptic_flow_needs_no_data_and_goes_in_rounds(linear, rate, rounds):
    params, fit = linear
    mask = {"W": np.ones_like(W, bool), "V": np.ones_like(V, bool)}
    for k in range(1, rounds + 1):
        scores = synaptic_flow(W * mask["W"], V * mask["V"])
        scores = {name: np.where(mask[name], s, -np.inf) for name, s in scores.items()}
        mask = smallest_by_rank(scores, round((1 - (1 - rate) ** (k / rounds)) * 20))
    unseen = Fit(fit.network, lambda outputs: jnp.nan, jnp.full_like(fit.inputs, jnp.nan), fit.labels, fit.train)
    assert_masks(SynFlow(rate=rate, rounds=rounds).apply(None, params, None, unseen)[1], mask)
    assert sum(m.sum() for m in mask.values()) == 20 - round(rate * 20)


def smallest_by_rank(scores, count):
    """As `smallest`, where several may be equal: the first of those that stand alphabetically go."""
    names = sorted(scores)
    flat = np.concatenate([np.ravel(scores[name]) for name in names])
    stays, at, found = np.argsort(np.argsort(flat, kind="stable"), kind="stable") >= count, 0, {}
    for name in names:
        found[name] = stays[at : at + scores[name].size].reshape(scores[name].shape)
        at += scores[name].size
    return found


def test_the_flow_from_tokens_is_that_from_an_input_of_ones():
    table = jnp.abs(jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32))
    params = {"table": table, "V": jnp.asarray(V, jnp.float32)}
    tokens = Fit(
        lambda p, x: jax.nn.relu(sum(p["table"][x[:, i]] for i in range(2))) @ p["V"],
        None,
        jnp.zeros((7, 2), jnp.int32),
        None,
        None,
        vocabulary=3,
    )
    ones = Fit(lambda p, x: jax.nn.relu(2 * x @ p["table"]) @ p["V"], None, jnp.zeros((7, 3)), None, None)
    masks = [SynFlow(rate=0.5, rounds=4).apply(None, params, None, fit)[1] for fit in (tokens, ones)]
    for one, other in zip(*(jax.tree.leaves(mask) for mask in masks)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("pruner", [SNIP(rate=0.6), GraSP(rate=0.6), SynFlow(rate=0.6, rounds=3), Prune(rate=0.6)])
def test_what_was_removed_before_is_seen_as_removed_and_stays_so(linear, pruner):
    params, fit = linear
    _, first = Prune(rate=0.4, by="random").apply(None, params, None)
    told = () if isinstance(pruner, Prune) else (fit,)
    _, second = pruner.apply(None, params, first, *told)
    assert sum(second[name].sum() for name in "WV") == 8
    for name in "WV":
        assert (second[name] <= first[name]).all()
    emptied = {name: jnp.where(first[name], w, 0) for name, w in params.items()}
    _, again = pruner.apply(None, emptied, first, *told)
    assert_masks(again, {name: second[name] for name in "WV"})
    _, gentle = Prune(rate=0.1).apply(None, params, first)
    assert_masks(gentle, {name: first[name] for name in "WV"})


@pytest.mark.parametrize(("order", "norm"), [(1, lambda w: np.abs(w).sum()), (2, lambda w: np.sqrt((w**2).sum()))])
def test_dense_weights_get_the_norm_that_the_mask_leaves(linear, order, norm):
    params, _ = linear
    _, mask = Prune(rate=0.5).apply(None, params, None)
    scaled, none = MatchNorm(order=order).apply(None, params, mask)
    assert none is None
    emptied = np.where(mask["W"], W, 0), np.where(mask["V"], V, 0)
    whole, left = (np.concatenate([np.ravel(w), np.ravel(v), BIAS]) for w, v in ((W, V), emptied))
    factor = norm(left) / norm(whole)
    assert 0 < factor < 1
    for name, w in params.items():
        np.testing.assert_allclose(scaled[name], factor * w, rtol=1e-12)
    assert MatchNorm(order=order).apply(None, params, None) == (params, None)


@pytest.mark.parametrize(
    "changes", [{}, {"training.logit_scale": 0.5, "loss": jg.losses.CrossEntropy(dtype="float64")}]
)
def test_a_run_is_pruned_by_the_loss_of_its_own_train_rows(toy, changes):
    run = toy.override({"training": jg.Training(steps=4, evaluate_every=2), **changes})
    parent = run.override({"training.steps": 0})
    child = run.override({"start": FromRun(parent=parent, transforms=(Rewind(), SNIP(rate=0.4)))})
    values = training.numbers(run)
    with training.numerics(run):
        data = training.load(values, training.Rows.of(run))
        start = training.init(values, data)
        gradient, _ = training.gradient(values, data, start)
        _, mask = Prune(rate=0.4).apply(None, jax.tree.map(jnp.multiply, start.params, gradient), None)
    found = training.trained(child)[1]
    for one, other, w in zip(*(jax.tree.leaves(tree) for tree in (found.mask, mask, found.params))):
        np.testing.assert_array_equal(one, other)
        assert (np.asarray(w)[~np.asarray(one)] == 0).all()
    block = train_in_block(Program(child, 2), {1: child})[1]
    np.testing.assert_allclose(block.curves["train/loss"], jg.train(child)["train/loss"], rtol=1e-5)
    assert child.override({"start.transforms.1.rate": 0.7}).signature == child.signature
