"""Trains one stored run again, alone, in the same program, and compares it with what is stored, bit for bit.

python scripts/replay.py --workdir=out/quickstart --run_id=0123456789abcdef0123
python scripts/replay.py --workdir=out/own --sweep=examples/own_task.py --run_id=0123456789abcdef0123
"""

import sys

from absl import flags

from sweeps.cli import command
from sweeps.execution.replay import replay

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the results, or its URI (gs://…, s3://…).", required=True)
RUN_ID = flags.DEFINE_string("run_id", None, "The run.", required=True)
SWEEP = flags.DEFINE_multi_string("sweep", [], "Python file that defines the run's own components, if it has any.")


def main() -> None:
    """Trains the run and tells whether it is the same."""
    for file in SWEEP.value:
        command.load_file(file)
    differences, notes = replay(WORKDIR.value, RUN_ID.value)
    for note in notes:
        print(note)
    if differences:
        print(f"{RUN_ID.value} differs in {', '.join(differences)}")
        sys.exit(1)
    print(f"{RUN_ID.value} is the same, bit for bit")
