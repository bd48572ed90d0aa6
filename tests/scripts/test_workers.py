"""Several workers at once, as an indexed job or an array starts them: the set is that of a single process."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import Program

import sweeps
from sweeps.cli import command
from sweeps.storage import checkpoint, launches, store
from sweeps.storage.workdir import Workdir

ROOT = Path(__file__).parents[2]
OWN = """
import jaxgen as jg, sweeps
base = jg.Experiment(
    jg.tasks.ModularAddition(p=7, train_fraction=0.6), jg.models.QuadraticMLP(width=12), jg.losses.CrossEntropy(),
    jg.optimizers.AdamW(learning_rate=0.01), jg.Training(steps=20000, evaluate_every=100),
)
recipe = sweeps.Recipe(base, sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(3)))
"""


def rows(workdir):
    return {row["run_id"]: repr({**row, "provenance": ""}) for row in store.read(workdir).to_pylist()}


def started(file, workdir, share):
    arguments = [f"--sweep={file}", f"--workdir={workdir}", f"--share={share}/3", "--width=1", "--devices=1"]
    program = [sys.executable, str(ROOT / "scripts" / "launch_sweep.py"), *arguments, "--checkpoint_seconds=0.1"]
    return subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_three_workers_at_once_one_killed_and_one_preempted_equal_one(tmp_path):
    file, workdir = tmp_path / "own.py", tmp_path / "shares"
    file.write_text(OWN)
    workers = [started(file, workdir, share) for share in range(3)]
    for share, number in ((1, signal.SIGKILL), (2, signal.SIGTERM)):
        while not checkpoint.files(Workdir(workdir).owned((share, 3))) and workers[share].poll() is None:
            time.sleep(0.01)
        workers[share].send_signal(number)
    said = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, -signal.SIGKILL, 75], said
    assert "all 2 runs of share 0/3 are stored" in said[0][0]
    assert "of 2 runs are stored" in said[2][0]
    assert checkpoint.files(Workdir(workdir).owned((1, 3)))
    again = [started(file, workdir, share) for share in (1, 2)]
    said = [worker.communicate(timeout=300) for worker in again]
    assert [worker.returncode for worker in again] == [0, 0], said
    recipe = command.find_recipe(None, str(file), "quick")
    sweeps.run(recipe.base, recipe.sweep, tmp_path / "one", name="own", width=1, devices=1, quiet=True)
    assert rows(workdir) == rows(tmp_path / "one")
    assert not [*(workdir / "inflight").iterdir(), *workdir.rglob("*.tmp")]
    assert [one["share"] for one in launches.read(Workdir(workdir))].count("1of3") == 2


@pytest.mark.parametrize("share", ["3", "3/3", "-1/3", "1/0", "x/y", "1/2/3", "", "0.5/2", "²/3", "1/99999999"])
@pytest.mark.parametrize("name", ["launch_sweep", "reproduce"])
def test_what_is_no_share_is_one_line(name, share, tmp_path, capfd):
    code = Program(name)("--recipe=quickstart", "--scale=smoke", f"--workdir={tmp_path / 'w'}", f"--share={share}")
    said = capfd.readouterr().err
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("error: share = ")
    assert not (tmp_path / "w").exists()


def test_rounds_are_not_shared(tmp_path, capfd):
    flags = ["--refine=task.train_fraction,optimizer.weight_decay", "--share=0/2"]
    assert Program("launch_sweep")("--recipe=quickstart", f"--workdir={tmp_path / 'w'}", *flags) == 2
    assert "share = '0/2': is of a sweep's own points" in capfd.readouterr().err


@pytest.mark.slow
def test_the_dry_run_of_a_share_is_of_its_runs(tmp_path, capfd):
    flags = ["--recipe=quickstart", "--scale=smoke", f"--workdir={tmp_path / 'w'}", "--dry_run"]
    flags += ["--set=training.steps=100"]
    counts = []
    for share in ("0/2", "1/2"):
        assert Program("launch_sweep")(*flags, f"--share={share}") == 0
        counts.append(int(re.search(r"^(\d+) runs, ", capfd.readouterr().out, re.MULTILINE).group(1)))
    assert Program("launch_sweep")(*flags) == 0
    assert sum(counts) == int(re.search(r"^(\d+) runs, ", capfd.readouterr().out, re.MULTILINE).group(1))
