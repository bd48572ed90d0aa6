"""Weights of labels and rows, and labels at many positions."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from examples import example
from jaxgen import training
from jaxgen.probes.evaluation import masked_mean

GIVEN = jg.Training(steps=20, evaluate_every=10)


@flax.struct.dataclass
class OnePosition(jg.tasks.ModularAddition):
    """The same rows with labels (rows, 1), each of weight 1."""

    def examples(self, key):
        found = super().examples(key)
        return jg.Examples(found.inputs, found.labels[:, None], weights=jnp.ones((self.size(), 1), jnp.float32))


class AtOnePosition(nn.Module):
    width: int = 12
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        inner = jg.models.QuadraticMLP(self.width, vocabulary=self.vocabulary, outputs=self.outputs)
        return nn.share_scope(self, inner) or inner(x)[:, None]


def test_labels_of_one_position_and_weight_1_train_to_the_same_bits(toy):
    plain = jg.train(toy.override({"training": GIVEN}))
    there = toy.override({"task": OnePosition(p=7, train_fraction=0.6), "model": AtOnePosition(), "training": GIVEN})
    found = jg.train(there)
    for name, values in plain.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    np.testing.assert_array_equal(found["test/exact_match"], plain["test/accuracy"])


@flax.struct.dataclass
class Weighted(jg.tasks.ModularAddition):
    """Rows weigh `weight` where a is even, else 1."""

    weight: float = jg.leaf(1.0, "[0, inf)")

    def examples(self, key):
        found = super().examples(key)
        return jg.Examples(found.inputs, found.labels, weights=jnp.where(found.inputs[:, 0] % 2 == 0, self.weight, 1.0))


@pytest.mark.parametrize("weight", [0.0, 2.5])
def test_the_gradient_is_that_of_the_weighted_mean(toy, weight):
    run = toy.override({"task": Weighted(p=7, train_fraction=0.6, weight=weight)})
    values, rows = training.numbers(run), training.Rows.of(run)
    data = training.load(values, rows)
    state = training.init(values, data)
    found = training.gradient(values, data, state)[0]
    inputs, labels = data.inputs[:29], data.labels[:29]
    weights = np.where(np.asarray(inputs[:, 0]) % 2 == 0, weight, 1.0).astype(np.float32)

    def mean(params):
        losses = run.loss(training.apply(values, params, inputs), labels)
        return jnp.sum(losses * weights) / weights.sum()

    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(jax.grad(mean)(state.params))):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)


def test_weights_go_with_the_rows_of_a_minibatch(toy):
    run = toy.override({"task": Weighted(p=7, train_fraction=0.6, weight=3.0), "training.batch_size": 7})
    values = training.numbers(run)
    inputs, _, mask, weights = training.buckets(values, training.load(values, training.Rows.of(run)), jnp.int32(2))[0]
    assert mask.all()
    np.testing.assert_array_equal(weights, np.where(np.asarray(inputs[:, 0]) % 2 == 0, 3.0, 1.0))


def test_what_has_no_weight_may_be_anything():
    values, mask = jnp.array([[1.0, jnp.inf], [3.0, 5.0], [jnp.nan, 0.0]]), jnp.array([True, True, False])
    weights = jnp.array([[1.0, 0.0], [1.0, 2.0], [1.0, 1.0]])
    assert masked_mean(values, mask, weights) == (1 + 3 + 2 * 5) / 4
    assert masked_mean(jnp.array([1.0, 2.0, 3.0]), mask, weights) == 1.5  # each row that has a weight counts
    assert np.isnan(masked_mean(values, mask, jnp.zeros_like(weights)))
    assert jax.grad(lambda v: masked_mean(v, mask, weights))(values)[0].tolist() == [0.25, 0]


def test_metrics_of_sequences_by_hand():
    sequence = example("sequence")
    run = sequence.base.override({"task.rows_trained": 16, "training": GIVEN, "optimizer.learning_rate": 0.03})
    values, rows = training.numbers(run), training.Rows.of(run)
    data = training.load(values, rows)
    state = training.trained(run)[1]
    measured, _ = training.evaluate(values, data, state)
    outputs = np.asarray(training.apply(values, state.params, data.inputs))
    right, there = outputs.argmax(-1) == np.asarray(data.labels), np.asarray(data.weights) > 0
    assert 0 < there[:16].sum() < there[:16].size
    for split, part in (("train", slice(0, 16)), ("test", slice(16, None))):
        np.testing.assert_allclose(measured[f"{split}/accuracy"], right[part][there[part]].mean(), rtol=1e-6)
        whole = (right | ~there)[part].all(1)
        assert right[part].all(1).mean() < whole.mean()
        np.testing.assert_allclose(measured[f"{split}/exact_match"], whole.mean(), rtol=1e-6)
        logs = jax.nn.log_softmax(outputs[part])
        losses = -np.take_along_axis(np.asarray(logs), np.asarray(data.labels)[part][..., None], -1)[..., 0]
        np.testing.assert_allclose(measured[f"{split}/loss"], losses[there[part]].mean(), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 10, 49, 1000])
def test_evaluations_in_slices_are_those_of_all_rows(toy, size):
    probes = ("loss", "metrics", "zeros", "collapse", "logit_rms", "weight_norm")
    run = toy.override({"task": Weighted(p=7, train_fraction=0.6, weight=3.0), "training.probes": probes})
    whole, sliced = (jg.train(run.override({"training.evaluation_rows": rows})) for rows in (None, size))
    for name, values in whole.items():
        np.testing.assert_allclose(sliced[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_slices_are_what_is_in_memory(toy):
    run = toy.override({"training.evaluation_rows": 7})
    values, rows = training.numbers(run), training.Rows.of(run)
    data = jax.eval_shape(training.load, values, rows)
    state = jax.eval_shape(training.init, values, data)
    text = str(jax.make_jaxpr(lambda e, d, s: training.evaluate(e, d, s)[0])(values, data, state))
    assert "f32[7,7]" in text  # outputs
    assert "f32[49,7]" not in text
