"""Groups of parameters: what a network declares, what a pattern says, and an optimizer for each."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError, losses, models, optimizers, tasks
from sweeps.execution.plan import make_plan

W = {
    "embedding": jnp.ones((3, 2)),
    "Linear_0": {"kernel": jnp.arange(4.0).reshape(2, 2), "bias": jnp.ones(2)},
    "Linear_1": {"kernel": jnp.ones((2, 3))},
}
G = jax.tree.map(lambda w: jnp.cos(w) * 0.3, W)
DECLARED = {"embeddings": ("embedding",)}
GROUPS = optimizers.Groups(
    default=optimizers.AdamW(learning_rate=0.1, weight_decay=0.5),
    groups={"embeddings": optimizers.SGD(learning_rate=0.3), "readout": optimizers.SGD(momentum=0.9)},
    patterns=(("readout", "Linear_1"),),
)


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_groups_train_as_optax_partitions_them():
    labels = {"embedding": "embeddings", "Linear_0": {"kernel": "", "bias": ""}, "Linear_1": {"kernel": "readout"}}
    theirs = optax.multi_transform(
        {"": optax.adamw(0.1, weight_decay=0.5), "embeddings": optax.sgd(0.3), "readout": optax.sgd(0.1, 0.9)}, labels
    )
    ours = GROUPS.transform(DECLARED)
    mine, other, a, b = W, W, ours.init(W), theirs.init(W)
    for _ in range(5):
        gradient = jax.tree.map(lambda w: jnp.cos(w) * 0.3, mine)
        (u, a), (v, b) = ours.update(gradient, a, mine), theirs.update(gradient, b, other)
        mine, other = optax.apply_updates(mine, u), optax.apply_updates(other, v)
    for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(other)):
        np.testing.assert_allclose(x, y, rtol=1e-5)


@pytest.mark.parametrize(
    ("groups", "patterns", "message"),
    [
        ({"head": optimizers.SGD()}, (), r"groups = 'head': is no group of the network \(it declares embeddings\)"),
        ({"head": optimizers.SGD()}, (("head", "Linear_9"),), r"groups\.head = \['Linear_9'\]: matches no parameter"),
        (
            {"embeddings": optimizers.SGD(), "head": optimizers.SGD()},
            (("head", "*bed*"),),
            r"groups = 'embedding': is in more than one group: embeddings, head",
        ),
    ],
)
def test_groups_without_their_own_parameters_are_refused(groups, patterns, message):
    ours = optimizers.Groups(default=optimizers.SGD(), groups=groups, patterns=patterns)
    with pytest.raises(FieldError, match=message):
        ours.transform(DECLARED).init(W)


@pytest.mark.parametrize(
    ("groups", "patterns", "message"),
    [
        (None, (), r"optimizer\.groups = None: must be a component of the kind optimizer"),
        ({}, (), r"optimizer\.groups = FrozenDict\(\{\}\): must be a table of optimizers by name"),
        (optimizers.SGD(), (), r"optimizer\.groups = SGD.*: must be a table of optimizers by name"),
        ({"a": optimizers.SGD()}, (("b", "x"),), r"optimizer\.patterns = 'b': is none of the groups a"),
        (
            {"a": optimizers.SGD()},
            "a",
            r"optimizer\.patterns = 'a': must be tuple: pairs of a name and a pattern",
        ),
        ({"a": optimizers.SGD()}, ("a",), r"optimizer\.patterns = 'a': must be pairs of texts"),
    ],
)
def test_groups_without_names_are_refused(groups, patterns, message):
    with pytest.raises(FieldError, match=message):
        experiment(models.MLP(4), optimizers.Groups(default=optimizers.SGD(), groups=groups, patterns=patterns))


def experiment(model, optimizer):
    training = jg.Training(steps=4, evaluate_every=2)
    return jg.Experiment(tasks.ModularAddition(p=5), model, losses.CrossEntropy(), optimizer, training)


class Decomposed(nn.Module):
    """A network whose names mislead: what looks like "position" is none, and `wte` is an embedding."""

    @nn.compact
    def __call__(self, tokens):
        table = self.param("wte", nn.initializers.normal(0.1), (5, 4))
        x = table[tokens[:, 0]] + table[tokens[:, 1]]
        return nn.Dense(5, name="decomposition", use_bias=False)(x)


class Declared(Decomposed):
    groups = {"embeddings": ("wte",)}


def test_embeddings_are_what_the_network_says_and_not_what_names_sound_like():
    masked = optimizers.SGD(learning_rate=1.0, weight_decay=1.0, decay_mask="no_embeddings")
    run = experiment(Declared(), masked)
    data = jg.training.load(jg.training.numbers(run), jg.training.Rows.of(run))
    params = jg.training.init(run, data).params
    transform = jg.training.optimizer(run)
    updates, _ = transform.update(jax.tree.map(jnp.zeros_like, params), transform.init(params), params)
    assert not np.any(updates["wte"])
    np.testing.assert_allclose(updates["decomposition"]["kernel"], -params["decomposition"]["kernel"])


def test_a_mask_for_embeddings_that_no_one_declares_is_refused_before_anything_compiles():
    masked = optimizers.SGD(weight_decay=1.0, decay_mask="no_embeddings")
    why = r'decay_mask = .no_embeddings.: needs a network that says .* groups = \{"embeddings": \("wte",\)\}'
    with pytest.raises(FieldError, match=why):
        make_plan(experiment(Decomposed(), masked), sweeps.seeds(1))
    make_plan(experiment(Declared(), masked), sweeps.seeds(1))


class Misspelled(Decomposed):
    groups = {"embeddings": ("wtee",)}


def test_a_declared_group_without_parameters_is_refused_before_anything_compiles():
    why = r"model\.groups\.embeddings = \('wtee',\): matches none of the parameters decomposition\.kernel, wte"
    with pytest.raises(FieldError, match=why):
        make_plan(experiment(Misspelled(), optimizers.SGD(decay_mask="no_embeddings")), sweeps.seeds(1))


def test_our_networks_declare_their_embeddings():
    assert models.groups(models.Transformer()) == {"embeddings": ("embedding", "positions")}
    assert models.groups(models.EmbeddingMLP()) == {"embeddings": ("embedding",)}
    assert models.groups(nn.Dense(3)) == {}


@pytest.mark.parametrize(
    ("optimizer", "decays"),
    [
        (optimizers.AdamW(), 75),
        (optimizers.AdamW(decay_mask="matrices"), 20 + 20 + 25),
        (optimizers.AdamW(decay_mask="no_embeddings"), 20 + 25),
        (
            optimizers.Groups(
                default=optimizers.SGD(decay_mask="matrices"), groups={"embeddings": optimizers.SGD(decay_mask="all")}
            ),
            20 + 20 + 25,
        ),
    ],
)
def test_it_is_told_how_many_parameters_decay(optimizer, decays):
    run = experiment(models.EmbeddingMLP(width=5, embedding=4, depth=1), optimizer)
    assert jg.training.decaying(run) == (decays, 75)


def test_optimizers_that_cannot_say_what_decays_are_not_asked():
    theirs = optimizers.Optax("sgd", learning_rate=0.1)
    inner = optimizers.Groups(default=optimizers.SGD(), groups={"embeddings": theirs})
    for optimizer in (theirs, inner, optimizers.Groups(default=optimizers.SGD(), groups={"embeddings": inner})):
        run = experiment(models.EmbeddingMLP(width=5, embedding=4, depth=1), optimizer)
        assert jg.training.decaying(run) is None
