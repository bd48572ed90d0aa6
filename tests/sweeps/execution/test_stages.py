"""Runs that others start from are trained first, each once, and kept."""

import numpy as np
import pytest

import jaxgen as jg
import sweeps
from examples import example
from jaxgen import kernel
from sweeps.execution import engine, launch, stages
from sweeps.execution.replay import replay
from sweeps.storage import checkpoint, weights
from sweeps.storage.store import StoreError
from sweeps.storage.workdir import Workdir

RATES = sweeps.product(sweeps.sweep("start.transforms.0.rate", [0.0, 0.5, 0.9]), sweeps.seeds(2))
FAST = {"width": 2, "intervals": 3, "quiet": True, "devices": 1}


@pytest.fixture
def taken(monkeypatch):
    """The runs that lanes take, in their order."""
    found, assign = [], kernel.Block.assign

    def noted(self, index, run_id, *more, **named):
        found.append(run_id)
        return assign(self, index, run_id, *more, **named)

    monkeypatch.setattr(kernel.Block, "assign", noted)
    return found


def test_each_is_trained_once_before_those_that_start_from_it(staged, tmp_path, taken):
    results = sweeps.run(staged, RATES, tmp_path, **FAST)
    first = sweeps.Results(tmp_path / "parents")
    assert len(taken) == 8
    assert set(taken[:2]) == set(first.runs["run_id"])
    assert set(taken[2:]) == set(results.runs["run_id"])
    assert set(first.runs["seed"]) == {0, 1}
    assert weights.run_ids(Workdir.at(tmp_path).parents) == set(first.runs["run_id"])
    more = sweeps.product(sweeps.sweep("start.transforms.0.rate", [0.0, 0.7]), sweeps.seeds(3))
    sweeps.run(staged, more, tmp_path, **FAST)
    assert len(taken) == 8 + 1 + 4  # one new parent, and four new runs
    for place, found in ((tmp_path, results), (tmp_path / "parents", first)):
        assert replay(place, found.runs["run_id"][0])[0] == []
    plain = jg.train(staged.override({"start.transforms.0.rate": 0.9, "seed": 1}))
    row = results.runs.query("`start.transforms.0.rate` == 0.9 and seed == 1")
    np.testing.assert_allclose(row["final/weight_norm"], plain["weight_norm"][-1], rtol=1e-5)


def test_the_dry_run_tells_of_them_and_a_stored_run_needs_none(staged, tmp_path, taken):
    plan, prediction = launch.foresee(staged, RATES, tmp_path, width=2, devices=1)
    assert (plan.pending, prediction.first) == (6, (2, 40, 1))
    taken.clear()  # what the dry run has timed
    sweeps.run(staged, RATES, tmp_path, **FAST)
    for file in (tmp_path / "parents" / "weights").iterdir():
        file.unlink()
    sweeps.run(staged, RATES, tmp_path, **FAST)
    assert len(taken) == 8
    assert launch.foresee(staged, RATES, tmp_path, width=2, devices=1)[1].first == (0, 0, 0)


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_weights_that_are_gone_or_damaged_are_trained_for_again(staged, tmp_path, taken, damage):
    seeds = sweeps.seeds(2)
    sweeps.run(staged, sweeps.seeds(1), tmp_path, **FAST)
    file = next((tmp_path / "parents" / "weights").iterdir())
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        run = staged.override({"seed": 0})
        with pytest.raises(StoreError, match="launch the sweep again"):
            stages.given(Workdir.at(tmp_path), kernel.Program(run, 1), run)
    taken.clear()
    sweeps.run(staged, sweeps.product(sweeps.sweep("start.transforms.0.rate", [0.5, 0.7]), seeds), tmp_path, **FAST)
    assert len(taken) == 2 + 3
    assert file.read_bytes() == content  # the same bits


def test_a_run_is_replayed_without_the_weights_of_its_parent(staged, tmp_path):
    results = sweeps.run(staged, sweeps.seeds(1), tmp_path, **FAST)
    for file in (tmp_path / "parents" / "weights").iterdir():
        file.write_bytes(b"damaged")
    assert replay(tmp_path, results.runs["run_id"][0])[0] == []


def test_a_signal_that_comes_with_the_last_parent_is_heard(staged, tmp_path, monkeypatch):
    run = engine.Engine.run
    monkeypatch.setattr(engine.Engine, "run", lambda self: run(self) or 15)
    assert sweeps.run(staged, RATES, tmp_path, **FAST).stopped_by == 15
    assert not len(sweeps.Results(tmp_path).runs)
    assert len(sweeps.Results(tmp_path / "parents").runs) == 2


def test_a_launch_that_ended_among_parents_goes_on_there(staged, tmp_path, taken, monkeypatch):
    whole = sweeps.run(staged, RATES, tmp_path / "whole", **FAST).runs
    harvest = kernel.Block.harvest

    def dies(self):
        if len(taken) > 9:
            raise KeyboardInterrupt
        return harvest(self)

    with monkeypatch.context() as patch:
        patch.setattr(kernel.Block, "harvest", dies)
        with pytest.raises(KeyboardInterrupt):
            sweeps.run(staged, RATES, tmp_path / "cut", **FAST)
    again = sweeps.run(staged, RATES, tmp_path / "cut", **FAST).runs
    assert whole.drop(columns=[]).equals(again)


def test_runs_without_steps_are_drawn_like_any_others(tmp_path):
    base = example("closed_form").base
    axes = sweeps.product(
        sweeps.sweep("model.width", [4, 64]), sweeps.sweep("model.noise", [0.0, 3.0]), sweeps.seeds(3)
    )
    results = sweeps.run(base, axes, tmp_path, **FAST)
    assert set(results.runs["status"]) == {"exact"}
    diagram = results.phase_diagram("model.width", "model.noise", threshold=0.9)
    assert diagram.probability.tolist() == [[0, 1], [0, 0]]
    assert diagram.resolved.all()
    assert not diagram.undecided.any()
    diagram.plot(tmp_path / "figure.svg")
    diagram.page(tmp_path / "page.html")
    endings = results.phase_diagram("model.width", "model.noise", labels="endings")
    assert endings.labelling.names[endings.majority.max()] == "exact"


@pytest.mark.slow
def test_rows_that_a_parent_chose_are_the_same_after_a_stop(tmp_path):
    module, short = example("data_diet"), {"training.steps": 40, "training.evaluate_every": 4}
    first = module.first.override({"task.task.p": 5, "task.share": 0.4, "model.width": 6, **short})
    start = module.start.replace(parent=first)
    base = module.base.override({"task.task": first.task, "model.width": 6, "start": start, **short})
    shares = sweeps.product(sweeps.sweep("task.share", [0.3, 0.7]), sweeps.seeds(2))
    for name in ("whole", "cut"):
        sweeps.run(base, sweeps.seeds(2), tmp_path / name, **FAST)  # trains the parents
    whole = sweeps.run(base, shares, tmp_path / "whole", **FAST)
    sweeps.run(base, shares, tmp_path / "cut", **{**FAST, "intervals": 1}, stop_after_hours=1e-9)
    assert checkpoint.load(Workdir.at(tmp_path / "cut"))
    again = sweeps.run(base, shares, tmp_path / "cut", **FAST)
    assert whole.runs.equals(again.runs)
    assert replay(tmp_path / "cut", again.runs["run_id"][0])[0] == []


def test_grandparents(staged, tmp_path, taken):
    child = staged.override({"start": jg.starts.FromRun(parent=staged)})
    results = sweeps.run(child, sweeps.seeds(1), tmp_path, **FAST)
    assert len(taken) == 3
    assert taken[-1] == results.runs["run_id"][0]
    assert taken[0] == staged.start.parent.run_id


def test_a_parent_that_does_not_fit_is_refused_before_anything_is_written(staged, tmp_path):
    with pytest.raises(jg.FieldError, match=r"start.parent = 'params.Linear_0.kernel': .* float32 \(10, 9\)"):
        sweeps.run(staged, sweeps.sweep("start.parent.model.width", [9]), tmp_path / "new", **FAST)
    with pytest.raises(jg.FieldError, match=r"training\.stop_metric"):
        sweeps.run(staged, sweeps.sweep("start.parent.training.stop_metric", ["r2"]), tmp_path / "new", **FAST)
    assert not (tmp_path / "new").exists()
