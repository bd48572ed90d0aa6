"""What a plan costs: what is measured, what follows from it, and how wide the range is."""

import math

import jax
import numpy as np
import pytest

import sweeps
from jaxgen import FieldError
from sweeps.execution import launch, machine, pilot, prediction, profile, widths
from sweeps.execution.machine import Speed
from sweeps.execution.plan import make_plan
from sweeps.execution.prediction import chosen, predict
from sweeps.execution.profile import Measured

NOW = Speed(5e10, 1.0)
MEASURED = Measured(2, 2.0, 4.0, 1.0, 200, 5e10)


@pytest.fixture
def timings(monkeypatch):
    """A machine on which a lane-step takes 2 ms of a device and a program 4 s; what it was asked to measure."""
    asked = []

    def measure(experiment, devices, width, now):
        asked.append((len(devices), width))
        return Measured(width, 2.0, 4.0, 1.0, 100 * width, now.rate)

    monkeypatch.setattr(prediction, "measured", measure)
    monkeypatch.setattr(prediction, "speed", lambda devices: NOW)
    return asked


def test_a_small_program_among_many_is_measured_on_the_device_that_trains_it(toy, timings, monkeypatch):
    placed = []
    monkeypatch.setattr(prediction, "measured", lambda e, devices, w, now: placed.append(devices) or MEASURED)
    two = jax.devices()[:2]
    predict(make_plan(toy, sweeps.sweep("model.width", list(range(2, 11)))), {}, 2, devices=2)
    assert placed == [[two[i % 2]] for i in range(9)]
    placed.clear()
    predict(make_plan(toy, sweeps.sweep("model.width", list(range(2, 10)))), {}, 2, devices=2)
    assert placed == [two] * 8


def test_parts_add_up_to_the_middle_of_the_range(toy, timings):
    told = predict(make_plan(toy, sweeps.seeds(5)), {}, 2, devices=2)
    assert timings == [(2, 2)]
    assert told.parts["training"] == pytest.approx(5 * 100 * 2e-3 / 2)
    assert told.parts["storing"] == pytest.approx(5 * prediction.STORING / 2)
    assert told.parts["compiling"] == pytest.approx((1 + 0.8 / 2) / 2)  # it is on disk now; half is traced alone
    assert told.seconds == pytest.approx(sum(told.parts.values()))
    assert told.bytes == 2 * 200
    assert told.low > 0
    assert told.high / told.low < 1.5
    (cost,) = told.costs
    assert (cost.lanes, cost.devices, cost.steps, cost.is_measured) == (2, 2, 500, True)
    assert told.share == pytest.approx(cost.rate / NOW.rate)
    assert cost.rate == pytest.approx(profile.step_flops(toy) / 2e-3)


def test_cost_is_foretold_at_the_width_that_will_train(toy, timings):
    plan, device = make_plan(toy, sweeps.sweep("task.train_fraction", [0.1, 0.9])), jax.devices()[0]
    assert (
        [c.lanes for c in predict(plan, {}).costs] == [widths.rule(g.template, device) for g in plan.groups] == [8, 8]
    )
    known = widths.entry(plan.groups[0].template, device)
    held = predict(plan, {known: {"lanes": 4, "by": "tuned"}})
    assert [(c.lanes, c.bytes) for c in held.costs] == [(4, 400), (8, 800)]
    one, two = predict(plan, {}, 2, devices=1), predict(plan, {}, 2, devices=2)
    assert (one.devices, two.devices) == (1, 2)
    assert one.parts["training"] == pytest.approx(2 * two.parts["training"])


def test_cost_grows_with_rows_and_is_foretold_without_training(toy):
    plan = make_plan(toy, sweeps.sweep("task.train_fraction", [0.1, 0.9]))
    told = predict(plan, {}, 2, devices=1)
    assert all(cost.is_measured for cost in told.costs)
    assert 0 < told.low < told.high
    assert told.bytes > 2 * 4 * 3 * 12 * 21  # parameters and two moments, in two blocks
    assert [c.lanes for c in told.costs] == [2, 2]
    assert 0 < told.share < 1


def test_what_might_not_fit_is_foretold_without_being_tried(toy, monkeypatch):
    def measure(*_):
        raise AssertionError("would fill the memory")

    monkeypatch.setattr(profile, "_measure_width", measure)
    monkeypatch.setattr(prediction, "device_bytes", lambda _: 2**24)
    told = predict(make_plan(toy.override({"model.width": 10**4}), sweeps.seeds(1)), {})
    assert told.bytes > 2 * 4 * 3 * 10**4 * 21
    assert not told.costs[0].is_measured
    assert told.high > 5 * told.low  # nothing is known


def test_nothing_left_takes_no_time(toy, timings):
    plan = make_plan(toy, sweeps.seeds(2))
    plan.drop(plan.run_ids)
    told = predict(plan, {})
    assert (told.costs, told.bytes, told.share) == ([], 0, 0.0)
    assert told.high < 5
    assert [g.stored for g in plan.groups] == [2]


def test_programs_that_take_most_of_the_time_are_measured_and_others_by_lot():
    assert chosen(np.ones(10)) == list(range(10))
    busy = np.ones(300)
    busy[[3, 250]] = 100.0
    found = chosen(busy)
    assert {3, 250} <= set(found)
    assert len(found) <= prediction.MEASURED
    assert chosen(busy) == found
    counts = np.zeros(300)
    for shift in range(300):  # each as often as its share of the time
        counts[(np.array(chosen(np.roll(np.ones(300), shift))) - shift) % 300] += 1
    assert counts.max() <= 1.2 * counts.mean() + 1


def test_measuring_ends_after_a_while_with_the_longest_programs_measured(toy, timings, monkeypatch, capsys):
    plan = make_plan(toy, sweeps.sweep("model.width", [2, 3, 4, 64]))
    monkeypatch.setattr(prediction.time, "monotonic", lambda: 30.0 * len(timings))
    told = predict(plan, {}, 2, devices=1, quiet=False)
    assert [g.template.model.width for g, c in zip(plan.groups, told.costs) if c.is_measured] == [4, 64]
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("program 1 of 4 is compiled and timed")
    assert len(said) == 2


@pytest.mark.parametrize("seed", range(5))
def test_ranges_hold_what_simulated_programs_take(toy, seed, monkeypatch):
    """Programs whose true times are off their sizes by a factor e^N(0, .3): the range holds them, and is narrow."""
    rng = np.random.default_rng(seed)
    plan = make_plan(toy, sweeps.product(sweeps.sweep("model.width", list(range(2, 42))), sweeps.seeds(2)))
    truth = {}
    for group in plan.groups:
        usual, off = prediction._usual(group, 8, 1), 3 * np.exp(0.3 * rng.normal())
        load = off * usual.load_seconds
        truth[group.template.model.width] = Measured(
            8, off * usual.milliseconds, off * usual.compile_seconds, load, 1, 1.0
        )
    monkeypatch.setattr(prediction, "speed", lambda devices: NOW)
    monkeypatch.setattr(prediction, "measured", lambda e, devices, width, now: truth[e.model.width])
    told = predict(plan, {}, devices=1)
    seen = {c: g for c, g in zip(range(40), plan.groups) if told.costs[c].is_measured}
    assert 5 <= len(seen) <= prediction.MEASURED
    took = told.parts["start"] + told.parts["storing"]
    for i, group in enumerate(plan.groups):
        one = truth[group.template.model.width]
        took += (one.load_seconds if i in seen else one.compile_seconds) + group.steps * one.milliseconds / 1e3
    assert told.low < took < told.high
    assert told.high / told.low < 1.5


def test_runs_that_stop_early_are_foretold_by_trying_some(toy, timings):
    at_once = {"stop_metric": "loss", "stop_below": True, "stop_threshold": 1e6, "stop_patience": 10}
    easy = toy.override({f"training.{name}": value for name, value in at_once.items()})
    assert pilot.can_stop(easy)
    assert not pilot.can_stop(toy)
    told = predict(make_plan(easy, sweeps.seeds(60)), {}, 8, devices=1)
    assert told.tried == pilot.RUNS
    assert told.costs[0].steps == 60 * 20  # at the first evaluation after that at step 10
    assert predict(make_plan(toy, sweeps.seeds(30)), {}, 8, devices=1).costs[0].steps == 30 * 100


def test_what_cannot_be_tried_stops_who_knows_when(toy, timings, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.1)  # a run takes .2
    slow = toy.override({"training.stop_patience": 10})
    told = predict(make_plan(slow, sweeps.seeds(30)), {}, 8, devices=1)
    assert (told.tried, told.costs[0].steps) == (0, round(pilot.UNKNOWN.share * 3000))
    sure = predict(make_plan(toy, sweeps.seeds(30)), {}, 8, devices=1)
    assert told.high / told.low > sure.high / sure.low


def test_the_share_that_runs_make_is_that_of_all_within_its_error(toy, monkeypatch):
    stop = {"training.stop_threshold": 0.5, "training.stop_patience": 10, "training.stop_splits": ("train",)}
    run = toy.override(stop)
    plan = make_plan(run, sweeps.product(sweeps.sweep("optimizer.learning_rate", [0.003, 0.03, 0.3]), sweeps.seeds(32)))
    devices = jax.devices()[:1]
    tried = pilot.made(plan.groups[0], plan.experiment, devices, 8, 1e-3)
    monkeypatch.setattr(pilot, "RUNS", 96)
    everything = pilot.made(plan.groups[0], plan.experiment, devices, 8, 1e-3)
    assert (tried.runs, everything.error) == (48, 0.0)
    assert 0.1 < everything.share < 1
    assert abs(tried.share - everything.share) < 1.5 * tried.error + 0.01


def test_limits_refuse_before_anything_starts(toy, timings, tmp_path):
    points, place = sweeps.seeds(36), tmp_path / "none"  # 36 runs × 100 steps × 2 ms = 7.2 s of a device
    with pytest.raises(
        FieldError, match=r"max_hours = 0.001: the plan takes 0.00\d+ to 0.00\d+ h .*--stop_after_hours"
    ):
        sweeps.run(toy, points, place, devices=1, max_hours=0.001)
    with pytest.raises(FieldError, match=r"max_memory = 1e-09: the plan takes 1.5e-06 GiB on each device"):
        sweeps.run(toy, points, place, devices=1, max_memory=1e-9)
    with pytest.raises(FieldError, match=r"max_hours = 0.001"):
        launch.foresee(toy, points, place, devices=1, max_hours=0.001)
    assert not place.exists()
    _, told = launch.foresee(toy, points, place, devices=1, max_hours=1, max_memory=1)
    assert told.high < 3600
    assert len(sweeps.run(toy, sweeps.seeds(1), place, devices=1, width=2, max_hours=1, quiet=True).runs) == 1


def test_what_is_left_of_a_limited_sweep_is_what_counts(toy, timings, tmp_path):
    sweeps.run(toy, sweeps.seeds(36), tmp_path, devices=1, width=8, quiet=True)
    assert len(sweeps.run(toy, sweeps.seeds(36), tmp_path, devices=1, max_hours=0.001, quiet=True).runs) == 36


def measured_once(monkeypatch):
    counts = []

    def measure(experiment, devices, width):
        counts.append(width)
        return Measured(width, 2.0, 40.0 / len(counts), 1.0, 100, 0.0)

    monkeypatch.setattr(profile, "_measure_fitting", measure)
    return counts


def test_a_profile_is_scaled_by_the_machines_speed_and_measured_again_where_it_changed_much(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    counts, devices = measured_once(monkeypatch), jax.devices()[:1]
    assert profile.measured(toy, devices, 4, Speed(1e10, 1.0)).milliseconds == 2.0
    slower = profile.measured(toy, devices, 4, Speed(0.9e10, 1.0))
    assert counts == [4]
    assert slower.milliseconds == pytest.approx(2.0 / 0.9)
    again = profile.measured(toy, devices, 4, Speed(0.5e10, 1.0))
    assert counts == [4, 4]
    assert (again.milliseconds, again.rate) == (2.0, 0.5e10)
    assert again.compile_seconds == pytest.approx(80.0)  # the first time's, by today's speed: it is on disk now
    (tmp_path / "jaxgen" / "profile.json").write_text('{"not": ["what we wrote"]}')
    profile.measured(toy, devices, 4, Speed(0.5e10, 1.0))
    assert counts == [4, 4, 4]


def test_busy_seconds_are_the_processs_own_on_a_cpu_and_those_that_went_by_elsewhere():
    class Chip:
        platform = "gpu"

    cpu = jax.devices()[:2]
    assert machine.busy_seconds(10.0, 3.0, cpu) == 3.0
    assert machine.busy_seconds(1.0, 3.0, cpu) == 2.0  # no device has more than the time that went by
    assert machine.busy_seconds(10.0, 3.0, [Chip(), Chip()]) == 20.0


def test_the_speed_of_the_machine_is_that_of_its_products():
    found = machine.speed(jax.devices())
    assert 1e8 < found.rate < 1e13
    assert 0 < found.free <= 1
    assert math.isfinite(found.rate)
