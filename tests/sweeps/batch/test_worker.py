"""Every machine's script is run: each share is trained once, and its end is told as it was."""

import os
import signal
import subprocess
import time

import pytest
import yaml
from batches import BATCHES, asked, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeps.batch import gcloud, gke, slurm
from sweeps.batch.files import contents

DOCKER = """#!/usr/bin/env bash
for word in "$@"; do
  case $word in
    --volume=*:/batch:ro) folder=${word#--volume=}; folder=${folder%:/batch:ro} ;;
    --env=*) export "${word#--env=}" ;;
  esac
done
printf '%s\\n' "$*" >> "$RECORDED/docker"
exec bash "$folder/worker.sh"
"""
CURL = """#!/usr/bin/env bash
case "${*: -1}" in
  */slice-index) printf '%s' "$SLICE" ;;
  */agent-worker-number) printf '%s' "$HOST" ;;
  *) exit 22 ;;
esac
"""
APPTAINER = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$RECORDED/apptainer"
while [[ $1 != docker://* ]]; do shift; done
shift
exec "$@"
"""


def run_all(batch, commands):
    """Runs the script of each machine of a batch."""
    if batch.target == "gke":
        worker, *rest = yaml.safe_load_all(gke.manifest(batch)[1])
        file = written(worker["data"]["worker.sh"], commands.folder)
        for document in rest:
            several = document["kind"] == "JobSet"
            job = document["spec"]["replicatedJobs"][0]["template"]["spec"] if several else document["spec"]
            env = {e["name"]: e["value"] for e in job["template"]["spec"]["containers"][0].get("env", [])}
            for index in range(job["completions"]):
                yield commands.bash(file, **env, JOB_COMPLETION_INDEX=str(index))
    elif batch.target == "slurm":
        commands.put("apptainer", APPTAINER)
        text = slurm.array(batch)
        first, last = text.split("#SBATCH --array=")[1].split()[0].partition("%")[0].split("-")
        for index in range(int(first), int(last) + 1):
            task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(index)}
            yield commands.bash(written(text, commands.folder, "array.sh"), **task)
    else:
        for name, program in (("docker", DOCKER), ("curl", CURL), ("gcloud", "#!/usr/bin/env bash\n")):
            commands.put(name, program)
        file = written(gcloud.scripts(batch)["startup.sh"], commands.folder, "startup.sh")
        for slice_ in range(batch.slices):
            for host in range(batch.device.hosts):
                yield commands.bash(file, SLICE=str(slice_), HOST=str(host))


@pytest.mark.parametrize("name", BATCHES)
def test_each_share_is_trained_once(name, commands, monkeypatch):
    batch = BATCHES[name]
    if batch.target == "slurm" and not batch.in_cloud:
        batch = asked("slurm", image=batch.image, workdir=str(commands.folder / "w"), parallelism=batch.parallelism)
    for done in run_all(batch, commands):
        assert (done.returncode, done.stderr) == (0, "")
    expected = sorted(f"--share={i}/{batch.shares}" for i in range(batch.shares))
    assert sorted(commands.lines("shares")) == expected
    told = ["-m", "sweeps", "launch", "--recipe=quickstart", f"--workdir={batch.workdir}"]
    for file in commands.recorded.glob("argv-*"):
        assert file.read_text().splitlines()[:-1] == told


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("gke", [" "] * 4),  # the library's own choice: all of the machine
        ("gke chips", [f"{chip} {8476 + chip} 1,1,1" for chip in range(8)] * 2),
        ("gke hosts", ["0,1,2,3 8476 2,2,1"] * 8),
        ("gke hosts chips", [f"{chip} {8476 + chip} 1,1,1" for chip in range(4)] * 4),
        ("gcloud hosts", ["0,1,2,3 8476 2,2,1"] * 8),
        ("slurm", [" "] * 4),
    ],
)
def test_processes_see_chips_of_their_own(name, seen, commands):
    batch = BATCHES[name]
    assert all(done.returncode == 0 for done in run_all(batch, commands))
    assert sorted(line.rstrip() for line in commands.lines("chips")) == sorted(line.rstrip() for line in seen)


def worker(commands, **other):
    """The script of a machine with eight processes, or one."""
    text = next(yaml.safe_load_all(gke.manifest(asked("gke", shares=8, **other))[1]))["data"]["worker.sh"]
    return written(text, commands.folder)


@pytest.mark.parametrize(
    ("codes", "ended"),
    [
        ([0] * 8, 0),
        ([0, 75, 0, 0, 0, 0, 0, 0], 75),
        ([75, 0, 0, 0, 1, 75, 0, 0], 1),
        ([139, 0, 0, 0, 0, 0, 0, 75], 139),
        ([2, 0, 0, 0, 1, 75, 0, 0], 2),
        ([75, 1, 0, 0, 0, 0, 0, 2], 2),
        ([130, 143, 0, 0, 0, 0, 0, 0], 75),  # ended by a signal before it could listen
    ],
)
def test_a_machine_ends_as_its_processes_do(codes, ended, commands):
    told = " ".join(map(str, codes))
    commands.put(
        "python", f'#!/usr/bin/env bash\ncodes=({told})\nshare=${{*: -1}}\nexit "${{codes[${{share:8:1}}]}}"\n'
    )
    done = commands.bash(worker(commands, processes="chip"), JOB_COMPLETION_INDEX="0")
    assert (done.returncode, done.stderr) == (ended, "")


@pytest.mark.parametrize("index", ["", "x", "1 + 1", "a[$(touch evil)]", "-1", "08"])
def test_an_index_that_is_none_is_refused(index, commands):
    done = commands.bash(worker(commands), JOB_COMPLETION_INDEX=index)
    assert done.returncode in (1, 2)
    assert done.stderr
    assert not commands.lines("shares")
    assert not (commands.folder / "evil").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_machine_that_is_taken_away_tells_its_processes_and_waits_for_them(number, commands):
    commands.put(
        "python",
        """#!/usr/bin/env bash
seconds=.3
[[ ${*: -1} != --share=0/8 ]] || seconds=1  # the one that is waited for first
trap 'sleep $seconds; echo "${*: -1}" >> "$RECORDED/saved"; exit 75' TERM
echo ready >> "$RECORDED/ready"
while :; do sleep .05; done
""",
    )
    file = worker(commands, processes="chip")
    environment = commands.environment(JOB_COMPLETION_INDEX="0")
    process = subprocess.Popen(["bash", str(file)], env=environment, cwd=commands.folder, start_new_session=True)
    try:
        until = time.monotonic() + 30
        while len(commands.lines("ready")) < 8 and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(process.pid, number)
        assert process.wait(timeout=30) == 75
        assert sorted(commands.lines("saved")) == [f"--share={i}/8" for i in range(8)]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8")).filter(str.isprintable), min_size=1, max_size=3))
def test_words_of_users_reach_the_program_as_they_were(commands, words):
    for file in commands.recorded.glob("*"):
        file.unlink()
    done = commands.bash(worker(commands, flags=tuple(words)), JOB_COMPLETION_INDEX="5")
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = commands.recorded.glob("argv-*")
    assert file.read_text().split("\n")[3:-3] == words


@pytest.mark.parametrize(("state", "again"), [("RUNNING", True), ("COMPLETING", False)])
def test_slurm_starts_an_index_again_that_was_stopped_and_not_cancelled(state, again, commands):
    commands.put("python", "#!/usr/bin/env bash\nexit 75\n")
    commands.put("squeue", f"#!/usr/bin/env bash\necho {state}\n")
    commands.put("scontrol", '#!/usr/bin/env bash\necho "$*" >> "$RECORDED/scontrol"\n')
    file = written(slurm.array(asked("slurm")), commands.folder, "array.sh")
    done = commands.bash(file, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")
    assert done.returncode == 75
    assert commands.lines("scontrol") == (["requeue 7_3"] if again else [])


def test_slurm_leaves_an_index_that_failed(commands):
    commands.put("python", "#!/usr/bin/env bash\nexit 1\n")
    commands.put("scontrol", '#!/usr/bin/env bash\necho "$*" >> "$RECORDED/scontrol"\n')
    file = written(slurm.array(asked("slurm")), commands.folder, "array.sh")
    assert commands.bash(file, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3").returncode == 1
    assert not commands.lines("scontrol")


def test_cloud_machines_go_on_until_their_shares_are_done(commands):
    commands.put(
        "python", '#!/usr/bin/env bash\necho x >> "$RECORDED/tried"\n(($(wc -l < "$RECORDED/tried") > 2)) || exit 75\n'
    )
    commands.put("sleep", '#!/usr/bin/env bash\necho "$1" >> "$RECORDED/slept"\n')
    (done,) = run_all(asked("gcloud", shares=1), commands)
    assert commands.lines("slept") == ["60", "60"]
    assert "sweep-0, host 0: ended with 0" in done.stdout
    assert "--privileged --network=host" in commands.lines("docker")[0]
    assert " host/jaxgen:1 bash /batch/worker.sh" in commands.lines("docker")[0]


GCLOUD = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$RECORDED/gcloud"
[[ $* != *describe* ]] || case $5 in
  sweep-1) echo ACTIVE ;;
  sweep-2) echo SUSPENDED ;;
  *) exit 1 ;;
esac
"""


def test_slices_are_asked_for_where_there_are_none(commands):
    commands.put("gcloud", GCLOUD)
    file = written(contents(BATCHES["gcloud"])["submit.sh"], commands.folder, "submit.sh")
    done = commands.bash(file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sweep-1: ACTIVE\n", "")
    told = [line.removeprefix("compute tpus queued-resources ") for line in commands.lines("gcloud")]
    assert [line for line in told if not line.startswith("describe")] == [
        f"{verb} sweep-{i} {rest}"
        for i, verb, rest in [
            (0, "create", _created(0)),
            (2, "delete", "--zone=us-west4-a --project=mine --force --quiet"),
            (2, "create", _created(2)),
            (3, "create", _created(3)),
        ]
    ]


def _created(number):
    return (
        f"--node-id=sweep-{number} --zone=us-west4-a --project=mine --accelerator-type=v5litepod-8 "
        "--runtime-version=v2-alpha-tpuv5-lite --spot --scopes=https://www.googleapis.com/auth/cloud-platform "
        f"--metadata=slice-index={number} --metadata-from-file=startup-script=startup.sh"
    )


def test_some_slices_are_asked_for_and_deleted_by_their_numbers(commands):
    commands.put("gcloud", GCLOUD)
    files = contents(BATCHES["gcloud"])
    assert commands.bash(written(files["submit.sh"], commands.folder, "submit.sh"), "3").returncode == 0
    assert [line.split()[4] for line in commands.lines("gcloud")] == ["sweep-3", "sweep-3"]
    for wrong in ("4", "-1", "x", "08", "a[$(touch evil)]"):
        done = commands.bash(commands.folder / "submit.sh", wrong)
        assert (done.returncode, done.stderr) == (2, f"error: slice {wrong}: must be a number from 0 to 3\n")
    assert not (commands.folder / "evil").exists()
    assert commands.bash(written(files["delete.sh"], commands.folder, "delete.sh"), "0", "2").returncode == 0
    assert [line.split()[4] for line in commands.lines("gcloud")[-2:]] == ["sweep-0", "sweep-2"]
