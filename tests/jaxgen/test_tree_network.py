"""Texts on a world of binary variables, and what is inferred of pairs that are never seen together."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import FieldError
from jaxgen.probes.step_by_step import StepByStep, path

SMALL = jg.tasks.TreeNetwork(variables=6, pairs=3, apart=3, longest=5, worlds=3, train_rows=20000, test_rows=10)
KEY = jax.random.key(3)


def parents(distance):
    return [int(np.flatnonzero(distance[i, :i] == 1)[0]) if i else 0 for i in range(len(distance))]


@pytest.mark.parametrize("shape", ["chain", "tree"])
def test_all_pairs_have_the_probabilities_of_the_sum_over_all_states(shape):
    world = jax.jit(SMALL.replace(shape=shape).world)(KEY)
    distance, given = np.array(world.distance), np.array(world.given, np.float64)
    before, total = parents(distance), np.zeros((6, 6, 2, 2))
    assert shape == "tree" or before == [0, 0, 1, 2, 3, 4]
    for state in itertools.product([0, 1], repeat=6):
        ones = [given[i, state[before[i]] if i else 0] for i in range(6)]
        chance = np.prod([p if v else 1 - p for p, v in zip(ones, state)])
        for i, j in itertools.product(range(6), repeat=2):
            total[i, j, state[i], state[j]] += chance
    np.testing.assert_allclose(world.joint, total, atol=1e-6)
    three, one = jnp.int32(3), jnp.int32(1)
    np.testing.assert_allclose(world.conditional(three, one, one), total[1, 3, 1, 1] / total[1, 3, 1].sum(), atol=1e-5)
    np.testing.assert_allclose(world.marginal(three), total[3, 3, 1, 1], atol=1e-6)


@pytest.mark.parametrize("observed", ["near", "all", "elsewhere"])
def test_rows_name_the_target_first_and_never_hold_a_held_out_pair(observed):
    task = SMALL.replace(observed=observed)
    examples, world = jax.jit(lambda key: (task.examples(key), task.world(key)))(KEY)
    inputs, labels, weights = map(np.array, (examples.inputs, examples.labels, examples.weights))
    held = {frozenset(pair) for pair in np.array(world.held_out).tolist()}
    assert all(2 <= world.distance[tuple(pair)] <= 3 for pair in held)
    both = np.zeros((6, 6, 2, 2))
    for tokens, said, weight in zip(inputs, labels, weights):
        known = said[weight > 0]
        assert (weight == (np.arange(task.length) < len(known))).all()
        assert (said[len(known) :] == task.vocabulary - 1).all()
        assert (tokens[1:] == said[:-1]).all()
        if len(known):
            assert tokens[0] == 12 + known[-1] // 2
        variables = known // 2
        assert len({*variables.tolist()}) == len(known)
        assert not any({*pair} <= {*variables.tolist()} for pair in held)
        for one, other in itertools.permutations(known.tolist(), 2):
            both[one // 2, other // 2, one % 2, other % 2] += 1
    count = both.sum(axis=(2, 3))
    near = np.array(world.seen_distance) == 1
    apart = ~np.isin(np.arange(36).reshape(6, 6), [6 * a + b for a, b in map(sorted, held)])
    often = near & apart & apart.T
    assert (count[often] > 1000).all()
    found = both[often] / count[often][:, None, None]
    np.testing.assert_allclose(found, np.array(world.joint)[often], atol=0.04)


def test_arms_of_a_comparison_ask_about_the_same_pairs_of_one_world():
    near = jg.tasks.TreeNetwork(worlds=2)
    worlds = [jax.jit(task.world)(KEY) for task in (near, near.replace(observed="all"))]
    for one, other in zip(jax.tree.leaves(worlds[0]), jax.tree.leaves(worlds[1])):
        assert (one == other).all()
    elsewhere = jax.jit(near.replace(observed="elsewhere").world)(KEY)
    assert (elsewhere.held_out == worlds[0].held_out).all()
    assert (elsewhere.joint == worlds[0].joint).all()
    assert (elsewhere.seen_distance != worlds[0].seen_distance).any()


def neighbours(world):
    """A network that knows each pair of neighbours, and nothing else: what rows of near variables teach."""

    def network(tokens):
        count = len(world.given)
        latest = jnp.broadcast_to(world.marginal(jnp.arange(count))[None], (len(tokens), count))
        logits = []
        for at in range(tokens.shape[1]):
            variable, value = tokens[:, at] // 2, tokens[:, at] % 2
            known = (tokens[:, at] < 2 * count)[:, None]
            variable = jnp.minimum(variable, count - 1)
            near = world.distance[variable] == 1
            told = world.conditional(jnp.arange(count)[None], variable[:, None], value[:, None])
            latest = jnp.where(near & known, told, latest)
            chance = jnp.stack([1 - latest, latest], axis=-1) * jnp.where(near, 1.0, 1e-9)[..., None]
            logits.append(jnp.pad(jnp.log(chance).reshape(len(tokens), -1), ((0, 0), (0, count + 1))))
        return jnp.stack(logits, axis=1)

    return network


def test_what_knows_neighbours_only_answers_by_the_marginal_at_once_and_rightly_in_steps():
    """The theorem of the paper for chains, with the sums that samples stand for."""
    task = jg.tasks.TreeNetwork(variables=8, pairs=4, apart=4, longest=6, train_rows=10, test_rows=2)
    world = jax.jit(task.world)(KEY)
    errors = {}
    for name, pairs in (("held_out", world.held_out), ("train", world.adjacent)):
        probe = StepByStep(samples=300)
        found = jax.jit(lambda pairs: probe.errors(task, world, pairs, neighbours(world), KEY))(pairs)  # noqa: B023
        errors |= {f"{name}/{k}": float(v.mean()) for k, v in found.items()}
    assert errors["held_out/direct"] == pytest.approx(errors["held_out/marginal"], rel=1e-4)
    assert errors["held_out/marginal"] > 0.01
    assert errors["held_out/scaffold"] < 1e-3
    assert errors["held_out/negative"] > 0.5 * errors["held_out/marginal"]
    assert errors["train/direct"] < 1e-9
    assert errors["held_out/free"] < 0.5 * errors["held_out/direct"]
    assert errors["held_out/intermediate"] >= 1
    assert errors["train/marginal"] > 0.01


def test_between_two_variables_are_those_on_the_way_from_the_condition():
    world = jax.jit(SMALL.world)(KEY)
    found = path(world, jnp.array([4, 0, 2]), jnp.array([1, 3, 3]))
    assert found.tolist() == [[2, 3, 6, 6, 6, 6], [2, 1, 6, 6, 6, 6], [6] * 6]


@pytest.mark.parametrize(("field", "value"), [("pairs", 5), ("apart", 4), ("longest", 7), ("variables", 3)])
def test_worlds_that_cannot_be_are_refused(field, value):
    with pytest.raises(FieldError, match=field):
        jg.Experiment(
            task=SMALL.replace(**{field: value}),
            model=jg.models.Decoder(width=8, heads=2),
            loss=jg.losses.CrossEntropy(),
            optimizer=jg.optimizers.AdamW(),
        )


def test_the_probe_measures_a_run_at_each_evaluation():
    base = jg.Experiment(
        task=jg.tasks.TreeNetwork(variables=8, pairs=2, apart=2, longest=4, worlds=2, train_rows=9, test_rows=3),
        model=jg.models.Decoder(width=8, heads=2, layers=1, mlp_width=8),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(),
        training=jg.Training(steps=2, evaluate_every=2, probes=("loss", "metrics", StepByStep(samples=2))),
    )
    curves = jg.train(base)
    for name in ("direct", "scaffold", "negative", "free", "marginal"):
        for pairs in ("held_out", "train"):
            assert ((curves[f"{pairs}/{name}"] >= 0) & (curves[f"{pairs}/{name}"] <= 1)).all()
    other = jg.tasks.TwoHop(entities=4, relations=6, degree=3, ratio=1.0, largest=1.0, test_rows=3, ood_rows=2)
    with pytest.raises(FieldError, match=r"StepByStep.*needs the task TreeNetwork"):
        jg.train(base.override({"task": other}))
