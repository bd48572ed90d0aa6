"""Two streams as one task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import training

COPY = jg.tasks.CopyString(alphabet=4, longest=3, furthest=5, rows_each=2)
BACK = jg.tasks.CopyString(alphabet=4, longest=6, furthest=7, rows_each=3, order="reversed", times=2)


def run(share=0.25, **more):
    return jg.Experiment(
        task=jg.tasks.Mixture(first=COPY, second=BACK, share=share),
        model=jg.models.Decoder(width=8, heads=2, positions=jg.positions.NoPositions()),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(),
        training=jg.Training(steps=4, evaluate_every=2, batch_size=8, stop_metric=None),
    ).override(more)


def rows_of(inputs, labels, weights):
    """Each row's tokens up to the last label that counts."""
    ends = [int(np.max(np.flatnonzero(w))) + 1 for w in weights]
    return [(tuple(i[:end].tolist()), tuple(y[:end].tolist())) for i, y, end in zip(inputs, labels, ends)]


def plain(examples):
    return rows_of(*(np.asarray(getattr(examples, name)) for name in ("inputs", "labels", "weights")))


def test_tables_hold_the_rows_of_both_split_by_split():
    one = run()
    data = training.load(training.numbers(one), training.Rows.of(one))
    found = rows_of(*(np.asarray(a) for a in (data.inputs, data.labels, data.weights)))
    keys = jax.random.split(training.stream(one.drawn_from, training.data.DATA))
    for which, task, key in (("first", COPY, keys[0]), ("second", BACK, keys[1])):
        table = task.examples(key)
        whole, count = plain(table), task.rows()
        expected = {"train": whole[: count["train"]], "test": whole[count["train"] :]}
        for split, rows in expected.items():
            mask = np.asarray(data.splits[f"{which}_{split}"])
            assert [found[i] for i in np.flatnonzero(mask)] == rows
            assert not (mask & ~np.asarray(data.splits[split])).any()
        longest = np.asarray(data.splits[f"{which}_length_{task.furthest}"])
        assert [found[i] for i in np.flatnonzero(longest)] == whole[-task.rows_each :]
    assert {"train", "test", "first_length_1"} <= {*data.splits}
    assert one.task.rows() == {"train": 3 * 2 + 6 * 3, "test": 2 * 2 + 3}


def test_a_share_of_the_rows_of_a_step_is_of_the_second():
    for share, low, high in ((0.0, 0, 0), (0.25, 0.2, 0.3), (1.0, 1, 1)):
        task = jg.tasks.Mixture(first=COPY, second=BACK, share=share)
        drawn = jax.jit(lambda key, task=task: task.draw(key, jnp.int32(0), 2000))(jax.random.key(3))
        said = plain(drawn)
        separator = COPY.symbols + 1
        twice = [len(inputs) - inputs.index(separator) >= 2 * inputs.index(separator) - 1 for inputs, _ in said]
        assert low <= np.mean(twice) <= high


def test_it_trains_as_the_stream_that_it_is_all_of():
    parts = {"task": jg.tasks.Mixture(first=BACK, second=BACK, share=0.0), "training.dtype": "float64"}
    found = jg.train(run().override(parts))
    assert np.isfinite(found["test/loss"]).all()
    assert found["first_test/loss"][-1] < found["first_test/loss"][0]
    assert run(0.5).signature == run(0.25).signature


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (jg.tasks.ModularAddition(p=5), "must be a stream"),
        (jg.tasks.CopyString(alphabet=4, longest=4, furthest=5, buckets=2), "must be a stream that draws"),
    ],
)
def test_what_cannot_be_mixed_is_refused(part, why):
    with pytest.raises(jg.FieldError, match=why):
        run(**{"task": jg.tasks.Mixture(first=COPY, second=part)})
