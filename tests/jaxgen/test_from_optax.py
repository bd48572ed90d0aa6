"""Any optimizer and loss of optax by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError, losses, models, optimizers, tasks
from sweeps.execution.plan import make_plan

W = {"a": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([1.0, -1.0])}
BASE = jg.Experiment(
    tasks.ModularAddition(p=5),
    models.MLP(width=4),
    losses.CrossEntropy(),
    optimizers.Optax("adamw", learning_rate=0.1),
    jg.Training(steps=4, evaluate_every=2),
)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optimizers.Optax("adamw", learning_rate=0.1, b1=0.8), optax.adamw(0.1, b1=0.8)),
        (optimizers.Optax("sgd", learning_rate=0.1, momentum=0.9, nesterov=True), optax.sgd(0.1, 0.9, True)),
        (optimizers.Optax("rmsprop", learning_rate=0.1), optax.rmsprop(0.1)),
        (optimizers.Optax("contrib.muon", learning_rate=0.1), optax.contrib.muon(0.1)),
    ],
)
def test_it_is_what_optax_makes(ours, theirs):
    with jax.numpy_dtype_promotion("standard"):
        mine, other = W, W
        ours = ours.transform()
        a, b = ours.init(W), theirs.init(W)
        for _ in range(4):
            g = jax.tree.map(jnp.cos, mine)
            (u, a), (v, b) = ours.update(g, a, mine), theirs.update(g, b, other)
            mine, other = optax.apply_updates(mine, u), optax.apply_updates(other, v)
    for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(other)):
        np.testing.assert_array_equal(x, y)


def test_the_loss_is_optax_s_and_agrees_with_ours():
    z, y = jnp.linspace(-3, 3, 20).reshape(4, 5), jnp.array([0, 4, 2, 1])
    theirs = losses.Optax("softmax_cross_entropy_with_integer_labels")(z, y)
    np.testing.assert_array_equal(theirs, optax.losses.softmax_cross_entropy_with_integer_labels(z, y))
    np.testing.assert_allclose(theirs, losses.CrossEntropy()(z, y), rtol=1e-6)


def test_its_numbers_are_leaves_and_it_is_written_and_read_by_its_name():
    assert {"optimizer.learning_rate", "optimizer.b1", "optimizer.weight_decay"} < BASE.leaf_paths()
    assert BASE.flat()["optimizer.type"] == "optax.adamw"
    assert jg.Experiment.from_json(BASE.to_json()) == BASE
    other = BASE.override({"optimizer.b1": 0.5})
    assert other.signature == BASE.signature
    assert other.run_id != BASE.run_id
    assert BASE.override({"optimizer.nesterov": True}).signature != BASE.signature
    assert BASE.override({"optimizer": optimizers.Optax("sgd", learning_rate=0.1)}).override(
        {"optimizer.momentum": 0.9}
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optimizers.Optax("adamv", learning_rate=0.1),
            r"optimizer\.type\.optax\.adamv: did you mean",
        ),
        (lambda: optimizers.Optax("adamw", learning_rat=0.1), r"optimizer\.learning_rat: did you mean .*learning_rate"),
        (lambda: optimizers.Optax("adamw"), r"optimizer\.learning_rate = None: is missing: optax\.adamw needs it"),
        (lambda: optimizers.Optax("apply_updates"), r"unknown field optimizer\.type\.optax\.apply_updates"),
        (lambda: optimizers.Optax("noisy_sgd", learning_rate=0.1), r"unknown field optimizer\.type\.optax\.noisy_sgd"),
        (lambda: losses.Optax("softmax_entropy"), r"loss\.type\.optax\.softmax_entropy: did you mean"),
        (lambda: BASE.override({"optimizer.learning_rate": "fast"}), r"learning_rate = 'fast': must be float"),
        (
            lambda: make_plan(BASE.override({"loss": losses.Optax("squared_error")}), sweeps.seeds(1)),
            r"loss = .*squared_error.*: fails on the outputs of MLP",
        ),
        (
            lambda: make_plan(BASE.override({"optimizer": optimizers.Optax("lbfgs")}), sweeps.seeds(1)),
            r"optimizer = .*lbfgs.*: no step can be made",
        ),
    ],
)
def test_what_optax_does_not_have_or_cannot_do_is_refused(make, message):
    with pytest.raises(FieldError, match=message):
        make()


def test_data_cannot_name_what_is_no_optimizer():
    for name in ("optax.os.system", "optax.tree_utils", "optax.__class__", "optax."):
        with pytest.raises(FieldError, match=r"unknown field optimizer\.type"):
            jg.Experiment.from_dict(BASE.to_dict() | {"optimizer": {"type": name, "learning_rate": 0.1}})
