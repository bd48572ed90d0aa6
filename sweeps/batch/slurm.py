"""Slurm: a job array, an index for each share."""

import shlex

from sweeps.batch.request import Batch
from sweeps.batch.worker import script

ARRAY = """\
#SBATCH --job-name={name}
#SBATCH --array=0-{last}{limit}
#SBATCH --nodes=1 --ntasks=1
{gpus}#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --open-mode=append
#SBATCH --output=%x-%a.log
"""

REQUEUE = """
# Stopped by the clock, or waiting for runs that others train: Slurm starts this index again. Not if it is cancelled.
task="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
if ((ended == 75)) && [[ $(squeue --noheader --format=%T --jobs="$task") == RUNNING ]]; then
  scontrol requeue "$task"
fi
exit "$ended"
"""


def array(batch: Batch) -> str:
    """The script for `sbatch`."""
    limit = f"%{batch.parallelism}" if batch.parallelism else ""
    gpus = f"#SBATCH --gres=gpu:{batch.device.chips}\n" if batch.device.kind == "gpu" else ""
    told = batch.head(
        "",
        f"{batch.shares} shares on {batch.accelerator}. SIGTERM comes 60 s before the end: 30 s are enough.",
        "Flags of sbatch go before the file: --partition, --time, --cpus-per-task, --account …",
        "",
        "submit    sbatch array.sh",
        f"watch     squeue --me --name={batch.name}; tail {batch.name}-*.log",
        "resubmit  sbatch array.sh   # what is stored is not trained again",
        f"delete    scancel --me --name={batch.name}   # the results stay in the workdir",
    )
    fields = {"name": batch.name, "last": batch.shares - 1, "limit": limit, "gpus": gpus}
    launcher: tuple[str, ...] = ()
    start = f"cd {shlex.join([batch.directory])} || exit 2\n"
    if batch.image is not None:
        launcher = ("apptainer", "exec", *(["--nv"] if batch.device.kind == "gpu" else []), "--pwd=/app")
        if not batch.in_cloud:
            launcher += (f"--bind={batch.workdir}", f"--bind={batch.compiled}")
            start += f"mkdir -p {shlex.join([batch.workdir, batch.compiled])}  # for the container to see\n"
        launcher += (f"docker://{batch.image}",)
    text = script(batch, slice_="${SLURM_ARRAY_TASK_ID:?is set by Slurm}", host="0", launcher=launcher)
    return "#!/usr/bin/env bash\n" + told + ARRAY.format(**fields) + start + text + REQUEUE
