"""What a decoder's residual stream says."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import probes

TASK = jg.tasks.TwoHop(entities=6, relations=8, degree=4, ratio=1.0, largest=2.0, test_rows=4, ood_rows=3)


def run(model, *measured, task=TASK):
    return jg.Experiment(
        task=task,
        model=model,
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(),
        training=jg.Training(steps=20, evaluate_every=10, stop_metric=None, probes=("loss", "metrics", *measured)),
    )


def test_read_out_after_all_blocks_it_is_the_network():
    model = jg.models.Decoder(width=8, heads=2, layers=2)
    found = jg.train(run(model, probes.LogitLens(layers=2), probes.LogitLens(layers=1)))
    metrics = [name for name in found if name.count("/") == 1 and name.endswith(("accuracy", "exact_match"))]
    assert "ood/exact_match" in metrics
    for name in metrics:
        np.testing.assert_array_equal(found[f"lens_2/{name}"], found[name])
    assert any((found[f"lens_1/{name}"] != found[name]).any() for name in metrics)


def seen(stream, labels, split, weights=None):
    """An evaluation whose decoder has embeddings only: the stream is what tokens, each of its own, embed to."""
    rows, length, width = stream.shape
    model = jg.models.Decoder(width=width, heads=1, layers=1, mlp_width=1, positions=None)
    task = SimpleNamespace(vocabulary=rows * length, outputs=int(labels.max()) + 1)
    tokens = np.arange(rows * length).reshape(rows, length)
    bound = jg.models.bind(model, task)
    params = jax.tree.map(np.zeros_like, bound.init(jax.random.key(0), tokens)["params"])
    params["embedding"] = stream.reshape(-1, width)
    experiment = SimpleNamespace(model=model, task=task)
    return SimpleNamespace(
        experiment=experiment, params=params, inputs=tokens, labels=labels, splits=split, weights=weights
    )


def test_an_answer_is_read_where_it_stands_linearly_and_nowhere_else():
    rng = np.random.default_rng(0)
    rows, train = 400, np.arange(400) < 300
    answer = rng.integers(0, 3, rows)
    stream = rng.normal(size=(rows, 2, 6)).astype(np.float32)
    stream[:, 0, :3] += 4 * np.eye(3, dtype=np.float32)[answer]
    splits = {"train": jnp.asarray(train), "test": jnp.asarray(~train)}
    labels = np.stack([np.zeros(rows, int), answer, np.zeros(rows, int)], 1)
    weights = np.tile([1.0, 1.0, 0.0], (rows, 1))  # the last label is padding
    for position, low, high in ((0, 0.97, 1.0), (1, 0.2, 0.5), (-2, 0.97, 1.0)):
        measured = probes.LinearRead(layers=1, position=position).measure(seen(stream, labels, splits, weights))
        assert {*measured} == {f"linear_read_1_{position}/{split}" for split in ("train", "test")}
        assert all(low <= float(value) <= high for value in measured.values())
    ends = np.concatenate([labels[:, :2], np.full((rows, 1), 2)], 1)
    whole = seen(stream, ends, splits, np.ones((rows, 3)))
    assert float(probes.LinearRead(position=1).measure(whole)["linear_read_1_1/test"]) == 1.0  # all end alike
    assert float(probes.LinearRead(position=1, label=-2).measure(whole)["linear_read_1_1/test"]) < 0.5
    assert float(probes.LinearRead(position=0, label=-2).measure(whole)["linear_read_1_0/test"]) > 0.97
    with pytest.raises(jg.FieldError, match="rows are so long"):
        probes.LinearRead(position=2).measure(seen(stream, labels, splits, weights))


def test_rows_that_were_fitted_do_not_count():
    """With as many dimensions as rows all fitted ones are right, and others are guessed."""
    rng = np.random.default_rng(1)
    rows = 120
    stream, answer = rng.normal(size=(rows, 1, 60)).astype(np.float32), rng.integers(0, 2, (rows, 1))
    splits = {"train": jnp.ones(rows, bool)}
    assert 0.2 < float(probes.LinearRead().measure(seen(stream, answer, splits))["linear_read_1_-1/train"]) < 0.8


@pytest.mark.parametrize("kind", [probes.LogitLens, probes.LinearRead, probes.PositionFit])
def test_who_has_no_such_block_is_refused(kind):
    one_answer = jg.tasks.ModularAddition(p=5)
    for wrong in (
        run(jg.models.Decoder(width=8, heads=2, layers=2), kind(layers=3)),
        run(jg.models.Transformer(width=8, heads=2), kind(layers=1), task=one_answer),
    ):
        with pytest.raises(jg.FieldError, match="needs a Decoder with as many"):
            jg.train(wrong)
