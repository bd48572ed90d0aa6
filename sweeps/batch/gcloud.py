"""Cloud TPU: a queued resource for each slice, whose machines run a script when they start."""

import shlex
import textwrap

from sweeps.batch.request import Batch
from sweeps.batch.worker import script

SUBMIT = """\
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"

place=({place})
(($#)) || set -- {{0..{last}}}
for number in "$@"; do
  if ! [[ $number =~ ^(0|[1-9][0-9]*)$ ]] || ((number > {last})); then
    echo "error: slice $number: must be a number from 0 to {last}" >&2
    exit 2
  fi
  id={name}-$number
  described=("$id" "${{place[@]}}" --format='value(state.state)')
  state=$(gcloud compute tpus queued-resources describe "${{described[@]}}" 2>/dev/null) || state=  # there is none
  case $state in
    '') ;;
    FAILED | SUSPENDED)  # taken away: another in its place
      gcloud compute tpus queued-resources delete "$id" "${{place[@]}}" --force --quiet ;;
    *)
      echo "$id: $state"
      continue ;;
  esac
  gcloud compute tpus queued-resources create "$id" --node-id="$id" "${{place[@]}}" \\
    {asked} \\
    --metadata="slice-index=$number" --metadata-from-file=startup-script=startup.sh
done
"""

DELETE = """\
set -uo pipefail

place=({place})
(($#)) || set -- {{0..{last}}}
for number in "$@"; do
  gcloud compute tpus queued-resources delete "{name}-$number" "${{place[@]}}" --force --quiet --async
done
"""

STARTUP = """\
set -uo pipefail

about() {{
  curl --silent --fail --header 'Metadata-Flavor: Google' "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}}
slice=$(about slice-index) || exit 1          # given when the slice was asked for
host=$(about agent-worker-number) || host=0   # of this machine in its slice

folder=$(mktemp -d)
cat > "$folder/worker.sh" <<'END_OF_WORKER'
{worker}END_OF_WORKER

{login}ended=75
while ((ended == 75)); do  # stopped, or waiting for runs that others train: goes on
  docker run --rm --privileged --network=host --volume="$folder:/batch:ro" \\
    --env=SLICE_INDEX="$slice" --env=HOST_INDEX="$host" {image} bash /batch/worker.sh &
  container=$!
  trap 'kill -TERM "$container"; wait "$container"; exit 75' TERM
  wait "$container"
  ended=$?
  ((ended != 75)) || sleep 60
done
echo "{name}-$slice, host $host: ended with $ended"
"""


def scripts(batch: Batch) -> dict[str, str]:
    """The names of the files, and what they say."""
    text = script(batch, slice_="${SLICE_INDEX:?}", host="${HOST_INDEX:?}") + 'exit "$ended"\n'
    asked = [f"--accelerator-type={batch.device.cloud_type}", f"--runtime-version={batch.device.runtime}"]
    asked += ["--spot"] if batch.spot else []
    asked += [f"--service-account={batch.service_account}"] if batch.service_account else []
    asked += ["--scopes=https://www.googleapis.com/auth/cloud-platform"]
    fields = {"name": batch.name, "last": batch.slices - 1}
    fields |= {"place": shlex.join([f"--zone={batch.zone}", f"--project={batch.project}"]), "asked": shlex.join(asked)}
    registry = str(batch.image).partition("/")[0]
    login = ""
    if registry.endswith("-docker.pkg.dev") or registry == "gcr.io" or registry.endswith(".gcr.io"):
        login = f"gcloud auth configure-docker {shlex.join([registry])} --quiet  # as the machine's service account\n"
    started = {"name": batch.name, "worker": "#!/usr/bin/env bash\n" + text, "image": shlex.join([str(batch.image)])}
    head, shebang = batch.head(*_told(batch)), "#!/usr/bin/env bash\n"
    return {
        "submit.sh": shebang + head + SUBMIT.format(**fields),
        "delete.sh": shebang + head + DELETE.format(**fields),
        "startup.sh": shebang + head + STARTUP.format(**started, login=login),
    }


def _told(batch: Batch) -> list[str]:
    """What the heads of the files say."""
    where = shlex.join([f"--zone={batch.zone}", f"--project={batch.project}"])
    each = f"{batch.device.hosts} × {batch.device.chips_per_host} chips"
    text = f"""
        {batch.slices} slices of {batch.accelerator} ({each}), {batch.shares} shares. Their service account has to read
        and write the bucket and to read the image. Slices are paid for until they are deleted, even if all is done.

        submit    bash submit.sh   # all slices, or those whose numbers are given; those that there are stay
        watch     gcloud compute tpus queued-resources list {where}
                  gcloud compute tpus tpu-vm ssh {batch.name}-0 {where} \\
                    --command='sudo journalctl -u google-startup-scripts.service'
        resubmit  bash submit.sh   # those that were taken away anew; what is stored is not trained again
        delete    bash delete.sh   # all slices, or those whose numbers are given; the results stay in the workdir
        """
    return textwrap.dedent(text).rstrip().split("\n")
