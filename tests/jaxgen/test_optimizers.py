import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
from jaxgen import optimizers

W = {
    "layer": {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([1.0, -1.0])},
    "embedding": jnp.ones((2, 2)),
}
G = jax.tree.map(lambda w: jnp.cos(w) * 0.3, W)
EMBEDDINGS = {"embeddings": ("embedding", "positions")}


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


SAME_AS_OPTAX = [
    (optimizers.SGD(learning_rate=0.1), optax.sgd(0.1)),
    (optimizers.SGD(learning_rate=0.1, momentum=0.9), optax.sgd(0.1, momentum=0.9)),
    (optimizers.Adam(learning_rate=0.1, b2=0.99), optax.adam(0.1, b2=0.99)),
    (optimizers.AdamW(learning_rate=0.1, weight_decay=0.5), optax.adamw(0.1, weight_decay=0.5)),
    (
        optimizers.AdamW(learning_rate=0.1, weight_decay=0.5, decay_kind="coupled"),
        optax.chain(optax.add_decayed_weights(0.5), optax.adam(0.1)),
    ),
    (optimizers.Lion(learning_rate=0.1, weight_decay=0.5), optax.lion(0.1, weight_decay=0.5)),
    (optimizers.Muon(learning_rate=0.1), optax.contrib.muon(0.1)),
]


def steps(transform, params, gradients, count=5):
    state = transform.init(params)
    for _ in range(count):
        updates, state = transform.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(("ours", "theirs"), SAME_AS_OPTAX, ids=lambda o: type(o).__name__)
def test_same_as_optax(ours, theirs):
    with jax.enable_x64(True):  # optax computes 1 - b^t with a relative error of 1e-5 in float32
        w, g = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (W, G))
        for a, b in zip(jax.tree.leaves(steps(ours.transform(), w, g)), jax.tree.leaves(steps(theirs, w, g))):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_decoupled_decay_shrinks_by_lr_times_decay_when_there_is_no_gradient():
    transform = optimizers.AdamW(learning_rate=0.1, weight_decay=0.5).transform()
    updates, _ = transform.update(jax.tree.map(jnp.zeros_like, W), transform.init(W), W)
    for u, w in zip(jax.tree.leaves(updates), jax.tree.leaves(W)):
        np.testing.assert_allclose(u, -0.05 * w, rtol=1e-6)


def test_coupled_decay_alone_moves_by_the_learning_rate():
    transform = optimizers.AdamW(learning_rate=0.1, weight_decay=0.5, decay_kind="coupled").transform()
    updates, _ = transform.update(jax.tree.map(jnp.zeros_like, W), transform.init(W), W)
    for u, w in zip(jax.tree.leaves(updates), jax.tree.leaves(W)):
        np.testing.assert_allclose(u, -0.1 * np.sign(w), rtol=1e-5)


@pytest.mark.parametrize(
    ("mask", "decays"),
    [("all", (True, True, True)), ("matrices", (True, True, False)), ("no_embeddings", (False, True, False))],
)
def test_masks_choose_what_decays(mask, decays):
    for ours in (
        optimizers.AdamW(weight_decay=1.0, decay_mask=mask),
        optimizers.SGD(weight_decay=1.0, decay_mask=mask),
    ):
        transform = ours.transform({"embeddings": ("embed*",)})
        updates, _ = transform.update(jax.tree.map(jnp.zeros_like, W), transform.init(W), W)
        moved = (updates["embedding"], updates["layer"]["kernel"], updates["layer"]["bias"])
        assert tuple(bool(np.any(u != 0)) for u in moved) == decays


@pytest.mark.parametrize("eps", [1e-8, 1e-25])
@pytest.mark.parametrize("size", [1e3, 1.0, 1e-6, 1e-12, 1e-16, 1e-18, 1e-20, 1e-21, 1e-23, 1e-30])
def test_adam_steps_by_lr_for_constant_gradients_of_any_size(size, eps):
    """m̂ = g and √v̂ = |g| at every step: the direction is g / (|g| + eps), however small g is."""
    transform = optimizers.Adam(learning_rate=1.0, eps=eps).transform()
    w = {"a": jnp.ones(3, jnp.float32)}
    g = {"a": jnp.array([size, -size, 0.0], jnp.float32)}
    state = transform.init(w)
    update = jax.jit(transform.update)
    for _ in range(20):
        updates, state = update(g, state, w)
        np.testing.assert_allclose(updates["a"], [-size / (size + eps), size / (size + eps), 0.0], rtol=2e-5)


def test_adam_agrees_with_pytorch_down_to_where_pytorch_underflows():
    torch = pytest.importorskip("torch")
    for size in (1e-3, 1e-16, 1e-18, 1e-19):
        gradients = size * np.cos(np.arange(60.0)).reshape(20, 3).astype(np.float32)
        theirs = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99), eps=1e-25)
        transform = optimizers.Adam(learning_rate=0.1, b2=0.99, eps=1e-25).transform()
        ours, state = jnp.ones(3, jnp.float32), transform.init(jnp.ones(3, jnp.float32))
        for g in gradients:
            theirs.grad = torch.tensor(g)
            optimizer.step()
            updates, state = transform.update(jnp.asarray(g), state, ours)
            ours = ours + updates
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=2e-3, atol=1e-4)


def test_perp_grad_is_orthogonal_and_keeps_the_norm():
    updates, _ = optimizers.perp_grad().update(G, None, W)
    for u, g, w in zip(*(jax.tree.leaves(t) for t in (updates, G, W))):
        if np.allclose(g / g.ravel()[0], w / w.ravel()[0]):  # the embedding's gradient is parallel to it
            np.testing.assert_array_equal(u, 0)
            continue
        assert abs(float(jnp.sum(u * w))) < 1e-6 * float(jnp.linalg.norm(u) * jnp.linalg.norm(w))
        np.testing.assert_allclose(jnp.linalg.norm(u), jnp.linalg.norm(g), rtol=1e-5)


@pytest.mark.parametrize(
    ("w", "g", "want"),
    [(0.0, 1.0, "g"), (1.0, 0.0, "zero"), (1.0, 3.0, "zero"), (1.0, -2.0, "zero"), (1e-30, 1.0, "g")],
)
def test_perp_grad_at_its_edges(w, g, want):
    weights, gradient = {"a": jnp.full((2, 3), w)}, {"a": jnp.full((2, 3), g)}
    updates, _ = optimizers.perp_grad().update(gradient, None, weights)
    np.testing.assert_array_equal(updates["a"], gradient["a"] if want == "g" else 0)


def test_decay_to_the_start_and_l1():
    zero = jax.tree.map(jnp.zeros_like, W)
    start = optimizers.SGD(learning_rate=0.5, weight_decay=0.4, decay_kind="initial").transform()
    moved = jax.tree.map(lambda w: w + 1, W)
    updates, _ = start.update(zero, start.init(W), moved)
    for u in jax.tree.leaves(updates):
        np.testing.assert_allclose(u, -0.2, rtol=1e-5)
    l1 = optimizers.SGD(learning_rate=0.5, weight_decay=0.4, decay_kind="l1").transform()
    updates, _ = l1.update(zero, l1.init(W), W)
    for u, w in zip(jax.tree.leaves(updates), jax.tree.leaves(W)):
        np.testing.assert_allclose(u, -0.2 * np.sign(w), rtol=1e-6)


def test_l2_in_the_loss_is_seen_by_the_projection_and_coupled_l2_is_not():
    zero = jax.tree.map(jnp.zeros_like, W)
    for kind, moves in (("loss", False), ("coupled", True)):
        transform = optimizers.PerpSGD(learning_rate=1.0, weight_decay=0.5, decay_kind=kind).transform()
        updates, _ = transform.update(zero, transform.init(W), W)
        for u, w in zip(jax.tree.leaves(updates), jax.tree.leaves(W)):
            np.testing.assert_allclose(u, -0.5 * w if moves else 0 * w, atol=1e-6)


def test_schedules_follow_their_formulas_with_swept_steps():
    @jax.jit
    def rates(warmup, decay):
        transform = optimizers.SGD(
            learning_rate=2.0, schedule=jg.schedules.Cosine(warmup=warmup, steps=decay, final_rate=0.1)
        ).transform()

        def step(state, _):
            updates, state = transform.update({"a": jnp.ones(())}, state, {"a": jnp.ones(())})
            return state, -updates["a"]

        return jax.lax.scan(step, transform.init({"a": jnp.ones(())}), length=30)[1]

    for warmup, decay in ((0, 20), (5, 25)):
        t = np.arange(30)
        up = np.minimum(1, (t + 1) / max(warmup, 1))
        done = np.clip((t - warmup) / (decay - warmup), 0, 1)
        np.testing.assert_allclose(rates(warmup, decay), 2 * up * (0.1 + 0.45 * (1 + np.cos(np.pi * done))), rtol=1e-5)
    assert rates._cache_size() == 1


def test_the_clamp_holds_the_norm_from_its_start_on():
    transform = optimizers.SGD(learning_rate=1.0, clamp=jg.clamps.NormClamp(ratio=0.5, start=2)).transform()
    params, state = W, transform.init(W)
    first, norms = optax.tree_utils.tree_norm(W), []
    for _ in range(4):
        updates, state = transform.update(jax.tree.map(lambda w: -0.1 * w, params), state, params)
        params = optax.apply_updates(params, updates)
        norms.append(float(optax.tree_utils.tree_norm(params) / first))
    np.testing.assert_allclose(norms, [1.1, 1.21, 0.5, 0.5], rtol=1e-5)


def test_grokfast_average_starts_when_its_window_is_full():
    transform = optimizers.grokfast_average(3, 2.0)
    w, state, seen = jnp.zeros(()), transform.init(jnp.zeros(())), []
    for g in (1.0, 2.0, 3.0, 4.0):
        update, state = transform.update(jnp.asarray(g), state, w)
        seen.append(float(update))
    np.testing.assert_allclose(seen, [1, 2, 3 + 2 * 2, 4 + 2 * 3], rtol=1e-6)


@pytest.mark.parametrize("largest", [0.5, 5.0, 50.0])
def test_clipping_keeps_the_direction_and_bounds_the_norm_over_all_parameters(largest):
    transform = jg.filters.ClipNorm(largest=np.float32(largest)).transform()
    gradients = {"a": jnp.asarray([3.0, 0.0]), "b": jnp.asarray([[4.0]])}  # of norm 5
    found, _ = transform.update(gradients, transform.init(gradients))
    for name, g in gradients.items():
        np.testing.assert_allclose(found[name], np.asarray(g) * min(1.0, largest / 5), rtol=1e-6)


PARAMETERS, VECTORS = 10, 2  # numbers in W, and in its bias
STATE = [  # floating-point numbers that each keeps
    (optimizers.SGD(), PARAMETERS),
    (optimizers.PerpSGD.released(), PARAMETERS),
    (optimizers.Lion(), PARAMETERS),
    (optimizers.Adam(), 2 * PARAMETERS),
    (optimizers.AdamW(weight_decay=0.1, decay_mask="no_embeddings"), 2 * PARAMETERS),
    (optimizers.PerpAdamW(), 2 * PARAMETERS),
    (optimizers.Muon(), PARAMETERS + VECTORS + 3),  # the coefficients of its Newton–Schulz step
    (optimizers.AdamW(decay_kind="initial", weight_decay=0.1), 3 * PARAMETERS),
    (optimizers.SGD(decay_kind="l1", weight_decay=0.1), PARAMETERS),
    (optimizers.Adam(filter=jg.filters.GrokfastEMA(), decay_kind="loss", weight_decay=0.1), 3 * PARAMETERS),
    (optimizers.SGD(filter=jg.filters.GrokfastAverage(window=5)), 6 * PARAMETERS),
    (optimizers.SGD(filter=jg.filters.ClipNorm()), PARAMETERS),
    (optimizers.SGD(clamp=jg.clamps.NormClamp()), PARAMETERS + 1),
    (optimizers.SGD(schedule=jg.schedules.Cosine(warmup=1, steps=9)), PARAMETERS),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("optimizer", "numbers"), STATE, ids=[f"{i}-{type(o).__name__}" for i, (o, _) in enumerate(STATE)]
)
def test_state_stays_in_the_dtype_of_the_parameters_and_has_the_size_it_needs(optimizer, numbers, dtype):
    with jax.enable_x64(dtype == "float64"):
        params, gradients = jax.tree.map(lambda a: jnp.asarray(a, dtype), (W, G))
        leaf = lambda v: np.int32(v) if isinstance(v, int) else np.dtype(dtype).type(v)  # noqa: E731
        transform = jax.tree.map(leaf, optimizer).transform(EMBEDDINGS)  # hyperparameters as they are in a program
        before = transform.init(params)
        updates, after = transform.update(gradients, before, params)
        real = lambda tree: [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]  # noqa: E731
        assert {x.dtype for x in real((before, updates, after))} == {np.dtype(dtype)}
        assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)
        assert sum(x.nbytes for x in real(before)) == numbers * np.dtype(dtype).itemsize
        assert all(x.nbytes == 4 for x in jax.tree.leaves(before) if jnp.issubdtype(x.dtype, jnp.integer))


def test_an_optimizer_rests_only_when_its_state_does():
    for ours in (optimizers.Adam(), optimizers.SGD(momentum=0.9)):
        transform = ours.transform()
        rest = transform.init(W)
        _, moving = transform.update(G, rest, W)
        assert ours.at_rest(rest, rest)
        assert not ours.at_rest(rest, moving)
        assert not ours.at_rest(moving, rest)
        assert bool(ours.at_rest(moving, moving)) == isinstance(ours, optimizers.SGD)  # Adam's bias corrections go on


def test_perpendicular_optimizers_have_the_published_settings():
    paper, released = optimizers.PerpAdamW(), optimizers.PerpAdamW.released()
    assert (paper.b1, paper.b2, paper.eps, paper.weight_decay) == (0.9, 0.99, 1e-25, 0)
    assert (released.b1, released.b2, released.eps, released.weight_decay) == (0.9, 0.999, 1e-8, 0)
    assert (optimizers.PerpSGD().momentum, optimizers.PerpSGD.released().momentum) == (0, 0.8)
    assert optimizers.PerpAdamW.released(b2=0.5).b2 == 0.5


def test_perp_grad_of_what_is_parallel_up_to_rounding_is_0():
    weights = {"a": jax.random.normal(jax.random.key(0), (40, 30), jnp.float32)}
    for factor in (0.1, -3.0, 1e-20):
        gradient = jax.tree.map(lambda w: factor * w, weights)  # noqa: B023
        updates, _ = optimizers.perp_grad().update(gradient, None, weights)
        np.testing.assert_array_equal(updates["a"], 0)


@pytest.mark.parametrize("kind", ["decoupled", "coupled", "loss", "initial", "l1"])
def test_masks_hold_for_every_kind_of_decay(kind):
    w = {**W, "positions": jnp.ones((2, 2))}
    moved = jax.tree.map(lambda a: a + 1, w)  # away from the start
    for mask, still in (("matrices", {"bias"}), ("no_embeddings", {"bias", "embedding", "positions"})):
        transform = optimizers.SGD(weight_decay=1.0, decay_kind=kind, decay_mask=mask).transform(EMBEDDINGS)
        updates, _ = transform.update(jax.tree.map(jnp.zeros_like, w), transform.init(w), moved)
        found = {path[-1].key for path, u in jax.tree_util.tree_leaves_with_path(updates) if not np.any(u)}
        assert found == still


def test_the_clamp_does_not_scale_up():
    transform = optimizers.SGD(learning_rate=1.0, clamp=jg.clamps.NormClamp(ratio=2.0)).transform()
    updates, _ = transform.update(jax.tree.map(lambda w: 0.5 * w, W), transform.init(W), W)
    for u, w in zip(jax.tree.leaves(updates), jax.tree.leaves(W)):
        np.testing.assert_allclose(u, -0.5 * w, rtol=1e-6)


def test_after_a_warm_up_alone_the_rate_stays():
    transform, rates = optimizers.SGD(learning_rate=2.0, schedule=jg.schedules.Warmup(steps=4)).transform(), []
    state, one = transform.init({"a": jnp.ones(())}), {"a": jnp.ones(())}
    for _ in range(7):
        updates, state = transform.update(one, state, one)
        rates.append(float(-updates["a"]))
    np.testing.assert_allclose(rates, [0.5, 1, 1.5, 2, 2, 2, 2], rtol=1e-6)
