import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import optimizers

W = {
    "layer": {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([1.0, -1.0])},
    "embedding": jnp.ones((2, 2)),
}
G = jax.tree.map(lambda w: jnp.cos(w) * 0.3, W)


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
]


def steps(transform, count=5):
    params, state = W, transform.init(W)
    for _ in range(count):
        updates, state = transform.update(G, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(("ours", "theirs"), SAME_AS_OPTAX, ids=lambda o: type(o).__name__)
def test_same_as_optax(ours, theirs):
    for a, b in zip(jax.tree.leaves(steps(ours.transform())), jax.tree.leaves(steps(theirs))):
        np.testing.assert_allclose(a, b, rtol=1e-6)


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
        transform = ours.transform()
        updates, _ = transform.update(jax.tree.map(jnp.zeros_like, W), transform.init(W), W)
        moved = (updates["embedding"], updates["layer"]["kernel"], updates["layer"]["bias"])
        assert tuple(bool(np.any(u != 0)) for u in moved) == decays
