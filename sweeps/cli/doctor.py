"""Reads all that is stored of a sweep and compares it with its checksums; changes nothing.

python scripts/doctor.py out/quickstart

Tells what is damaged and has to be trained again, which runs are stored more than once, alike or with other bits, and
what belongs to nobody. `launch` and `merge` set aside what is damaged; the next launch trains its runs again.

Exit codes: 0 all is sound; 1 something is damaged, or a run has several bits; 2 the input is not allowed.
"""

import sys

from absl import flags

from sweeps.cli import command
from sweeps.storage import status
from sweeps.storage.workdir import Workdir

NAMED = 8  # runs in one line


WORKDIR = flags.DEFINE_string("workdir", None, "The workdir, where it is not given as an argument.")


def main(*workdir: str) -> None:
    """Examines WORKDIR, and the runs that its own start from."""
    first = held = Workdir.at(command.only(workdir, WORKDIR.value))
    sound = True
    while held.read_specification() is not None or held is first:
        found = status.examine(held)
        show(held, found)
        held, sound = held.parents, sound and found.sound
    if not sound:
        sys.exit(1)


def show(workdir: Workdir, found: status.Findings) -> None:
    """Prints a line for each finding."""
    print(f"{workdir}: {found.runs:,} runs in {found.shards:,} sound shards")
    for path, lost in found.damaged.items():
        what = "unknown runs are" if lost is None else f"{_named(lost)} {'is' if len(lost) == 1 else 'are'}"
        print(f"{path} is damaged: {what if lost != [] else 'no run is'} to be trained again")
    for path in (*found.lanes, *found.weights):
        print(f"{path} is damaged: what it held is trained again where it is needed")
    for path in found.launches:
        print(f"{path} is damaged: captions do not tell what it said; move it away")
    for run_id, places in found.differing.items():
        print(f"{run_id} is stored with {len(places)} different contents: {', '.join(path.name for path in places)}")
    if found.repeated:
        print(f"{found.repeated:,} runs are stored more than once, alike: they count once")
    for path in (*found.strangers, *found.leftovers):
        print(f"{path} belongs to nobody: it is not read")


def _named(run_ids: list[str]) -> str:
    some = ", ".join(run_ids[:NAMED]) + (", …" if len(run_ids) > NAMED else "")
    return f"{len(run_ids):,} run{'' if len(run_ids) == 1 else 's'} ({some})"
