"""What a step trains on in place of the rows of a table."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from examples import example
from jaxgen import training
from sweeps.execution.rehearsal import rehearse


@flax.struct.dataclass
class Wrong(jg.tasks.ModularAddition):
    """Labels (a + 2 b) mod p in the table itself."""

    def examples(self, key):
        found = super().examples(key)
        return found.replace(labels=(found.labels + found.inputs[:, 1]) % self.p)


@flax.struct.dataclass
class Practised(jg.tasks.ModularAddition):
    """Whatever `made` makes of a step's rows."""

    made: str = jg.static("shorter")

    def practice(self, key, step, examples):
        if self.made == "shorter":
            return jax.tree.map(lambda a: a[1:], examples)
        if self.made == "real":
            return examples.replace(inputs=examples.inputs.astype(jnp.float32))
        if self.made == "labels":
            return examples.replace(labels=examples.labels[1:])
        return examples.labels


@flax.struct.dataclass
class Weighty(jg.tasks.ModularAddition):
    """Rows weigh 1 in one half of the steps and 0 but for the first in the other; mixtures are drawn by the key."""

    def practice(self, key, step, examples):
        first = jnp.cumsum(examples.splits["train"].astype(jnp.int32)) == 1
        alone = (first & examples.splits["train"]).astype(jnp.float32)
        drawn = jax.random.uniform(key, alone.shape, jnp.float32)
        return examples.replace(weights=jnp.where(step % 2 == 0, alone, drawn))


def run(task, **changes):
    return jg.Experiment(
        task=task,
        model=jg.models.QuadraticMLP(width=6),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(),
        training=jg.Training(steps=8, evaluate_every=4, **changes),
    )


def weights(experiment):
    return np.concatenate([np.ravel(w) for w in jax.tree.leaves(training.trained(experiment)[1].params)])


@pytest.mark.parametrize(
    ("p", "changes"),  # at once, and in passes
    [
        (7, {"batch_size": 7}),
        (13, {}),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((7, {}), (13, {"batch_size": 7}))),
    ],
)
def test_a_step_trains_on_what_practice_makes_and_evaluations_see_the_table(p, changes):
    fields = {"p": p, "train_fraction": 0.6}
    changes = {**changes, "dtype": "float64"}
    late = run(example("late_labels").LateLabels(until=10**9, **fields), **changes)
    right, wrong = (run(kind(**fields), **changes) for kind in (jg.tasks.ModularAddition, Wrong))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-14)  # other programs round otherwise
    close(weights(late), weights(wrong))
    close(weights(late.override({"task.until": 0})), weights(right))
    assert not np.allclose(weights(late.override({"task.until": 4})), weights(right), rtol=1e-3)
    assert jg.train(late)["train/loss"][0] == jg.train(right)["train/loss"][0] != jg.train(wrong)["train/loss"][0]


def test_it_sees_the_step_the_rows_that_count_and_a_key_of_the_step():
    e = run(Weighty(p=5, train_fraction=0.5))
    values, rows = training.numbers(e), training.Rows.of(e)
    data = training.load(values, rows)
    first, second, fourth = (training.buckets(values, data, jnp.int32(step))[0][3] for step in (0, 1, 3))
    assert first.tolist() == [1.0] + [0.0] * (len(first) - 1)
    assert len({*second.tolist()}) == len(second)
    assert not np.array_equal(second, fourth)
    other = training.buckets(values.override({"seed": 1}), data, jnp.int32(1))[0][3]
    assert not np.array_equal(second, other)


def test_a_task_around_it_practises_too():
    late = example("late_labels").LateLabels(p=5, until=10**9)
    for around in (jg.tasks.CorruptedLabels(task=late, share=0.2), jg.tasks.Subset(task=late, share=0.5)):
        plain = around.replace(task=jg.tasks.ModularAddition(p=5))
        assert not np.array_equal(weights(run(around)), weights(run(plain)))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("shorter", r"task = 'Practised': practices on inputs int32 \(\d+, 2\) where int32 \(\d+, 2\) are needed"),
        ("real", r"practices on inputs float32 \(\d+, 2\) where int32"),
        ("labels", r"practices on labels of shape \(\d+,\) where \(\d+,\) is needed"),
        ("array", "task.practice = .*: must give jaxgen.Examples"),
    ],
)
def test_what_is_no_practice_is_refused(made, said):
    with pytest.raises(jg.FieldError, match=said):
        rehearse(run(Practised(p=5, made=made)), seen=True)
