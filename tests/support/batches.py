"""Small batches for every target, and machines that only record what they are told."""

import os
import subprocess

from sweeps.batch.request import Batch

RECORDS = """#!/usr/bin/env bash
printf '%s\\n' "${*: -1}" >> "$RECORDED/shares"
printf '%s\\n' "$@" > "$RECORDED/argv-${RANDOM}${RANDOM}"
echo "${TPU_VISIBLE_CHIPS-} ${TPU_PROCESS_PORT-} ${TPU_CHIPS_PER_PROCESS_BOUNDS-}" >> "$RECORDED/chips"
"""


def asked(target, /, **other):
    """A small batch for a target."""
    own = {
        "gke": {"accelerator": "v5e-8", "workdir": "gs://bucket/sweep", "image": "host/jaxgen:1"},
        "gcloud": {"accelerator": "v5e-8", "workdir": "gs://bucket/sweep", "image": "host/jaxgen:1"},
        "slurm": {"accelerator": "gpu-1", "workdir": "/shared/sweep"},
    }[target]
    own |= {"zone": "us-west4-a", "project": "mine"} if target == "gcloud" else {}
    start = {"target": target, "shares": 4, "flags": ("--recipe=quickstart",), "made_by": "python -m sweeps batch …"}
    return Batch(**start | own | other)


BATCHES = {
    "gke": asked("gke"),
    "gke queue": asked("gke", queue="tpus", spot=True, parallelism=2, service_account="trainer"),
    "gke chips": asked("gke", shares=16, processes="chip"),
    "gke hosts": asked("gke", accelerator="v5e-16", shares=8, queue="tpus", spot=True),
    "gke hosts chips": asked("gke", accelerator="v4-16", shares=16, processes="chip"),
    "gcloud": asked("gcloud", spot=True),
    "gcloud hosts": asked("gcloud", accelerator="v6e-16", shares=8, service_account="a@b.iam.gserviceaccount.com"),
    "gcloud chips": asked("gcloud", shares=16, processes="chip", image="us-docker.pkg.dev/p/i/jaxgen:1"),
    "slurm": asked("slurm"),
    "slurm image": asked("slurm", image="host/jaxgen:1", parallelism=2),
    "slurm cpu": asked("slurm", accelerator="cpu", workdir="s3://bucket/sweep", image="host/jaxgen:1"),
}


class Commands:
    """Runs bash with programs of the test's own in the place of others; they record what they are told."""

    def __init__(self, folder):
        self.folder, self.programs, self.recorded = folder, folder / "bin", folder / "recorded"
        self.programs.mkdir()
        self.recorded.mkdir()
        self.put("python", RECORDS)

    def put(self, name, text):
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def environment(self, **other):
        path = f"{self.programs}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "RECORDED": str(self.recorded), "TMPDIR": str(self.folder), **other}

    def bash(self, file, *arguments, **environment):
        given = {"env": self.environment(**environment), "cwd": self.folder, "timeout": 60}
        return subprocess.run(["bash", str(file), *arguments], capture_output=True, text=True, **given)

    def lines(self, name):
        file = self.recorded / name
        return file.read_text().splitlines() if file.exists() else []


def written(text, folder, name="worker.sh"):
    """A file with a text."""
    path = folder / name
    path.write_text(text)
    return path
