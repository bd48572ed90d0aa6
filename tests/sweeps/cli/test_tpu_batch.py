"""The program that writes batches."""

import shlex
import sys
from types import SimpleNamespace

import pytest
import yaml
from batches import Commands
from programs import Program, refused
from pyarrow import fs

from sweeps.storage import store, workdir
from sweeps.storage.workdir import Workdir

SMALL = "--recipe=quickstart", "--scale=smoke"
GKE = "--target=gke", "--accelerator=v5e-8", "--shares=4", "--workdir=gs://bucket/sweep", "--image=host/jaxgen:1"


@pytest.fixture(scope="module")
def tpu_batch():
    return Program("tpu_batch")


def command_of(text):
    """The words of the command that a worker's script runs."""
    (line,) = [line.strip() for line in text.split("\n") if line.strip().startswith("command=(")]
    return shlex.split(line.removeprefix("command=(").removesuffix(")"))


def test_what_was_asked_for_reaches_the_workers_and_the_head(tpu_batch, tmp_path, capfd):
    axes = "--set=optimizer.weight_decay=logspace(-2, 1, 4)", "--set=task.p=23"
    out = tmp_path / "batch"
    assert tpu_batch(*SMALL, *axes, *GKE, "--seeds=2", "--width=8", "--queue=tpus", f"--out={out}") == 0
    said = capfd.readouterr().out.splitlines()
    assert said[:2] == [str(out / "job.yaml"), str(out / "Dockerfile")]
    assert said[2].endswith(" in 4 shares, about 6 each, on 4 × v5e-8; the head of job.yaml says how to go on")
    text = (out / "job.yaml").read_text()
    worker, job = yaml.safe_load_all(text)
    assert job["metadata"]["name"] == "quickstart"
    told = command_of(worker["data"]["worker.sh"])
    assert told[:4] == ["python", "-m", "sweeps", "launch"]
    assert set(told[4:]) == {*SMALL, *axes, "--seeds=2", "--width=8", "--workdir=gs://bucket/sweep"}
    made = shlex.split(text.split("\n")[0].removeprefix("# Written by jaxgen batch: "))
    assert made[:4] == ["python", "-m", "sweeps", "batch"]
    assert set(made[4:]) == {*SMALL, *axes, *GKE, "--seeds=2", "--width=8", "--queue=tpus", f"--out={out}"}


def test_a_dry_run_lists_the_files_and_writes_none(tpu_batch, tmp_path, capfd):
    assert tpu_batch(*SMALL, *GKE, f"--out={tmp_path / 'batch'}", "--dry_run") == 0
    said = capfd.readouterr().out
    assert str(tmp_path / "batch" / "job.yaml") in said
    assert said.endswith("; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


FILE = """
import jaxgen as jg, sweeps
recipe = sweeps.Recipe(
    name="My sweep",
    base=jg.Experiment(
        task=jg.tasks.ModularAddition(p=7, train_fraction=0.6), model=jg.models.QuadraticMLP(width=12),
        loss=jg.losses.CrossEntropy(), optimizer=jg.optimizers.AdamW(learning_rate=0.01),
        training=jg.Training(steps=20, evaluate_every=10),
    ),
    sweep=sweeps.seeds(3),
)
"""


def test_a_file_of_the_users_own_is_in_the_image(tpu_batch, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "it.py").write_text(FILE)
    gke = [word.replace("=4", "=3") for word in GKE]
    assert tpu_batch(f"--sweep={tmp_path / 'mine' / 'it.py'}", *gke, "--out=out") == 0
    worker, job = yaml.safe_load_all((tmp_path / "out" / "job.yaml").read_text())
    assert job["metadata"]["name"] == "my-sweep"
    assert "--sweep=mine/it.py" in command_of(worker["data"]["worker.sh"])
    assert 'COPY ["mine/*.py", "mine/"]' in (tmp_path / "out" / "Dockerfile").read_text()
    monkeypatch.chdir(tmp_path / "out")
    said = refused(tpu_batch, "--sweep=../mine/it.py", *gke, "--out=.", capfd=capfd)
    assert "sweep = '../mine/it.py': must lie under this directory, from which the image is built" in said


def test_slurm_runs_this_python_here(tpu_batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", "/venv of mine/bin/python")
    slurm = "--target=slurm", "--accelerator=cpu", "--shares=2", "--workdir=it's here"
    assert tpu_batch(*SMALL, *slurm, "--out=.") == 0
    text = (tmp_path / "array.sh").read_text()
    told = command_of(text)
    assert (told[0], told[-1]) == ("/venv of mine/bin/python", f"--workdir={tmp_path}/it's here")
    assert f"cd {shlex.quote(str(tmp_path))} || exit 2\n" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--accelerator=v5e-9"], "accelerator = 'v5e-9': did you mean v5e-"),
        (["--shares=1000"], "shares = 1000: must be at most "),
        (["--recipe=quickstrat"], "quickstart"),
        (["--set=optimizer.weight_decya=1"], "did you mean optimizer.weight_decay?"),
        (["--workdir=out/sweep"], "workdir = 'out/sweep': must be a URI that all machines reach"),
        (["--set=task.p=23,$(reboot)"], "must be numbers, words"),
        (["--set=training.steps=10.5"], "training.steps = 10.5"),
        (["--width=100000000"], "width = 100000000: must be a whole number in"),
        (["--max_compiles=1", "--set=model.width=8,16"], "programs"),
        (["--queue=a b"], "queue = 'a b': must be the name of a queue of Kueue"),
    ],
)
def test_what_is_not_allowed_is_one_line(arguments, said, tpu_batch, tmp_path, capfd):
    assert said in refused(tpu_batch, *SMALL, *GKE, f"--out={tmp_path / 'batch'}", *arguments, capfd=capfd)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["gke", "slurm"])
def test_the_very_commands_of_all_machines_train_each_run_once(target, tpu_batch, tmp_path, monkeypatch):
    (tmp_path / "it.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    bucket = fs._MockFileSystem()
    of_uri = SimpleNamespace(from_uri=lambda uri: (bucket, uri.partition("://")[2]))
    monkeypatch.setattr(workdir, "FileSystem", of_uri)
    slurm = "--target=slurm", "--accelerator=cpu", "--workdir=results"
    where = GKE if target == "gke" else slurm
    assert tpu_batch("--sweep=it.py", *where, "--shares=3", "--out=out") == 0
    file = tmp_path / "out" / "array.sh"
    if target == "gke":
        file = tmp_path / "worker.sh"
        file.write_text(next(yaml.safe_load_all((tmp_path / "out" / "job.yaml").read_text()))["data"]["worker.sh"])
    file.write_text(file.read_text().replace(f"command=({shlex.quote(sys.executable)} ", "command=(python "))
    machines, launch = Commands(tmp_path), Program("launch_sweep")
    held = Workdir.at("gs://bucket/sweep" if target == "gke" else "results")
    stored = set()
    for index in range(3):
        number = {"JOB_COMPLETION_INDEX": str(index), "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(index)}
        assert machines.bash(file, **number).returncode == 0
        (told,) = machines.recorded.glob("argv-*")
        _, _, program, *words = told.read_text().splitlines()
        told.unlink()
        assert (program, launch(*words)) == ("launch", 0)
        assert len(store.stored_ids(held) - stored) == 1  # of three runs
        stored = store.stored_ids(held)
    assert len(stored) == 3
