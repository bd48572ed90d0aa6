"""Sweeps on Ray: what its tasks are given, how their ends are read, and (slow) what is stored after signals and kills.

The slow tests need Ray: pip install -e '.[test,ray]'.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import Program, refused

import sweeps
from jaxgen import FieldError
from sweeps.cli import command
from sweeps.execution import ray as on_ray
from sweeps.storage import checkpoint, store
from sweeps.storage.workdir import Workdir

ROOT = Path(__file__).parents[3]
STAGED = """
import jaxgen as jg, sweeps
parent = jg.Experiment(
    jg.tasks.ModularAddition(p=7, train_fraction=0.6), jg.models.QuadraticMLP(width=12), jg.losses.CrossEntropy(),
    jg.optimizers.AdamW(learning_rate=0.01), jg.Training(steps=100_000, evaluate_every=500),
)
base = parent.override({"start": jg.starts.FromRun(parent=parent, transforms=(jg.starts.Prune(rate=0.5),))})
recipe = sweeps.Recipe(base, sweeps.product(sweeps.sweep("start.transforms.0.rate", [0.0, 0.5]), sweeps.seeds(3)))
"""
Task = namedtuple("Task", "function options arguments")


class Stub:
    """What of the module `ray` is used: machines with some resources, and tasks whose results are given by share."""

    class exceptions:
        class RayError(Exception):
            pass

        class TaskCancelledError(RayError):
            pass

        class WorkerCrashedError(RayError):
            pass

        class RayTaskError(RayError):
            cause = ModuleNotFoundError("No module named 'jaxgen'")

    def __init__(self, machines=(), results=()):
        self.machines, self.results, self.cancelled = machines, results, []

    def nodes(self):
        return [{"Alive": alive, "Resources": has} for alive, has in self.machines]

    def remote(self, **options):
        return lambda function: SimpleNamespace(remote=lambda *arguments: Task(function, str(options), arguments))

    def wait(self, tasks, timeout):
        return tasks[:1], tasks[1:]

    def get(self, one):
        result = self.results[one.arguments[1]]
        if isinstance(result, Exception):
            raise result
        return result

    def cancel(self, one, force):
        self.cancelled.append((one.arguments[1], force))


@pytest.fixture(autouse=True)
def there(monkeypatch):
    """As if Ray were installed, where it is not."""
    if importlib.util.find_spec("ray") is None:
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__spec__="here"))


def test_there_is_room_for_as_many_shares_as_machines_have_whole_resources():
    machines = [
        (True, {"CPU": 5.0, "GPU": 1.0, "memory": 1e9}),
        (True, {"CPU": 1.0, "GPU": 4.0}),
        (True, {"CPU": 8.0}),
        (False, {"CPU": 64.0, "GPU": 8.0, "TPU": 8.0}),
    ]
    room = lambda **asked: on_ray._Cluster(Stub(machines), sweeps.Ray(**asked), {}).room  # noqa: E731
    assert room(cpus=2) == 2 + 0 + 4
    assert room(gpus=0.25) == 4 + 1
    assert room(cpus=1, gpus=2) == 1
    assert room(tpus=4) == 0


def test_ends_of_tasks_are_read_as_ends_of_shares():
    errors = Stub.exceptions
    results = [("stored", ""), ("waits", ""), errors.WorkerCrashedError(), errors.RayTaskError()]
    stub = Stub(results=[*results, errors.TaskCancelledError()])
    cluster = on_ray._Cluster(stub, sweeps.Ray(), {})
    for index in range(5):
        cluster.start("text", index, 5)
    cluster.stop()
    assert stub.cancelled == [(index, False) for index in range(5)]
    ends = [one for _ in range(5) for one in cluster.ended(1.0)]
    assert [(one.index, one.how, one.said) for one in ends] == [
        (0, "stored", ""),
        (1, "waits", ""),
        (2, "failed", "its process or machine is gone (WorkerCrashedError)"),
        (3, "failed", "ModuleNotFoundError: No module named 'jaxgen'"),
        (4, "failed", "it was told to stop"),
    ]
    assert cluster.ended(0.0) == []


def test_a_task_has_the_drivers_flags_a_platform_and_a_cache_beside_the_workdir():
    own = {"XLA_FLAGS": "--x", "JAX_PLATFORMS": "tpu", "HOME": "/root", "JAX_ENABLE_X64": "1"}
    found = on_ray.environment(sweeps.Ray(cpus=3), own, "gs://bucket/sweep/")
    assert found == {
        "XLA_FLAGS": "--x",
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "3",
        "JAX_COMPILATION_CACHE_DIR": "gs://bucket/sweep-compiled",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    part = on_ray.environment(sweeps.Ray(gpus=0.25), {"JAX_COMPILATION_CACHE_DIR": "/cache"}, "/shared/sweep")
    assert part == {
        "JAX_PLATFORMS": "cuda,cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.188",
        "JAX_COMPILATION_CACHE_DIR": "/cache",
    }
    assert on_ray.environment(sweeps.Ray(tpus=4), {}, None)["JAX_PLATFORMS"] == "tpu,cpu"


def test_chips_of_a_share_are_a_slice_of_their_own():
    one, half = on_ray.alone(["3"]), on_ray.alone(["10", "8", "9", "11"])
    assert (one["TPU_CHIPS_PER_PROCESS_BOUNDS"], one["TPU_VISIBLE_CHIPS"]) == ("1,1,1", "3")
    assert (one["TPU_PROCESS_PORT"], one["TPU_PROCESS_ADDRESSES"]) == ("8479", "localhost:8479")
    assert (half["TPU_CHIPS_PER_PROCESS_BOUNDS"], half["TPU_VISIBLE_CHIPS"]) == ("2,2,1", "8,9,10,11")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"address": "ray://head:10001"}, "address = 'ray://head:10001': is of Ray's client"),
        ({"address": 8}, "address = 8: must be host:port"),
        ({"shares": 0}, "shares = 0: must be a whole number in"),
        ({"shares": 10**7}, "shares = 10000000: must be a whole number in"),
        ({"cpus": 0.5}, "cpus = 0.5: must be a whole number of at least 1"),
        ({"gpus": 1.5}, "gpus = 1.5: must be a whole number, or between 0 and 1"),
        ({"gpus": -1}, "gpus = -1: must be"),
        ({"gpus": float("nan")}, "gpus = nan: must be"),
        ({"tpus": 2}, "tpus = 2: must be 0, 1, 4 or 8"),
        ({"gpus": 1, "tpus": 1}, "tpus = 1: a share has either these or 1 GPUs"),
        ({"retries": -1}, "retries = -1: must be a whole number of at least 0"),
    ],
)
def test_what_a_share_cannot_have_is_refused(asked, said):
    with pytest.raises(FieldError) as error:
        sweeps.Ray(**asked)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--executor=ray"], "error: executor = 'ray': is not installed: pip install 'jaxgen[ray]'\n"),
        (["--shares=3"], "error: shares = 3: goes with --executor=ray only\n"),
        (["--executor=ray", "--share=0/3"], "error: share = (0, 3): is one of those that the executor starts"),
        (["--executor=ray", "--gpus=1.5"], "error: gpus = 1.5: must be a whole number, or between 0 and 1\n"),
        (["--executor=ray", "--refine=a,b"], "error: executor = 'ray': trains a sweep's own points"),
    ],
)
def test_flags_that_are_not_allowed_are_one_line(flags, said, tmp_path, monkeypatch, capfd):
    if "not installed" in said:
        monkeypatch.setitem(sys.modules, "ray", None)
    program = Program("launch_sweep")
    flags = ["--recipe=quickstart", "--scale=smoke", f"--workdir={tmp_path / 'w'}", *flags]
    assert refused(program, *flags, capfd=capfd).startswith(said)


def rows(workdir):
    return {row["run_id"]: repr({**row, "provenance": ""}) for row in store.read(workdir).to_pylist()}


def launched(file, workdir):
    flags = ["--executor=ray", "--shares=2", "--width=1", "--devices=1", "--checkpoint_seconds=0.1"]
    flags.append("--grace_seconds=200")  # one of the shares may be compiling
    program = [sys.executable, str(ROOT / "scripts" / "launch_sweep.py"), f"--sweep={file}", f"--workdir={workdir}"]
    return subprocess.Popen([*program, *flags], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_staged_sweep_on_ray_is_stopped_and_goes_on_and_equals_that_of_one_process(tmp_path):
    pytest.importorskip("ray", reason="pip install -e '.[ray]'")
    file, workdir = tmp_path / "own.py", tmp_path / "shares"
    file.write_text(STAGED)
    parents = Workdir.at(workdir).parents
    first = launched(file, workdir)
    while not (checkpoint.files(parents) or store.stored_ids(parents)) and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=300)
    assert first.returncode == 75, err
    assert "of 6 runs are stored" in out, err
    assert checkpoint.files(parents) or store.stored_ids(parents)
    again = launched(file, workdir)
    out, err = again.communicate(timeout=500)
    assert again.returncode == 0, err
    assert "all 6 runs of this sweep are stored" in out
    assert "6/6 runs" not in err  # what they start from counts too
    assert "9/9 runs  2 shares: 2 stored" in err
    recipe = command.find_recipe(None, str(file), "quick")
    sweeps.run(recipe.base, recipe.sweep, tmp_path / "one", name="own", width=1, devices=1, quiet=True)
    assert rows(workdir) == rows(tmp_path / "one")
    assert rows(workdir / "parents") == rows(tmp_path / "one" / "parents")
    assert not [*workdir.rglob("*.block"), *workdir.rglob("*.tmp")]


@pytest.mark.slow
def test_workers_killed_and_a_node_replaced_lose_double_and_change_nothing():
    pytest.importorskip("ray", reason="pip install -e '.[ray]'")
    command = [sys.executable, str(ROOT / "tests" / "support" / "kills.py"), "--trials=1", "--kills=4", "--nodes=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
