"""Parts of a task's train rows: drawn, or by what another run keeps for each row."""

import flax.struct
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lanes import given as given_to
from lanes import train_in_block

import jaxgen as jg
from examples import example
from jaxgen import training
from jaxgen.kernel import Program
from jaxgen.starts import FromRun, Rewind
from sweeps.execution.rehearsal import rehearse

ADDITION = jg.tasks.ModularAddition(p=5, train_fraction=0.6)  # 15 of 25 rows
KEY = jax.random.key(3, impl="threefry2x32")


def pairs(inputs):
    return [tuple(row) for row in np.asarray(inputs).tolist()]


def table(task, scores=None):
    counts = {name: jnp.int32(n) for name, n in {**task.rows(), **task.counts()}.items()}
    return task.examples(KEY, counts, {} if scores is None else {"score": jnp.asarray(scores)})


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    share=st.sampled_from([0.01, 0.2, 0.4, 0.99, 1.0]),
    scores=st.lists(st.integers(-3, 3), min_size=25, max_size=25),
    largest=st.booleans(),
)
def test_the_rows_with_the_largest_numbers_stay(share, scores, largest):
    task = jg.tasks.Subset(task=ADDITION, share=share, by="score", largest=largest)
    kept = task.rows()["train"]
    assert task.rows() == {"train": kept, "left_out": 15 - kept, "test": 10}
    assert kept == max(1, int(share * 15 + 1e-9))
    found, whole = table(task, np.float32(scores)), pairs(ADDITION.examples(KEY).inputs)
    rows = pairs(found.inputs)
    assert rows[15:] == whole[15:]  # the test rows, in their order
    assert sorted(rows[:15]) == sorted(whole[:15])
    number = dict(zip(whole, scores if largest else [-score for score in scores]))
    assert min(number[row] for row in rows[:kept]) >= max([number[row] for row in rows[kept:15]], default=-9)
    np.testing.assert_array_equal(found.labels, np.asarray(found.inputs).sum(1) % 5)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("largest", [True, False])
def test_other_splits_stay_where_they_are_whatever_the_numbers_are(odd, largest):
    scores = np.arange(25.0)
    scores[[0, 7, 20]] = odd
    found = pairs(table(jg.tasks.Subset(task=ADDITION, share=0.4, by="score", largest=largest), scores).inputs)
    whole = pairs(ADDITION.examples(KEY).inputs)
    assert found[15:] == whole[15:]
    assert set(found[:15]) == set(whole[:15])
    if np.isnan(odd):
        assert {whole[0], whole[7]} == set(found[13:15])  # the last to stay


def test_rows_that_are_drawn_are_among_those_of_a_larger_share_and_differ_by_key():
    small, large = (jg.tasks.Subset(task=ADDITION, share=share) for share in (0.2, 0.6))
    kept = pairs(table(small).inputs)[:3]
    assert set(kept) < set(pairs(table(large).inputs)[:9])
    assert kept != pairs(ADDITION.examples(KEY).inputs)[:3]
    ties = jg.tasks.Subset(task=ADDITION, share=0.2, by="score")
    assert pairs(table(ties, np.zeros(25)).inputs)[:3] == kept  # of equal numbers any


def test_masks_and_weights_go_with_their_rows():
    task = jg.tasks.Subset(task=jg.tasks.CorruptedLabels(task=ADDITION, share=0.5, true_may_recur=False), share=0.4)
    found = table(task)
    true = np.asarray(found.inputs).sum(1) % 5
    np.testing.assert_array_equal(found.splits["corrupted"], found.labels != true)
    assert found.splits["corrupted"].sum() == 7


@flax.struct.dataclass
class Beyond(jg.tasks.ModularAddition):
    """With a label that is no class."""

    def examples(self, key):
        found = super().examples(key)
        return found.replace(labels=found.labels.at[0].set(self.p))


def test_tasks_around_a_task_with_classes_have_classes(base):
    part = jg.tasks.Subset(task=ADDITION, share=0.5)
    assert jg.tasks.has_classes(jg.tasks.CorruptedLabels(task=part))
    assert not jg.tasks.has_classes(jg.tasks.Subset(task=example("regression").Teacher()))
    assert base.override({"task": jg.tasks.CorruptedLabels(task=part, share=0.2)}).task.rows()["left_out"] == 8
    for around in (jg.tasks.Subset, jg.tasks.CorruptedLabels):
        with pytest.raises(jg.FieldError, match="has labels from 0 to 5: outputs = 5 allows 0 to 4"):
            rehearse(
                base.override({"task": around(task=Beyond(p=5), share=1.0 if around is jg.tasks.Subset else 0.0)}),
                False,
            )


@pytest.fixture
def base():
    return example("data_diet").first.override({"training.probes": ("loss", "metrics")})


@pytest.fixture
def diet():
    """A run on the rows that a first run found to be easiest."""
    module, short = example("data_diet"), {"training.steps": 8, "training.evaluate_every": 4}
    first = module.first.override({"task.task.p": 5, "task.share": 0.4, "model.width": 6, **short})
    start = FromRun(parent=first, transforms=(Rewind(),))
    return module.base.override({"task.task": first.task, "model.width": 9, "start": start, **short, "task.share": 0.5})


def test_a_run_trains_on_the_rows_that_another_run_chose(diet):
    first = diet.start.run(diet)
    state, values = training.trained(first)[1], training.numbers(first)
    scores = np.asarray(state.memory["2"])
    data = training.load(values, training.Rows.of(first))
    easiest = np.argsort(scores[:20], kind="stable")[:10]
    kept = training.load(training.numbers(diet), training.Rows.of(diet), given_to(diet))
    assert set(pairs(kept.inputs)[:10]) == set(pairs(np.asarray(data.inputs)[easiest]))
    plain, block = jg.train(diet), train_in_block(Program(diet, 2), {1: diet})[1]
    np.testing.assert_allclose(block.curves["train/loss"], plain["train/loss"], rtol=1e-5)
    assert plain["left_out/accuracy"].shape == plain["train/accuracy"].shape
    for name, value in {"task.largest": True, "start.parent.training.steps": 4}.items():
        assert jg.train(diet.override({name: value}))["train/loss"][0] != plain["train/loss"][0]


def test_weights_begin_anew_and_may_be_of_other_shapes(diet):
    plain = diet.override({"start": None, "task": jg.tasks.ModularAddition(p=5)})
    drawn = training.init(training.numbers(plain), training.load(training.numbers(plain), training.Rows.of(plain)))
    begun = training.trained(diet.override({"training.steps": 0}))[1]
    for found, wanted in zip(jax.tree.leaves(begun.params), jax.tree.leaves(drawn.params)):
        np.testing.assert_array_equal(found, wanted)


def test_what_is_kept_at_a_probes_own_cadence(diet):
    first = diet.start.parent
    seldom = jg.probes.Every(first.training.probes[2], 8)
    rare = diet.override({"start.parent.training.probes": ("loss", "metrics", seldom)})
    np.testing.assert_array_equal(jg.train(rare)["train/loss"], jg.train(diet)["train/loss"])


@flax.struct.dataclass
class Other(example("data_diet").EL2N):
    """Keeps the same name, measured as another."""

    def measure(self, e, memory):
        return {"other": memory[0]}, memory


TWO = Other(), example("data_diet").EL2N()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": None}, r"task.by = 'el2n': is not among the arrays that the run starts with \(none: `start` must"),
        ({"task.by": "other"}, r"task.by = 'other': is not among .* \(el2n\)"),
        ({"start.parent.task.task.p": 7}, r"task.by = 'el2n': is of shape \(49,\) where \(25,\) is needed"),
        ({"start.same_seed": False, "seed": 3}, r"start.parent = .*: has rows of split seed 0"),
        ({"start.parent.task": jg.tasks.ModularSubtraction(p=5)}, "start.parent.task = 'ModularSubtraction': must be"),
        ({"start.parent.training.probes": ("loss", "metrics", *TWO)}, "training.probes = 'EL2N': keeps 'el2n' as"),
        ({"task.share": 0.0}, r"task.share = 0.0: must be in \(0, 1\]"),
        ({"task.task": example("stream").OnlineParity(bits=5)}, "task.task = 'OnlineParity': draws fresh rows"),
    ],
)
def test_what_cannot_be_a_part_is_refused(diet, changes, said):
    with pytest.raises(jg.FieldError, match=said):
        training.shapes(diet.override(changes))
