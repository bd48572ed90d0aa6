import contextlib
import gc
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import sweeps
from jaxgen import FieldError, kernel
from jaxgen.kernel import program
from sweeps.execution import engine, launch, profile
from sweeps.execution.replay import replay
from sweeps.storage import checkpoint, store
from sweeps.storage.workdir import Workdir

GRID = sweeps.product(
    sweeps.sweep("task.train_fraction", [0.3, 0.8]),
    sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]),
    sweeps.sweep("training.steps", [20, 100]),
    sweeps.seeds(2),
)
FAST = {"width": 2, "intervals": 3, "quiet": True, "devices": 1}
BOTH = FAST | {"devices": 2}


def bits(workdir):
    """Everything stored about each run that training decides, as comparable values."""
    skip = ("provenance",)
    rows = store.read(Path(workdir)).to_pylist()
    return {r["run_id"]: {k: repr(v) for k, v in r.items() if k not in skip} for r in rows}


@pytest.fixture
def counted(monkeypatch):
    """Counts the runs that lanes take."""
    taken = []
    assign = kernel.Block.assign
    monkeypatch.setattr(
        kernel.Block, "assign", lambda self, i, run_id, *a: (taken.append(run_id), assign(self, i, run_id, *a))[1]
    )
    return taken


def test_a_sweep_trains_every_run_once_and_only_the_difference_later(toy, tmp_path, counted):
    results = sweeps.run(toy, GRID, tmp_path, **FAST)
    assert sorted(counted) == sorted(results.runs["run_id"])
    assert len(counted) == len(set(counted)) == 16
    assert set(results.runs["status"]) == {"finished"}
    sweeps.run(toy, GRID, tmp_path, **FAST)
    assert len(counted) == 16
    more = sweeps.product(*GRID.factors[:-1], sweeps.seeds(3))
    assert len(sweeps.run(toy, more, tmp_path, **FAST).runs) == 24
    assert len(counted) == 24
    assert len(sweeps.run(toy, GRID, tmp_path, **FAST).runs) == 16  # results of this sweep, not of all that is stored
    assert not list((tmp_path / "inflight").glob("*"))


@pytest.mark.parametrize("call", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_out_of_memory_halves_the_width_and_loses_nothing(toy, tmp_path, monkeypatch, call):
    launch, calls = kernel.Block.launch, []

    def scarce(self, *arguments):
        calls.append(self.program.width)
        if self.program.width > 2 and len(calls) >= call:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        launch(self, *arguments)

    sweeps.run(toy, GRID, tmp_path / "wide", **FAST)
    monkeypatch.setattr(kernel.Block, "launch", scarce)
    found = sweeps.run(toy, GRID, tmp_path / "halved", **(FAST | {"width": 8}))
    assert set(calls) == {8, 4, 2}
    assert len(found.runs) == 16
    assert bits(tmp_path / "halved").keys() == bits(tmp_path / "wide").keys()
    if call == 1:  # else some runs ended in the wider program
        assert bits(tmp_path / "halved") == bits(tmp_path / "wide")
    assert not list((tmp_path / "halved" / "inflight").glob("*"))


def test_what_ended_is_not_forgotten_where_memory_does_not_suffice_to_read_all_of_it(staged, tmp_path, monkeypatch):
    read, calls = kernel.Block._ended_with, []

    def scarce(self, index):
        calls.append(self.program.width)
        if calls[-1] == 4 and calls.count(4) == 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return read(self, index)

    monkeypatch.setattr(kernel.Block, "_ended_with", scarce)
    axes = sweeps.product(sweeps.sweep("start.transforms.0.rate", [0.0, 0.5]), sweeps.seeds(4))
    found = sweeps.run(staged, axes, tmp_path, **(FAST | {"width": 4}))
    assert {*calls} == {4, 2}
    assert len(found.runs) == 8
    assert len(store.read(tmp_path / "parents")) == 4


def test_memory_that_does_not_suffice_for_one_lane_is_an_error(toy, tmp_path, monkeypatch):
    def scarce(self, *_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")

    monkeypatch.setattr(kernel.Block, "launch", scarce)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        sweeps.run(toy, GRID, tmp_path, **FAST)


@pytest.fixture
def nothing_measured(monkeypatch):
    def measure(*_):
        raise AssertionError("a launch measures nothing")

    monkeypatch.setattr(profile, "_measure_width", measure)


def test_the_same_command_has_the_same_bits_whatever_was_measured_or_cached(
    toy, tmp_path, monkeypatch, nothing_measured
):
    for call in ("first", "second"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache-{call}"))
        sweeps.run(toy, GRID, tmp_path / call, quiet=True, devices=1)
    assert bits(tmp_path / "first") == bits(tmp_path / "second")
    held = [Workdir.at(tmp_path / call).written_widths() for call in ("first", "second")]
    assert held[0] == held[1]
    assert {w["by"] for w in held[0].values()} == {"rule"}


def used(path):
    made_by = store.read(path, ["provenance"])["provenance"].to_pylist()
    return [json.loads(text)["width"] for text in made_by]


def test_what_width_was_asked_for_holds_for_the_directory(toy, tmp_path, nothing_measured):
    sweeps.run(toy, sweeps.seeds(1), tmp_path, width=3, quiet=True, devices=1)
    sweeps.run(toy, sweeps.seeds(2), tmp_path, quiet=True, devices=1)
    assert used(tmp_path) == [3, 3]
    sweeps.run(toy, sweeps.seeds(3), tmp_path, width=2, quiet=True, devices=1)
    assert sorted(used(tmp_path)) == [2, 3, 3]
    (held,) = Workdir.at(tmp_path).written_widths().values()
    assert held == {"lanes": 2, "by": "asked"}


def test_tuning_is_asked_for_measures_once_and_is_written_down(toy, tmp_path, monkeypatch):
    times, measured = {1: 1.0, 8: 0.5, 64: 0.6}, []

    def measure(experiment, devices, width):
        measured.append(width)
        return profile.Measured(width, times[width], 1.0, 1.0, 100, 0.0)

    monkeypatch.setattr(profile, "_measure_width", measure)
    sweeps.run(toy, sweeps.seeds(1), tmp_path, tune=True, quiet=True, devices=1)
    sweeps.run(toy, sweeps.seeds(2), tmp_path, tune=True, quiet=True, devices=1)
    sweeps.run(toy, sweeps.seeds(3), tmp_path, quiet=True, devices=1)
    assert measured == [1, 8, 64]
    assert used(tmp_path) == [8, 8, 8]
    assert [w["by"] for w in Workdir.at(tmp_path).written_widths().values()] == ["tuned"]
    with pytest.raises(FieldError, match="measures the width"):
        sweeps.run(toy, sweeps.seeds(1), tmp_path, tune=True, width=2, devices=1)


def test_a_width_that_did_not_fit_is_written_down_narrower(toy, tmp_path, monkeypatch):
    launch = kernel.Block.launch

    def scarce(self, *arguments):
        if self.program.width > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        launch(self, *arguments)

    monkeypatch.setattr(kernel.Block, "launch", scarce)
    sweeps.run(toy, sweeps.seeds(2), tmp_path, width=4, quiet=True, devices=1)
    assert list(Workdir.at(tmp_path).written_widths().values()) == [{"lanes": 2, "by": "memory"}]


def test_damaged_widths_are_refused(toy, tmp_path):
    sweeps.run(toy, sweeps.seeds(1), tmp_path, **FAST)
    (path,) = (tmp_path / "widths").iterdir()
    for held in ["x", [], {"p": 3}, {"program": "p", "lanes": 0}, {"program": "p", "lanes": True}, {"lanes": 3}]:
        path.write_text(json.dumps(held))
        with pytest.raises(FieldError, match=r"its widths are damaged: move .*\.json away"):
            sweeps.run(toy, sweeps.seeds(2), tmp_path, quiet=True)


def test_chunks_are_made_to_take_a_tenth_of_a_second(toy):
    work = engine._Work(toy, None, None, None, [], 8, "", None, [], {})
    for seconds, intervals in ((0.05, 16), (0.2, 16), (0.5, 8), (0.5, 4)):
        work.pace(seconds)
        assert work.intervals == intervals
    for _ in range(10):
        work.pace(9.0)
    assert work.intervals == 1
    for _ in range(10):
        work.pace(0.0)
    assert work.intervals == kernel.MAX_INTERVALS


def test_long_runs_come_first_and_the_launch_says_what_it_did(toy, tmp_path, counted):
    results = sweeps.run(toy, GRID, tmp_path, **FAST)
    steps = results.runs.set_index("run_id")["steps"]
    by_capacity = results.runs.set_index("run_id")["task.train_fraction"]
    for fraction in (0.3, 0.8):
        taken = [steps[r] for r in counted if by_capacity[r] == fraction]
        assert taken == sorted(taken, reverse=True)
    launch = results.specification["launches"][-1]
    assert launch["lane_steps"] == steps.sum() <= launch["computed_lane_steps"]
    assert launch["seconds"] > 0


@pytest.mark.optimized
def test_bits_do_not_depend_on_devices_width_queue_or_neighbours(toy, tmp_path):
    grid = sweeps.product(*GRID.factors[1:-1], sweeps.seeds(4))  # one program
    sweeps.run(toy, grid, tmp_path / "two", **BOTH)
    sweeps.run(toy, grid, tmp_path / "one", **FAST)
    backwards = sweeps.chain(
        *(sweeps.product(*(sweeps.fixed(k, v) for k, v in p.items())) for p in reversed(list(grid)))
    )
    sick = sweeps.product(sweeps.fixed("optimizer.learning_rate", 1e30), *grid.factors)
    sweeps.run(toy, sweeps.chain(sick, backwards), tmp_path / "sick", **BOTH)
    two, one, sick = (bits(tmp_path / name) for name in ("two", "one", "sick"))
    assert two == one
    assert len(sick) == 32
    assert all(sick[run_id] == row for run_id, row in two.items())
    assert sum("diverged" in r["status"] for r in sick.values()) >= 8


def test_one_program_is_traced_per_signature_and_capacity(toy, tmp_path, monkeypatch):
    programs = []
    monkeypatch.setattr(engine, "_PROGRAMS", {})
    init = kernel.Program.__init__
    monkeypatch.setattr(kernel.Program, "__init__", lambda self, *a: (init(self, *a), programs.append(self))[0])
    sweeps.run(toy, GRID, tmp_path, **BOTH)
    compiled = [p for p in programs if p._compiled]
    assert [p.traces for p in compiled] == [1, 1]
    assert all(len(p._compiled) == 2 for p in compiled)
    sweeps.run(toy, sweeps.product(sweeps.fixed("optimizer.eps", 1e-7), GRID), tmp_path / "more", **BOTH)
    assert [p.traces for p in programs if p._compiled] == [1, 1]  # the process keeps its programs


def test_executables_of_groups_that_have_ended_are_given_up(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_PROGRAMS", {})
    monkeypatch.setattr(engine, "crowded", lambda: True)
    monkeypatch.setattr(program, "crowded", lambda: True)
    gc.collect()
    client, compiled, alive = jax.devices()[0].client, kernel.Program.compiled, []
    before = len(client.live_executables())

    def counted(self, device):
        found = compiled(self, device)
        alive.append(len(client.live_executables()) - before)
        return found

    monkeypatch.setattr(kernel.Program, "compiled", counted)
    widths = sweeps.product(sweeps.sweep("model.width", list(range(4, 18))), sweeps.fixed("training.steps", 20))
    sweeps.run(toy, widths, tmp_path, **FAST)
    assert len(store.read(tmp_path)) == 14
    assert max(alive) < 10  # those that train, and those compiled ahead


def test_a_run_is_replayed_to_the_same_bits(toy, tmp_path):
    results = sweeps.run(toy, GRID, tmp_path, **FAST)
    for run_id in results.runs["run_id"][:3]:
        assert replay(tmp_path, run_id) == ([], [])
    with pytest.raises(FieldError, match="not among the 16 runs"):
        replay(tmp_path, "0" * 20)


def test_damaged_shards_are_trained_again(toy, tmp_path):
    sweeps.run(toy, GRID, tmp_path, **FAST)
    before, shard = bits(tmp_path), store.shards(tmp_path)[0]
    shard.write_bytes(shard.read_bytes()[:100])
    sweeps.run(toy, GRID, tmp_path, **FAST)
    assert bits(tmp_path) == before
    assert list((tmp_path / "damaged").iterdir())


def test_files_of_others_among_the_shards_are_named_and_left_alone(toy, tmp_path, capfd):
    sweeps.run(toy, GRID, tmp_path, **FAST)
    shards = store.shards(tmp_path)
    for name in ("notes.txt", "x.parquet", ".hidden"):
        (tmp_path / "runs" / name).write_text("mine")
    (tmp_path / "runs" / "folder").mkdir()
    results = sweeps.run(toy, GRID, tmp_path, **(FAST | {"quiet": False}))
    said = "holds what is no shard of this sweep, left alone and not read: folder, notes.txt, x.parquet"
    assert capfd.readouterr().err == f"{tmp_path / 'runs'} {said}\n"
    assert len(results.runs) == 16
    assert store.shards(tmp_path) == shards
    assert store.strangers(tmp_path) == [tmp_path / "runs" / name for name in ("folder", "notes.txt", "x.parquet")]
    root = Path(__file__).parents[3]
    said = (root / "README.md").read_text() + (root / "docs" / "store.md").read_text()
    globs = re.findall(r"runs/([^'` ]*parquet)", said)
    assert len(globs) == 5
    assert all(sorted((tmp_path / "runs").glob(pattern)) == shards for pattern in globs)


def test_the_time_of_a_launch_counts_from_its_call(toy, tmp_path, monkeypatch, capfd):
    planned = launch.make_plan

    def slowly(*arguments):
        time.sleep(1.5)
        return planned(*arguments)

    monkeypatch.setattr(launch, "make_plan", slowly)
    begun = time.monotonic()
    sweeps.run(toy, sweeps.seeds(1), tmp_path, **(FAST | {"quiet": False}))
    took = time.monotonic() - begun
    training, whole = re.search(r"(\d+) s of training, (\d+) s in all\n$", capfd.readouterr().err).groups()
    assert int(training) + 1 <= int(whole) <= took + 0.5


def test_bad_input_writes_and_compiles_nothing(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel.Program, "compiled", lambda *_: pytest.fail("compiled"))
    for sweep in (sweeps.sweep("task.train_fraction", [0.5, 2.0]), sweeps.sweep("task.colour", [1])):
        with pytest.raises(FieldError):
            sweeps.run(toy, sweep, tmp_path / "out", **FAST)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("width", 0),
        ("width", 2.0),
        ("devices", 0),
        ("devices", -1),
        ("intervals", 0),
        ("stop_after_hours", 0),
        ("stop_after_hours", float("nan")),
        ("name", ""),
        ("definition", {"foo": 1}),
        ("definition", {"threshold": "x"}),
    ],
)
def test_bad_options_are_refused(toy, tmp_path, option, value):
    with pytest.raises(FieldError, match=option if option != "definition" else "foo|threshold"):
        sweeps.run(toy, sweeps.seeds(1), tmp_path / "out", **{option: value})
    assert not (tmp_path / "out").exists()


PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
import jaxgen as jg, sweeps
from sweeps.storage import checkpoint
workdir, base, say = sys.argv[1:]
save = checkpoint.save
if say:
    checkpoint.save = lambda *a: (save(*a), print("saved", flush=True))
steps = sweeps.sweep("training.steps", [500, 4000])
sweep = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0, 2.0]), steps, sweeps.seeds(3))
options = {"intervals": 5, "checkpoint_seconds": 0.0, "quiet": True}
sweeps.run(jg.Experiment.from_json(base), sweep, workdir, **options)
"""


@contextlib.contextmanager
def launched(workdir, toy, say=""):
    command = [sys.executable, "-c", PROGRAM, str(workdir), toy.to_json(), say]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def finish(workdir, toy):
    with launched(workdir, toy) as process:
        assert process.wait() == 0
    return bits(workdir)


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """What is stored when nothing interrupts the program."""
    return finish(tmp_path_factory.mktemp("whole"), toy)


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_loses_nothing(toy, tmp_path, whole, times):
    rng, kills, resumed = random.Random(0), 0, 0
    while kills < times:
        with launched(tmp_path / "killed", toy, "say") as process:
            for _ in range(rng.randint(2, 30)):  # some chunks, each saved
                if not process.stdout.readline():
                    break
            time.sleep(rng.uniform(0, 0.02))
            process.kill()
        if process.returncode == 0:
            break
        kills += 1
        saved = checkpoint.load(Workdir.at(tmp_path / "killed"))
        resumed += sum(1 for s in saved for lane in s.lanes if lane and lane["step"])
        stored = store.read(tmp_path / "killed", ["steps"])["run_id"].to_pylist()
        assert len(stored) == len(set(stored))
    assert kills >= 3
    assert resumed >= 2
    assert finish(tmp_path / "killed", toy) == whole
    assert len(whole) == 18


def test_sigterm_saves_and_the_same_command_continues(toy, tmp_path, whole):
    with launched(tmp_path / "stopped", toy, "say") as process:
        for _ in range(8):  # four blocks save once before they train
            process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=60) == 0
    saved = checkpoint.load(Workdir.at(tmp_path / "stopped"))
    in_training = any(lane and lane["step"] > 0 for s in saved for lane in s.lanes)
    assert in_training or len(store.read(tmp_path / "stopped")) == 18  # the signal may come after the last run
    assert finish(tmp_path / "stopped", toy) == whole


def test_stop_after_hours_stops_in_time_and_resumably(toy, tmp_path):
    long = sweeps.product(sweeps.fixed("training.steps", 10**6), sweeps.seeds(4))
    start = time.monotonic()
    sweeps.run(toy, long, tmp_path, stop_after_hours=1 / 3600, **FAST)
    assert time.monotonic() - start < 30
    assert len(store.read(tmp_path)) == 0
    assert checkpoint.load(Workdir.at(tmp_path))


def test_an_unreadable_checkpoint_only_costs_time(toy, tmp_path):
    (tmp_path / "inflight").mkdir()
    (tmp_path / "inflight" / "x.npz").write_bytes(b"PK nonsense")
    np.savez(tmp_path / "inflight" / "y.npz", a=np.ones(3))
    assert len(sweeps.run(toy, sweeps.seeds(2), tmp_path, **FAST).runs) == 2


COMPILES = """
import sys
import jax, jax.monitoring
jax.config.update("jax_num_cpu_devices", 2)
import jaxgen as jg, sweeps
found = {"cache_hits": 0, "cache_misses": 0}
def listen(event, **_):
    name = event.rpartition("/")[2]
    found[name] = found.get(name, 0) + 1
jax.monitoring.register_event_listener(listen)
sweeps.run(jg.Experiment.from_json(sys.argv[2]), sweeps.seeds(4), sys.argv[1], width=1, quiet=True)
print(found["cache_misses"], found["cache_hits"])
"""


def test_a_second_start_compiles_nothing(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)

    def start(workdir):
        command = [sys.executable, "-c", COMPILES, str(tmp_path / workdir), toy.to_json()]
        return [int(n) for n in subprocess.check_output(command, text=True).split()]

    first, second = start("first"), start("second")
    assert first[0] == 3  # one program for two devices, a look at the task's table, a try of XLA's options
    assert second[0] == 0
    assert second[1] >= 2


def test_a_crash_costs_no_run_and_trains_none_twice(toy, tmp_path, counted, monkeypatch):
    launch, calls = kernel.Block.launch, []

    def crash(self, *arguments):
        calls.append(self)
        if len(calls) == 7:
            raise KeyboardInterrupt
        launch(self, *arguments)

    sweep = sweeps.product(sweeps.sweep("training.steps", [60, 100]), sweeps.seeds(3))
    options = {"width": 2, "intervals": 2, "devices": 1, "checkpoint_seconds": 0, "quiet": True}
    sweeps.run(toy, sweep, tmp_path / "whole", **options)
    monkeypatch.setattr(kernel.Block, "launch", crash)
    with pytest.raises(KeyboardInterrupt):
        sweeps.run(toy, sweep, tmp_path / "crashed", **options)
    monkeypatch.setattr(kernel.Block, "launch", launch)
    stored = set(store.stored_ids(tmp_path / "crashed"))
    running = checkpoint.running(Workdir.at(tmp_path / "crashed"))
    assert max(lane["step"] for lane in running) > 0
    counted.clear()
    sweeps.run(toy, sweep, tmp_path / "crashed", **options)
    assert sorted(counted) == sorted(bits(tmp_path / "whole").keys() - stored)
    assert bits(tmp_path / "crashed") == bits(tmp_path / "whole")
