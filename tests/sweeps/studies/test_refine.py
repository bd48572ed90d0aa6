import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.special import expit
from scipy.stats import qmc

import sweeps
from jaxgen import FieldError
from sweeps.axes.scales import Range
from sweeps.execution.plan import make_plan
from sweeps.statistics import boundary
from sweeps.studies import proposal, refine
from sweeps.studies.proposal import Plane, propose

ROOT = Path(__file__).parents[3]
SQUARE = Plane(Range(0, 1), Range(0, 1))
RATES = {"optimizer.learning_rate": Range(1e-4, 1e-1, log=True), "optimizer.weight_decay": [0.1, 0.3, 1.0, 3.0]}
FAST = {
    "width": 4,
    "intervals": 5,
    "quiet": True,
    "devices": 1,
    "definition": {"threshold": 0.9, "budget": 100, "gap": 20},
}


def above(x, y):
    return y - 0.4 - 0.2 * np.sin(4 * x)


def columns(points):
    return tuple(map(np.array, zip(*points)))


def rounds(plane, count, batch, width=0.03, key=0):
    """The runs of some rounds around a curve."""
    rng = np.random.default_rng([key, 9])
    x, y, event, seed = np.zeros((4, 0))
    for _ in range(count):
        new_x, new_y, new_seed = columns(propose(x, y, event, seed, plane, batch, key=key))
        happened = rng.random(len(new_x)) < expit(above(new_x, new_y) / width)
        x, y, event, seed = map(np.append, (x, y, event, seed), (new_x, new_y, happened, new_seed))
    return x, y, event, seed


def test_the_first_round_is_spread_evenly_and_seeds_do_not_go_with_the_place():
    x, y, seed = columns(propose([], [], [], [], SQUARE, 256, key=3))
    points = np.stack([x, y], 1)
    by_chance = np.median([qmc.discrepancy(np.random.default_rng(i).random((256, 2))) for i in range(9)])
    assert qmc.discrepancy(points) < by_chance / 10
    assert Counter(seed.tolist()) == dict.fromkeys(range(16), 16)
    quarter = 2 * (x > 0.5) + (y > 0.5)
    seen = [len(set(seed[quarter == q])) for q in range(4)]
    assert min(seen) >= 13  # of 16, in 64 runs; were seeds numbered in Sobol's order, it would be 4
    assert all(float(f"{v:.6g}") == v for v in points.ravel())
    assert propose([], [], [], [], SQUARE, 256, key=3) == list(zip(x, y, seed))
    assert propose([], [], [], [], SQUARE, 256, key=4) != list(zip(x, y, seed))


def test_axes_are_sampled_as_they_run():
    x, y, _ = columns(propose([], [], [], [], Plane(Range(1e-4, 1, log=True), [10, 20, 40, 80]), 64))
    assert np.histogram(np.log10(x), [-4, -3, -2, -1, 0])[0].tolist() == [16] * 4
    assert Counter(y.tolist()) == {10: 16, 20: 16, 40: 16, 80: 16}
    narrow = Range(0.30000004, 0.30000006)
    x, _, _ = columns(propose([], [], [], [], Plane(narrow, Range(0, 1)), 8))
    assert ((x >= narrow.low) & (x <= narrow.high)).all()  # rounding does not leave the range


def test_later_rounds_close_in_on_the_line_with_spread():
    x, y, event, seed = rounds(SQUARE, 4, 48)
    first, last = np.abs(above(x, y))[:48], np.abs(above(x, y))[-48:]
    assert np.median(last) < 0.2 * np.median(first)
    new = np.stack([x, y], 1)[-48:]
    near = new[last < 0.1]
    assert len(near) > 36
    assert len(np.histogram(near[:, 0], 10, (0, 1))[0].nonzero()[0]) >= 9  # all along the line
    assert np.sort(pdist(near))[10] > 0.005
    assert len(set(zip(x, y, seed))) == len(x)
    shuffled = np.random.default_rng(0).permutation(len(x))
    again = propose(x[shuffled], y[shuffled], event[shuffled], seed[shuffled], SQUARE, 48)
    assert again == propose(x, y, event, seed, SQUARE, 48)


def test_some_runs_go_to_the_largest_gap():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 400))
    away = np.hypot(x - 0.8, y - 0.2) > 0.15  # a hole far from the line
    x, y = x[away], y[away]
    points = propose(x, y, above(x, y) > 0, np.arange(len(x)) % 16, SQUARE, 32)
    assert min(np.hypot(one - 0.8, other - 0.2) for one, other, _ in points) < 0.05


def test_a_grid_is_used_up_and_every_run_is_another():
    plane = Plane([1, 2, 3], [0.1, 1, 10, 100], seeds=3)
    x, y, event, seed = rounds(plane, 7, 5)
    runs = set(zip(x, y, seed))
    assert len(runs) == 35
    (last,) = propose(x, y, event, seed, plane, 5)
    assert {*runs, last} == {(a, b, s) for a in (1, 2, 3) for b in (0.1, 1, 10, 100) for s in range(3)}
    done = [np.append(a, b) for a, b in zip((x, y, event, seed), (last[0], last[1], 1, last[2]))]
    assert propose(*done, plane, 5) == []
    assert len(propose([], [], [], [], plane, 50)) == 36


def test_runs_are_repeated_where_outcomes_are_noise():
    steps = np.linspace(0, 1, 12).tolist()
    x, y, _, _ = rounds(Plane(steps, steps), 6, 48, width=0.05)
    count = Counter(zip(x, y))
    near = np.array([count[a, b] for a in steps for b in steps if abs(above(a, b)) < 0.04])
    far = np.array([count[a, b] for a in steps for b in steps if abs(above(a, b)) > 0.25])
    assert near.mean() > 4 * far.mean()
    assert near.mean() > 3


def test_undecided_runs_are_not_fitted_and_not_proposed_again():
    x, y, event, seed = rounds(SQUARE, 2, 32)
    unknown = np.full(32, np.nan)
    wrong = np.append(event[:32], 1 - event[32:])
    said = np.append(event[:32], unknown)
    fitted, known = SQUARE.fit(x, y, said, seed), SQUARE.fit(x[:32], y[:32], event[:32], seed[:32])
    np.testing.assert_array_equal(fitted.p, known.p)
    assert np.abs(SQUARE.fit(x, y, wrong, seed).p - known.p).max() > 0.1
    assert SQUARE.fit(x[:32], y[:32], unknown, seed[:32]) is None
    more = propose(x[:32], y[:32], unknown, seed[:32], SQUARE, 32)
    old = np.stack([x, y], 1)[:32]
    assert len(more) == 32
    assert cdist(old, np.array(more)[:, :2]).min() > 0


def test_the_largest_disc_without_runs():
    side = np.linspace(0, 1, 5)
    x, y = map(np.ravel, np.meshgrid(side, side))
    assert proposal.unseen(SQUARE, x, y) == pytest.approx(0.25 / 2**0.5, abs=0.005)
    hole = (x != 0.5) | (y != 0.5)
    assert proposal.unseen(SQUARE, x[hole], y[hole]) == pytest.approx(0.25, abs=0.01)
    scaled = Plane(Range(1e-3, 10, log=True), Range(0, 20))
    assert proposal.unseen(scaled, 1e-3 * 1e4**x, 20 * y) == pytest.approx(0.25 / 2**0.5, abs=0.005)
    cells = Plane(side, side)
    assert proposal.unseen(cells, x, y) == 0
    assert proposal.unseen(cells, x[hole], y[hole]) == pytest.approx(0.25)


def test_islands_are_found_by_runs_that_explore():
    """None of the runs is further than so from any point: a share of each round goes where there are none."""
    x, y, seed = columns(propose([], [], [], [], SQUARE, 48))
    first = proposal.unseen(SQUARE, x, y)
    while len(x) < 432:
        new = columns(propose(x, y, x > 0.5, seed, SQUARE, 48))
        x, y, seed = (np.append(a, b) for a, b in zip((x, y, seed), new))
    assert proposal.unseen(SQUARE, x, y) < 0.65 * first
    assert proposal.unseen(SQUARE, x, y) < 0.11


@pytest.mark.parametrize("happened", [0, 1])
def test_runs_that_all_agree_lead_to_new_places(happened):
    x, y, seed = columns(propose([], [], [], [], SQUARE, 24))
    points = propose(x, y, np.full(24, happened), seed, SQUARE, 24)
    assert len(set(points)) == 24
    assert cdist(np.array(points)[:, :2], np.stack([x, y], 1)).min(1).mean() > 0.05


@pytest.mark.parametrize(
    ("x", "field"),
    [
        ([1], "x"),
        ([1, 1], "x"),
        ([0, 0.01, 0.1, 1], "x"),
        (["a", "b"], "x"),
        ([1, np.nan], "x"),
        (3, "x"),
        ([10**400, 1], "x"),
    ],
)
def test_sides_that_are_no_axes_are_refused(x, field):
    with pytest.raises(FieldError) as refused:
        Plane(x, Range(0, 1))
    assert refused.value.field == field


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (0, np.inf, False)])
def test_ranges_without_extent_are_refused(low, high, log):
    with pytest.raises(FieldError, match=r"^(low|high) ="):
        Range(low, high, log)


def refined(base, axes, workdir, **given):
    """`refine` of what the `Rounds` and the run are given together."""
    fields = [field.name for field in dataclasses.fields(refine.Rounds)]
    rounds = {name: given.pop(name) for name in fields if name in given}
    return refine.refine(base, axes, workdir, refine.Rounds(**rounds), **given)


@pytest.mark.slow
def test_rounds_are_trained_and_continue_wherever_they_were_stopped(toy, tmp_path, monkeypatch):
    one = refine.refine(toy, RATES, tmp_path / "one", refine.Rounds(budget=20, batch=8), **FAST)
    held = json.loads((tmp_path / "one" / "refine.json").read_text())
    assert [len(points) for points in held["rounds"]] == [8, 8, 4]
    found = one.runs[[*RATES, "seed"]].to_numpy().tolist()
    assert sorted(map(tuple, found)) == sorted(tuple(p) for points in held["rounds"] for p in points)
    assert len(set(json.loads(p)["program"] for p in one.table(["provenance"])["provenance"].to_pylist())) == 1

    other = tmp_path / "other"
    stopped = refine.refine(toy, RATES, other, refine.Rounds(budget=20, batch=8), stop_after_hours=1e-9, **FAST)
    assert len(stopped.runs) <= 8
    assert len(stopped.runs) < len(stopped.run_ids)
    run, calls = refine.run, []

    def crash(*arguments, **options):
        calls.append(len(arguments[1]))
        if calls[-1] > 8:
            raise KeyboardInterrupt
        return run(*arguments, **options)

    monkeypatch.setattr(refine, "run", crash)
    with pytest.raises(KeyboardInterrupt):
        refine.refine(toy, RATES, other, refine.Rounds(budget=20, batch=8), **FAST)
    assert calls in ([8, 16], [16])  # the first round may have ended before it was stopped
    monkeypatch.setattr(refine, "run", run)
    continued = refine.refine(toy, RATES, other, refine.Rounds(budget=20, batch=8), **FAST)
    assert json.loads((other / "refine.json").read_text()) == held
    assert set(continued.runs["run_id"]) == set(one.runs["run_id"])

    monkeypatch.setattr(refine, "propose", lambda *_, **__: pytest.fail("nothing is left to do"))
    assert len(refine.refine(toy, RATES, other, refine.Rounds(budget=20, batch=8), **FAST).runs) == 20
    assert len(refine.refine(toy, RATES, other, refine.Rounds(budget=30, batch=8, goal=1), **FAST).runs) == 20
    monkeypatch.setattr(boundary.Boundary, "uncertainty", 0.0)  # the line is known, but a disc of a tenth has no runs
    monkeypatch.setattr(refine, "unseen", lambda *_: 0.1784)
    assert len(refine.refine(toy, RATES, other, refine.Rounds(budget=30, batch=8, goal=0.1001), **FAST).runs) == 20
    monkeypatch.setattr(refine, "propose", propose)
    assert len(refine.refine(toy, RATES, other, refine.Rounds(budget=21, batch=8, goal=0.0999), **FAST).runs) == 21
    monkeypatch.undo()
    assert len(refine.refine(toy, RATES, other, refine.Rounds(budget=30, batch=8), **FAST).runs) == 30

    for changed, field in (({"key": 1}, "key"), ({"axes": RATES | {"optimizer.weight_decay": [1.0, 2.0]}}, "axes")):
        with pytest.raises(FieldError) as refused:
            refined(toy, **{"axes": RATES, "workdir": other, "budget": 30, **changed, **FAST})
        assert refused.value.field == field
    with pytest.raises(FieldError, match="another directory"):
        refine.refine(toy.override({"task.p": 5}), RATES, other, refine.Rounds(budget=30), **FAST)
    (other / "refine.json").write_text("{")
    with pytest.raises(FieldError, match="cannot be read"):
        refine.refine(toy, RATES, other, refine.Rounds(budget=30), **FAST)


def test_the_event_is_that_of_the_labelling(synthetic_results):
    axes = {"task.train_fraction": [0.3, 0.5, 0.7], "optimizer.weight_decay": [0.1, 1.0]}
    kinds = ("comprehension", "grokking", "memorisation", "confusion", "diverged", "undecided")
    results = synthetic_results(axes, 1, lambda i, j, seed: kinds[2 * i + j])
    x, y, event, seed = refine.outcomes(results, *axes)
    told = {(a, b): e for a, b, e in zip(x, y, event)}
    assert [told[a, b] for a in axes["task.train_fraction"] for b in (0.1, 1.0)][:5] == [1, 1, 0, 0, 0]
    assert np.isnan(told[0.7, 1.0])
    assert (seed == 0).all()
    diverged = refine.outcomes(results, *axes, labels="endings")[2]
    assert {(a, b) for a, b, e in zip(x, y, diverged) if e} == {(0.7, 0.1)}
    with pytest.raises(FieldError, match="unknown field"):
        refine.outcomes(results, "task.fraction", "optimizer.weight_decay")


def test_runs_that_failed_to_the_end_of_their_training_are_no_undecided_ones(synthetic_results):
    axes = {"task.train_fraction": [0.3, 0.8], "optimizer.weight_decay": [0.1, 1.0]}
    results = synthetic_results(axes, seeds=1, kind=lambda i, j, seed: "grokking" if i else "confusion")
    held = json.loads((results.workdir / "sweep.json").read_text())
    held["definition"]["budget"] = 5000
    (results.workdir / "sweep.json").write_text(json.dumps(held))
    assert sorted(refine.outcomes(sweeps.Results(results.workdir), *axes)[2].tolist()) == [0, 0, 1, 1]


def test_train_fractions_share_few_programs(toy):
    plane = Plane(Range(0.2, 1), Range(0.01, 1, log=True))
    axes = {"task.train_fraction": plane.x, "optimizer.weight_decay": plane.y}
    base = toy.override({"task.p": 31})
    sweep = refine.as_sweep(axes, [propose([], [], [], [], plane, 200)])
    assert len(make_plan(base, sweep).groups) <= 16
    assert len({point["task.train_fraction"] for point in sweep}) > 190


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"axes": {"model.width": [8, 16], "optimizer.weight_decay": [0.1, 1]}}, "model.width"),
        ({"axes": {"seed": [1, 2], "optimizer.weight_decay": [0.1, 1]}}, "seed"),
        ({"axes": {"optimizer.decay": [1, 2], "optimizer.weight_decay": [0.1, 1]}}, "optimizer.decay"),
        ({"axes": {"optimizer.weight_decay": [0.1, 1]}}, "axes"),
        ({"axes": None}, "axes"),
        ({"axes": RATES | {"optimizer.weight_decay": [1.0]}}, "optimizer.weight_decay"),
        ({"axes": RATES | {"optimizer.weight_decay": Range(-1, 1)}}, "optimizer.weight_decay"),
        ({"axes": {"training.steps": Range(10, 100), "optimizer.weight_decay": [0.1, 1]}}, "training.steps"),
        ({"budget": 0}, "budget"),
        ({"batch": 2.5}, "batch"),
        ({"seeds": 0}, "seeds"),
        ({"key": -1}, "key"),
        ({"goal": 2}, "goal"),
        ({"labels": "phase"}, "phase"),
        ({"width": 0}, "width"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_written(toy, tmp_path, changed, field):
    with pytest.raises(FieldError) as refused:
        refined(toy, **{"axes": RATES, "workdir": tmp_path / "work", "budget": 8, **changed})
    assert refused.value.field == field
    assert not (tmp_path / "work").exists()


def measured(tmp_path, *arguments):
    script = ROOT / "scripts" / "benchmarks" / "refinement.py"
    numbers, picture = tmp_path / "numbers.json", tmp_path / "refinement.svg"
    command = [sys.executable, script, f"--json={numbers}", f"--picture={picture}", *arguments]
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # small matrices: several threads wait for each other
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    assert done.returncode == 0, done.stderr
    assert picture.read_text().startswith("<?xml")
    return json.loads(numbers.read_text())


@pytest.mark.slow
def test_a_quarter_of_the_runs_of_a_grid_of_trained_networks_suffices(tmp_path):
    found = measured(tmp_path, "--worlds=trained", "--repeats=3", "--most=1100")["trained"]
    assert found["ratios"]["dense"]["1024"]["ratio"] < 1
    errors = {way: np.mean(found["errors"][way][runs]) for way, runs in (("raw", "1024"), ("dense", "1024"))}
    assert errors["dense"] < errors["raw"]
    assert np.mean(found["errors"]["refined"]["256"]) < np.mean(found["errors"]["sobol"]["256"])


@pytest.mark.slow
def test_a_quarter_of_the_runs_of_a_grid_suffices_for_a_known_shape(tmp_path):
    found = measured(tmp_path, "--worlds=known", "--repeats=8", "--most=1800")["known"]
    assert found["ratios"]["dense"]["1728"]["ratio"] < 1


def test_a_refinement_is_a_diagram_as_any_other_sweep(toy, tmp_path):
    results = refine.refine(toy, RATES, tmp_path, refine.Rounds(budget=8, batch=8), **FAST)
    assert isinstance(results, sweeps.Results)
    assert results.phase_diagram(*RATES).seeds.sum() == 8


def test_a_directory_of_another_sweep_is_not_refined(toy, tmp_path):
    sweeps.run(toy, sweeps.seeds(2), tmp_path, name="refinement", **FAST)
    with pytest.raises(FieldError, match="was not refined"):
        refine.refine(toy, RATES, tmp_path, refine.Rounds(budget=8), **FAST)
    assert not (tmp_path / "refine.json").exists()
