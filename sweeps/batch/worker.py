"""The script that every machine of a batch runs: it starts the processes of its shares and tells how they ended."""

import shlex

from sweeps.batch.request import Batch
from sweeps.execution.chips import BOUNDS, PORT

CACHE = """\
# Compiled programs are kept for all processes of all machines: the first that needs one compiles it.
export JAX_COMPILATION_CACHE_DIR={place}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0  # also what compiles fast
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1  # and what is small
"""

ALONE = """\
# Each process is a slice of its own for the TPU's library: it waits for no other process, and fails with none.
unset TPU_HOST_BOUNDS TPU_CHIPS_PER_HOST_BOUNDS  # older names of the next two, set for the slice as a whole
export TPU_PROCESS_BOUNDS=1,1,1  # processes along the three axes of that slice
export TPU_CHIPS_PER_PROCESS_BOUNDS={bounds}  # chips of a process along them
export TPU_WORKER_ID=0 TPU_WORKER_HOSTNAMES=localhost CLOUD_TPU_TASK_ID=0  # the number of this process there: no others
export TPU_SKIP_MDS_QUERY=1  # or the machine would tell of the slice as a whole
"""

OF_PROCESS = """\
  export TPU_VISIBLE_CHIPS=${{visible[process]}}  # of this machine
  export TPU_PROCESS_PORT=$(({port} + process)) TPU_PROCESS_ADDRESSES=localhost:$(({port} + process))  # one each
"""

START = """\
for number in "$slice" "$host"; do
  [[ $number =~ ^(0|[1-9][0-9]*)$ ]] || { echo "error: slice $slice, host $host: must be whole numbers" >&2; exit 2; }
done

# The machine is taken away: every process finishes its chunk, saves its lanes and ends with 75.
programs=()
stopped=
stop() {
  stopped=1
  ((${#programs[@]} == 0)) || kill -TERM "${programs[@]}" 2>/dev/null
}
trap stop TERM INT

for ((process = 0; process < processes && !${stopped:-0}; process++)); do
"""

END = """\
  share=$(((slice * hosts + host) * processes + process))
  "${command[@]}" --share="$share/$shares" &
  programs+=($!)
done
[[ -z $stopped ]] || stop  # one may have started meanwhile

# 2 if the input of one is wrong, else the code of one that failed, else 75 if one is to go on, else 0.
ended=0
for program in "${programs[@]}"; do
  wait "$program"
  code=$?
  while [[ -n $stopped ]] && kill -0 "$program" 2>/dev/null; do  # the signal ended the wait, not the program
    wait "$program"
    code=$?
  done
  case $code in
    0) ;;
    2) ended=2 ;;
    75 | 130 | 143) ((ended)) || ended=75 ;;
    *) ((ended == 2)) || ended=$code ;;
  esac
done
[[ -z $stopped ]] || ((ended)) || ((${#programs[@]} == processes)) || ended=75
"""


def script(batch: Batch, *, slice_: str, host: str, launcher: tuple[str, ...] = ()) -> str:
    """What a machine runs, without its first lines; afterwards `$ended` is what it ends with.

    Args:
      batch: whose shares they are.
      slice_: the number of the machine's slice, as an expression of the shell.
      host: the machine's number in it.
      launcher: words before the command.
    """
    each = batch.device.chips_per_host
    lines = ["set -uo pipefail", ""]
    lines += [
        f"slice={slice_}  # 0 to {batch.slices - 1}",
        f"host={host}  # of the slice, 0 to {batch.device.hosts - 1}",
    ]
    lines += [f"hosts={batch.device.hosts} processes={batch.processes_per_host} shares={batch.shares}"]
    lines += ["# share = (slice * hosts + host) * processes + process", ""]
    lines += [f"command=({shlex.join([*launcher, *batch.command])})", ""]
    text = "\n".join(lines) + "\n" + CACHE.format(place=shlex.join([batch.compiled])) + "\n"
    parts_of_slice = batch.device.kind == "tpu" and batch.processes_per_slice > 1
    if parts_of_slice:
        one = batch.processes == "chip"
        text += ALONE.format(bounds=BOUNDS[1 if one else each])
        chips = [str(chip) for chip in range(each)]
        text += f"visible=({' '.join(chips if one else [','.join(chips)])})  # chips of each process\n\n"
    return text + START + (OF_PROCESS.format(port=PORT) if parts_of_slice else "") + END
