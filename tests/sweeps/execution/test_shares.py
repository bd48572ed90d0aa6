"""A sweep is split by what it is alone: every worker finds the same shares, and together they are the sweep."""

import itertools
import signal
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sweeps
from jaxgen import FieldError
from sweeps import interruptible
from sweeps.execution import launch, shares, stages
from sweeps.execution.options import Options
from sweeps.execution.plan import Group, Plan, make_plan
from sweeps.storage import checkpoint, launches, store
from sweeps.storage.errors import TryAgain, Waits
from sweeps.storage.workdir import Workdir

FAST = {"width": 2, "intervals": 3, "quiet": True, "devices": 1}
GRID = sweeps.product(
    sweeps.sweep("model.width", [8, 12]), sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(3)
)


def bits(workdir):
    return store.read(workdir).sort_by("run_id").drop_columns("provenance").to_pylist()


costs = st.lists(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30).map(np.array), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(costs, st.integers(1, 40))
def test_shares_are_all_balanced_and_keep_programs_together(costs, count):
    found = shares.assign(costs, count)
    assert [len(part) for part in found] == [len(cost) for cost in costs]
    joined, cost = np.concatenate(found), np.concatenate(costs)
    assert ((joined >= 0) & (joined < count)).all()
    assert (np.diff(joined) >= 0).all()  # each share is one stretch of the line
    loads = np.bincount(joined, cost, minlength=count)
    assert loads.max() <= cost.sum() / count * (1 + 2 * shares.NEAR) + cost.max() * (1 + 1e-9)
    compiled = sum(len(set(part.tolist())) for part in found)
    assert compiled <= len(costs) + count - 1


def test_a_cut_close_to_the_end_of_a_program_is_made_there():
    even = [np.ones(100), np.ones(103), np.ones(97)]
    assert [set(part.tolist()) for part in shares.assign(even, 3)] == [{0}, {1}, {2}]
    uneven = [np.ones(100), np.ones(150), np.ones(50)]
    assert [set(part.tolist()) for part in shares.assign(uneven, 3)] == [{0}, {1, 2}, {2}]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 12), st.randoms())
def test_the_union_of_shares_is_the_plan_whatever_is_stored(toy, sizes, count, random):
    def plan():
        groups, numbers = [], itertools.count()
        for size in sizes:
            steps = [100 * (1 + i % 7) for i in range(size)]
            groups.append(Group(toy, [(f"{next(numbers):04}", i) for i in range(size)], [(s, 29, 32) for s in steps]))
        return Plan(toy, sweeps.seeds(1), groups, {r for g in groups for r, _ in g.pending}, 0)

    whole, parts = plan(), [plan().share(i, count) for i in range(count)]
    assert sorted(itertools.chain(*(part.run_ids for part in parts))) == sorted(whole.run_ids)
    stored = {run_id for run_id in whole.run_ids if random.random() < 0.5}
    for i in range(count):
        again = plan().share(i, count)
        assert again.run_ids == parts[i].run_ids
        again.drop(stored)
        assert again.waiting == parts[i].run_ids - stored
        budgets = {run: budget for group in again.groups for run, budget in zip(group.pending, group.budgets)}
        known = {run: budget for group in plan().groups for run, budget in zip(group.pending, group.budgets)}
        assert budgets.items() <= known.items()


def test_what_a_run_is_foretold_to_take_grows_with_its_steps_rows_and_parameters(toy):
    one, steps, rows = shares.seconds(toy, [(100, 29, 32), (1000, 29, 32), (100, 40, 64)])
    assert steps == pytest.approx(10 * one, rel=0.01)
    assert one < rows < 2 * one
    (wide,) = shares.seconds(toy.override({"model.width": 1200}), [(100, 29, 32)])
    parameters = 2 * 7 * 1200 + 1200 * 7
    assert wide == pytest.approx(101 * (1e-5 + 6 * parameters * 32 / 5e10))


def test_shares_of_a_sweep_are_trained_one_by_one_and_equal_the_whole(toy, tmp_path):
    whole = sweeps.run(toy, GRID, tmp_path / "whole", **FAST)
    found = set()
    for i in range(3):
        results = sweeps.run(toy, GRID, tmp_path / "shares", share=(i, 3), **FAST)
        assert len(results.runs) == len(results.run_ids)
        assert not found & results.run_ids
        found |= results.run_ids
    assert found == whole.run_ids
    assert bits(tmp_path / "shares") == bits(tmp_path / "whole")
    assert checkpoint.files(Workdir.at(tmp_path / "shares")) == []
    told = launches.read(Workdir.at(tmp_path / "shares"))
    assert [(one["share"], one["ended"], one["runs"]) for one in told] == [
        (f"{i}of3", "all stored", 12) for i in range(3)
    ]
    names = [path.name for path in store.shards(tmp_path / "shares")]
    assert {name.split("-")[1] for name in names} == {"0of3", "1of3", "2of3"}


def test_a_share_goes_on_where_another_attempt_was_and_leaves_the_others_lanes_alone(toy, tmp_path):
    long = toy.override({"training.steps": 2000, "training.evaluate_every": 100})
    short = {**FAST, "intervals": 1}
    sweeps.run(long, GRID, tmp_path / "whole", **FAST)
    for i in range(2):
        sweeps.run(long, GRID, tmp_path / "cut", share=(i, 2), stop_after_hours=1e-9, **short)
    other = {path.name: path.read_bytes() for path in (tmp_path / "cut" / "inflight").glob("1of2-*")}
    before = {path.name for path in (tmp_path / "cut" / "inflight").glob("0of2-*")}
    assert other
    assert before
    sweeps.run(long, GRID, tmp_path / "cut", share=(0, 2), stop_after_hours=1e-9, **short)
    again = {path.name for path in (tmp_path / "cut" / "inflight").glob("0of2-*")}
    assert again
    assert not again & before  # each attempt writes files of its own
    sweeps.run(long, GRID, tmp_path / "cut", share=(0, 2), **FAST)
    assert {path.name: path.read_bytes() for path in (tmp_path / "cut" / "inflight").iterdir()} == other
    sweeps.run(long, GRID, tmp_path / "cut", share=(1, 2), **FAST)
    assert bits(tmp_path / "cut") == bits(tmp_path / "whole")
    assert checkpoint.files(Workdir.at(tmp_path / "cut")) == []


def test_what_is_no_share_is_refused():
    for share in ((3, 3), (-1, 3), (0, 0), 3, "0/3", (0, 1, 2), (0.0, 2), [0, 2], (0, 10**7), (True, 2)):
        with pytest.raises(FieldError, match=r"share = .*i-th of n shares"):
            Options(share=share)
    with pytest.raises(FieldError, match="measures for all shares"):
        Options(share=(0, 2), tune=True)


def test_a_share_waits_for_runs_that_another_trains(staged, tmp_path, capfd):
    axes = sweeps.product(sweeps.sweep("start.transforms.0.rate", [0.0, 0.5, 0.9]), sweeps.seeds(4))
    sweeps.run(staged, axes, tmp_path / "whole", **FAST)
    loud = {**FAST, "quiet": False}
    plan = stages.in_order(make_plan(staged, axes), 9)
    parts = [plan.share(i, 3) for i in range(3)]
    assert sorted(itertools.chain(*(part.first.run_ids for part in parts))) == sorted(plan.first.run_ids)
    for _ in range(2):
        lacking = 0
        for i in range(3):
            results = sweeps.run(staged, axes, tmp_path / "shares", share=(i, 3), **loud)
            lacking += len(results.run_ids) - len(results.runs)
            said = capfd.readouterr().err
            assert ("that another share trains" in said) == (len(results.runs) < len(results.run_ids))
    assert lacking == 0
    assert bits(tmp_path / "shares") == bits(tmp_path / "whole")
    assert bits(tmp_path / "shares" / "parents") == bits(tmp_path / "whole" / "parents")


def test_a_share_is_not_done_before_what_it_has_to_train_for_others(staged, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_train", lambda *_: None)  # as where all that is left is held back
    with pytest.raises(Waits, match=r"^1 runs of this share that others start from are not trained yet"):
        sweeps.run(staged, sweeps.seeds(2), tmp_path, share=(0, 2), **FAST)


def test_after_sigterm_a_process_ends_at_the_latest_when_the_grace_is_over(monkeypatch):
    ended = []
    monkeypatch.setattr(interruptible, "end", lambda number, _: ended.append(number))
    with interruptible.asked(lambda _: None, 0.0):
        signal.raise_signal(signal.SIGTERM)
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(5)
    assert ended == [signal.SIGTERM]
    with interruptible.asked(lambda _: None, 60.0):
        signal.raise_signal(signal.SIGTERM)
    assert ended == [signal.SIGTERM]
    assert not any(isinstance(t, threading.Timer) and not t.finished.is_set() for t in threading.enumerate())


def test_a_share_that_is_trained_already_is_told_so(toy, tmp_path):
    with Workdir.at(tmp_path).owned((0, 2)).locked():
        with pytest.raises(TryAgain, match="share 0/2 is trained by process"):
            sweeps.run(toy, GRID, tmp_path, share=(0, 2), **FAST)
        assert len(sweeps.run(toy, GRID, tmp_path, share=(1, 2), **FAST).runs)
