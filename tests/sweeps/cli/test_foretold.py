"""What a dry run prints, of plans whose cost is made up."""

import re

import pytest

import sweeps
from sweeps.cli import foretold
from sweeps.execution.machine import Speed
from sweeps.execution.plan import make_plan
from sweeps.execution.prediction import Cost, Prediction


def told(plan, free=1.0, tried=0):
    groups = [g for g in plan.groups if g.pending]
    costs = [Cost(8, 2, g.steps, 2.0, 3.0, 1.0, 2**20, i < 10, 5e9) for i, g in enumerate(groups)]
    parts = {"start": 1.0, "compiling": 1.5 * len(costs), "training": 6.0, "storing": 0.1}
    return Prediction(100.0, 140.0, parts, costs, 2, Speed(5e10, free), tried)


def shown(plan, prediction, tmp_path, capsys, *more):
    foretold.show_plan(plan, prediction, tmp_path / "none", *more)
    return capsys.readouterr().out


def test_a_program_is_told_by_what_it_is_and_a_time_is_a_range(toy, tmp_path, capsys):
    plan = make_plan(toy, sweeps.product(sweeps.sweep("loss.dtype", ["float32", "float64"]), sweeps.seeds(3)))
    plan.drop({toy.override({"loss.dtype": "float64"}).run_id})
    plan.note_saved({toy.override({"seed": 1}).run_id})
    text = shown(plan, told(plan), tmp_path, capsys)
    lines = [line for line in text.splitlines() if line.startswith("│")]
    first, second = lines[0], next(line for line in lines if "1 stored" in line)
    assert "float32" in text
    assert "float64" in text
    assert "2 new, 1 resumed" in first
    assert "2 new, 1 stored" in second
    assert "32 (9%)" in first
    assert "10%" in first  # 5 of 50 GFLOP/s
    assert "6 runs, 1 stored, 5 to train: 500 lane-steps at most" in text
    assert "1 min 40 s to 2 min 20 s (start 1.0 s, compiling 3.0 s, training 6.0 s, storing 0.1 s)" in text
    assert "other processes" not in text
    assert "as runs end early" not in text
    assert len(text.splitlines()) <= 40


def test_a_machine_that_others_use_is_told_of(toy, tmp_path, capsys):
    plan = make_plan(toy, sweeps.seeds(3))
    text = shown(plan, told(plan, free=0.5, tried=24), tmp_path, capsys)
    assert "other processes have 50% of this machine now" in text
    assert "3 min 20 s to 4 min 40 s" in text
    assert "24 of them" in text


def test_why_a_program_has_one_lane_is_told(toy, tmp_path, capsys):
    plan = make_plan(toy, sweeps.seeds(3))
    assert "one_by_one" not in shown(plan, told(plan), tmp_path, capsys)
    plan.groups[0].lapack = "svd of training.probes"
    text = shown(plan, told(plan), tmp_path, capsys)
    assert "one lane where svd of training.probes calls LAPACK" in text
    assert "jaxgen.one_by_one" in text


@pytest.mark.slow
def test_many_programs_fit_on_one_screen(toy, tmp_path, capsys):
    plan = make_plan(toy, sweeps.sweep("model.width", list(range(2, 102))))
    text = shown(plan, told(plan), tmp_path, capsys)
    assert len(text.splitlines()) <= 40
    assert "88 others, each less" in text
    assert "10 of 100 programs were measured, the others follow from their sizes" in text
    runs = [int(n) for n in re.findall(r"│ (\d+) new", text)]
    assert sum(runs) == 100


def test_nothing_left_is_said(toy, tmp_path, capsys):
    plan = make_plan(toy, sweeps.seeds(2))
    plan.drop(plan.run_ids)
    assert "nothing is left to train" in shown(plan, told(plan), tmp_path, capsys)


@pytest.mark.parametrize(
    ("price", "money"), [(None, "no list price is kept here"), (1e5, "at 100000 an hour and chip: ")]
)
def test_an_accelerator_is_told_of_as_bounds_that_nobody_measured(toy, price, money, tmp_path, capsys):
    plan = make_plan(toy, sweeps.seeds(3))
    text = shown(plan, told(plan), tmp_path, capsys, foretold.target("v5e-8", price))
    assert "on v5e-8 (8 chips): " in text
    assert "bounds by FLOPs, bytes and published peak rates, nothing measured" in text
    assert money in text
