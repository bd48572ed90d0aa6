import flax.linen as nn
import flax.struct
import jax.numpy as jnp
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps.execution import profile
from sweeps.execution.plan import make_plan, told_apart


def test_runs_are_grouped_by_structure_and_capacity(toy):
    sweep = sweeps.product(
        sweeps.sweep("model.width", [8, 12]),
        sweeps.sweep("task.train_fraction", [0.07, 0.09, 0.6]),
        sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]),
    )
    plan = make_plan(toy, sweep)
    assert sorted((g.template.model.width, g.rows, len(g.pending)) for g in plan.groups) == [
        (8, 4, 4),
        (8, 32, 2),
        (12, 4, 4),
        (12, 32, 2),
    ]
    assert plan.pending == 12
    assert plan.steps == 1200
    for group in plan.groups:
        assert len({plan.experiment(i).signature for _, i in group.pending}) == 1
        assert all(plan.experiment(i).run_id == run_id for run_id, i in group.pending)
    padding = {g.rows: g.padding for g in plan.groups}
    assert padding[4] == pytest.approx(1 - (3 + 4) / 8)
    assert padding[32] == pytest.approx(1 - 29 / 32)


def test_minibatches_waste_nothing(toy):
    (group,) = make_plan(toy, sweeps.fixed("training.batch_size", 8)).groups
    assert toy.task.rows()["train"] > 8
    assert (group.rows, group.padding) == (8, 0)


def test_train_fractions_of_a_table_are_one_program(toy):
    run = toy.override({"task.p": 13})
    (group,) = make_plan(run, sweeps.sweep("task.train_fraction", [0.3, 0.55])).groups
    assert group.rows == (55 + 99) / 2
    assert group.padding == pytest.approx(1 - (50 + 92) / (55 + 99))
    least, most = (profile.step_flops(run.override({"task.train_fraction": f})) for f in (0.3, 0.55))
    assert group.flops == pytest.approx((least + most) / 2, rel=0.01)


def test_starts_are_programs_of_their_own(toy):
    solved = jg.starts.Solve(parameters=("Linear_1",))
    plan = make_plan(toy.override({"training.steps": 0}), sweeps.sweep("start", [None, solved]))
    assert sorted(str(g.template.start) for g in plan.groups) == ["None", str(solved)]


def test_a_point_that_occurs_twice_is_one_run(toy):
    plan = make_plan(toy, sweeps.chain(sweeps.sweep("seed", [0, 1]), sweeps.sweep("seed", [1, 2])))
    assert (plan.pending, plan.repeated) == (3, 1)


def test_stored_runs_are_dropped(toy):
    plan = make_plan(toy, sweeps.seeds(4))
    plan.drop({toy.override({"seed": 2}).run_id})
    assert plan.pending == 3
    assert plan.steps == 300
    assert len(plan.run_ids) == 4


def test_too_many_programs_are_refused_with_their_number_and_cause(toy):
    sweep = sweeps.product(sweeps.sweep("model.width", list(range(1, 13))), sweeps.seeds(2))
    with pytest.raises(
        FieldError, match=r"12 compiled programs, because of model.width \(12 values\).*--max_compiles=12"
    ):
        make_plan(toy, sweep, max_compiles=10)
    assert make_plan(toy, sweep, max_compiles=12).pending == 24


def test_a_bad_value_deep_in_a_sweep_is_found_before_anything_runs(toy):
    with pytest.raises(FieldError, match=r"task.train_fraction = 1.2: must be in \(0, 1\]"):
        make_plan(toy, sweeps.sweep("task.train_fraction", [0.2, 0.4, 1.2]))


@flax.struct.dataclass
class WrongRows(jg.tasks.ModularAddition):
    """Promises more rows than it has."""

    def rows(self):
        return {"train": 30, "test": 30}


@flax.struct.dataclass
class SwappedSplits(jg.tasks.ModularAddition):
    """Lays its test rows out first."""

    def rows(self):
        return {"test": 20, "train": 29}


@flax.struct.dataclass
class HighLabels(jg.tasks.ModularAddition):
    """Has labels beyond its outputs."""

    def examples(self, key):
        e = super().examples(key)
        return jg.Examples(e.inputs, e.labels + 1)


@flax.struct.dataclass
class ColumnLabels(jg.tasks.ModularAddition):
    """Has labels of shape (rows, 1)."""

    def examples(self, key):
        e = super().examples(key)
        return jg.Examples(e.inputs, e.labels[:, None])


@flax.struct.dataclass
class MeanLoss(jg.losses.CrossEntropy):
    """Averages by itself."""

    def __call__(self, outputs, labels):
        return super().__call__(outputs, labels).mean()


class TwoOutputs(nn.Module):
    """Ignores how many classes there are."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x.astype(jnp.float32))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": WrongRows(p=7)}, r"examples\(\) gives 49 rows where rows\(\) promises 60"),
        ({"task": SwappedSplits(p=7)}, '"train" as its first split'),
        ({"task": HighLabels(p=7)}, "labels from 1 to 7: outputs = 7 allows 0 to 6"),
        ({"task": ColumnLabels(p=7)}, r"where the task needs \(49, 1, 7\)"),
        ({"loss": MeanLoss()}, r"loss = \(\): must give one value per label, shape \(49,\)"),
        ({"model": TwoOutputs()}, r"gives outputs of shape \(49, 2\) where the task needs \(49, 7\)"),
        ({"model.outputs": 3}, "must be at least the task's 7"),
        ({"model.vocabulary": 3}, "must be at least the task's 7"),
        ({"training.stop_splits": ("train", "bogus")}, "must be among train, test"),
    ],
)
def test_what_breaks_its_promise_is_named_before_anything_compiles(toy, changes, said):
    with pytest.raises(FieldError, match=said):
        make_plan(toy.override(changes), sweeps.seeds(1))


@pytest.mark.parametrize("sweep", [[{"seed": 1}], sweeps.chain(), None])
def test_what_is_no_sweep_is_refused(toy, sweep):
    with pytest.raises(FieldError, match="at least one point"):
        make_plan(toy, sweep)


def test_programs_are_told_apart_in_words(toy):
    double = toy.override({"loss.dtype": "float64"})
    stable = toy.override({"loss": jg.losses.StableMaxCrossEntropy(), "model.width": 16})
    runs = [toy, double, stable, toy.override({"optimizer.schedule": jg.schedules.Cosine()})]
    assert told_apart(runs) == [
        "width 12, CrossEntropy, loss.dtype float32, no schedule",
        "width 12, CrossEntropy, loss.dtype float64, no schedule",
        "width 16, StableMaxCrossEntropy, loss.dtype float32, no schedule",
        "width 12, CrossEntropy, loss.dtype float32, Cosine",
    ]
    assert told_apart([toy]) == ["the only program"]
    fractions = [toy.override({"task.train_fraction": f}) for f in (0.1, 0.9)]
    assert told_apart(fractions) == ["up to 4 rows a step", "up to 44 rows a step"]
    perpendicular = [toy.override({"optimizer.perpendicular": p}) for p in (False, True)]
    assert told_apart(perpendicular) == ["not perpendicular", "perpendicular"]


def test_runs_that_are_stored_or_saved_are_counted_by_program(toy):
    plan = make_plan(toy, sweeps.product(sweeps.sweep("model.width", [8, 12]), sweeps.seeds(3)))
    ids = [toy.override({"model.width": w, "seed": s}).run_id for w, s in ((8, 0), (8, 1), (12, 2))]
    plan.drop({ids[0]})
    plan.drop({ids[0]})
    plan.note_saved({*ids[1:], "of another sweep"})
    assert sorted((len(g.pending), g.stored, g.resumed) for g in plan.groups) == [(2, 1, 1), (3, 0, 1)]
