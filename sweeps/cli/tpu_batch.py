"""Writes the files with which a batch system trains a sweep in shares, one process each, on TPUs or GPUs.

  python scripts/tpu_batch.py --recipe=quickstart --target=gke --accelerator=v5e-8 --shares=32 \\
      --workdir=gs://bucket/quickstart --image=us-docker.pkg.dev/project/images/jaxgen:1 --queue=tpus --out=batch
  python scripts/tpu_batch.py --recipe=quickstart --target=gcloud --accelerator=v5e-16 --shares=32 --spot \\
      --workdir=gs://bucket/quickstart --image=… --zone=us-west4-a --project=mine --out=batch
  python scripts/tpu_batch.py --recipe=quickstart --target=slurm --accelerator=gpu-1 --shares=32 \\
      --workdir=/shared/quickstart --out=batch

gke: a Kubernetes Job with an index for each slice, a JobSet for each where a slice has several hosts; gcloud: queued
resources of Cloud TPU; slurm: a job array. Each file's head says how it is submitted, watched, resubmitted, deleted.

No process waits for another or fails with it: process p of host h of slice s trains share
(s · hosts + h) · processes + p. A share that is stopped, or waits for runs that others train, is tried again.

Exit codes: 0 the files are written; 2 the input is not allowed.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from absl import flags

from jaxgen import FieldError
from sweeps.batch.files import contents, write
from sweeps.batch.request import Batch
from sweeps.cli import command
from sweeps.execution.options import Options
from sweeps.execution.plan import make_plan

RECIPE = flags.DEFINE_string("recipe", None, "Name of a recipe.")
SWEEP = flags.DEFINE_string("sweep", None, "Python file that defines `recipe = sweeps.Recipe(...)`; the image has it.")
SCALE = flags.DEFINE_string("scale", "quick", "Scale of the recipe: quick, smoke, paper.")
SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds, instead of the recipe's.")
SET = flags.DEFINE_multi_string("set", [], "An axis: path=values. May be given several times.")
STOP_AFTER = flags.DEFINE_float(
    "stop_after_hours", None, "Each process stops, resumably, after this long.", lower_bound=0
)
MAX_COMPILES = flags.DEFINE_integer(
    "max_compiles", None, "Refuse sweeps that need more compiled programs.", lower_bound=1
)
WIDTH = flags.DEFINE_integer("width", None, "Lanes per block, instead of the rule's.", lower_bound=1)
CHECKPOINT = flags.DEFINE_float("checkpoint_seconds", None, "How often lanes in mid-training are saved.", lower_bound=0)

TARGET = flags.DEFINE_string("target", None, "The batch system: gke, gcloud or slurm.", required=True)
ACCELERATOR = flags.DEFINE_string("accelerator", None, "What a slice is: v5e-8, v6e-16, gpu-1, cpu …", required=True)
SHARES = flags.DEFINE_integer("shares", None, "How many shares, a process each.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Of the results: gs://…, s3://…, with Slurm a directory.", required=True)
OUT = flags.DEFINE_string("out", None, "Directory of the files.", required=True)
IMAGE = flags.DEFINE_string("image", None, "The container image, which the Dockerfile among the files builds.")
NAME = flags.DEFINE_string("name", None, "Of the batch; made of the recipe's when left out.")
PROCESSES = flags.DEFINE_string("processes", "host", "host: one on each machine; chip: one for each chip of it.")
PARALLELISM = flags.DEFINE_integer("parallelism", None, "How many slices at once at most; all when left out.")
QUEUE = flags.DEFINE_string("queue", None, "gke: the queue of Kueue.")
SPOT = flags.DEFINE_bool("spot", False, "gke, gcloud: machines that may be taken away at any time.")
ACCOUNT = flags.DEFINE_string("service_account", None, "gke, gcloud: the service account that may use the bucket.")
ZONE = flags.DEFINE_string("zone", None, "gcloud: the zone.")
PROJECT = flags.DEFINE_string("project", None, "gcloud: the project.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the files and the runs of a share; write nothing.")

LIMITS = STOP_AFTER, MAX_COMPILES, WIDTH, CHECKPOINT
TRAINING = RECIPE, SWEEP, SCALE, SEEDS, SET, *LIMITS
ASKED = TARGET, ACCELERATOR, SHARES, WORKDIR, OUT, IMAGE, NAME, PROCESSES, PARALLELISM
OF_SOME = QUEUE, SPOT, ACCOUNT, ZONE, PROJECT


def main() -> None:
    """Writes the files, or lists them."""
    recipe = command.find_recipe(RECIPE.value, SWEEP.value, SCALE.value)
    points = command.set_axes(recipe.base, recipe.sweep, SET.value, SEEDS.value)
    on_disk = TARGET.value == "slurm" and "://" not in WORKDIR.value
    file = os.path.relpath(SWEEP.value) if SWEEP.value and IMAGE.value else None
    training = given(TRAINING)
    batch = Batch(
        target=TARGET.value,
        accelerator=ACCELERATOR.value,
        shares=SHARES.value,
        workdir=os.path.abspath(WORKDIR.value) if on_disk else WORKDIR.value,
        flags=tuple(f"--sweep={file}" if file and flag.startswith("--sweep=") else flag for flag in training),
        made_by=shlex.join(["python", "-m", "sweeps", "batch", *training, *given(ASKED + OF_SOME)]),
        image=IMAGE.value,
        name=named(recipe.name) if NAME.value is None else NAME.value,
        processes=PROCESSES.value,
        parallelism=PARALLELISM.value,
        queue=QUEUE.value,
        spot=SPOT.value,
        service_account=ACCOUNT.value,
        zone=ZONE.value,
        project=PROJECT.value,
        sweep_file=file,
        directory=os.getcwd(),
        python="python" if IMAGE.value else sys.executable,
    )
    limits: dict[str, Any] = {flag.name: flag.value for flag in LIMITS if flag.value is not None}
    most = Options(**limits).max_compiles
    runs = len(make_plan(recipe.base, points, most).run_ids)  # what is wrong is refused now, not on every machine
    if batch.shares > runs:
        raise FieldError("shares", batch.shares, f"must be at most {runs:,}, the runs of the sweep")
    folder = Path(OUT.value)
    paths = [folder / name for name in contents(batch)] if DRY_RUN.value else write(batch, folder)
    for path in paths:
        print(path)
    each = f"{runs:,} runs in {batch.shares} shares, about {runs / batch.shares:,.0f} each"
    then = "nothing was written" if DRY_RUN.value else f"the head of {paths[0].name} says how to go on"
    print(f"{each}, on {batch.slices} × {batch.accelerator}; {then}")


def given(holders: Iterable[flags.FlagHolder]) -> list[str]:
    """Those of some flags that were given, as words of a command."""
    words = []
    for flag in holders:
        if flag.present and flag.value is not False:
            values = flag.value if isinstance(flag.value, list) else [flag.value]
            words += [f"--{flag.name}" if value is True else f"--{flag.name}={value}" for value in values]
    return words


def named(recipe: str) -> str:
    """A name for a batch of a recipe: its letters and digits, with dashes for all else."""
    return re.sub(r"[^a-z0-9]+", "-", recipe.lower()).strip("-")[:40].strip("-")
