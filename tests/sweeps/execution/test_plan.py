import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps.execution import profile, widths
from sweeps.execution.plan import make_plan, predict


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


def test_cost_grows_with_rows_and_is_foretold_without_training(toy):
    plan = make_plan(toy, sweeps.sweep("task.train_fraction", [0.1, 0.9]))
    foretold = predict(plan, {}, 2, devices=1)
    by_rows = dict(zip([g.rows for g in plan.groups], foretold.milliseconds))
    assert 0 < by_rows[4] < by_rows[44]
    assert foretold.seconds > 0
    assert foretold.bytes > 2 * 4 * 3 * 12 * 21  # parameters and two moments, in two blocks
    assert foretold.widths == [2, 2]


def test_cost_is_foretold_at_the_width_that_will_train(toy, monkeypatch):
    asked = []

    def measure(experiment, devices, width):
        asked.append((len(devices), width))
        return profile.Measured(width, 2.0, 0.0, 100 * width)

    monkeypatch.setattr("sweeps.execution.plan.measured", measure)
    plan, device = make_plan(toy, sweeps.sweep("task.train_fraction", [0.1, 0.9])), jax.devices()[0]
    by_rule = predict(plan, {})
    assert by_rule.widths == [widths.rule(g.template, device) for g in plan.groups] == [8, 8]
    known = widths.entry(plan.groups[0].template, device)
    held = predict(plan, {known: {"lanes": 4, "by": "tuned"}})
    assert held.widths == [4, 8]
    assert (by_rule.memory[0], held.memory[0]) == (800, 400)
    one, two = predict(plan, {}, 2, devices=1), predict(plan, {}, 2, devices=2)
    assert (one.devices, two.devices) == (1, 2)
    assert one.seconds == pytest.approx(2 * two.seconds)
    assert asked == [(2, 8), (2, 4), (1, 2), (2, 2)]


def test_what_might_not_fit_is_foretold_without_being_tried(toy, monkeypatch):
    def measure(*_):
        raise AssertionError("would fill the memory")

    monkeypatch.setattr("sweeps.execution.profile._measure_width", measure)
    monkeypatch.setattr("sweeps.execution.plan.device_bytes", lambda _: 2**24)
    plan = make_plan(toy.override({"model.width": 10**4}), sweeps.seeds(1))
    foretold = predict(plan, {})
    assert foretold.bytes > 2 * 4 * 3 * 10**4 * 21
    assert foretold.seconds > 0
