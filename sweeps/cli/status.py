"""How far a sweep is: runs done, running, waiting, and how they ended; who trains it, and until when.

python scripts/status.py out/quickstart
python scripts/status.py gs://bucket/sweep --watch=30

A worker is at work if it holds its lock, where the results lie on a disk; elsewhere if it wrote in the last 10 minutes.
Its last count may be less than what it stored, where it was killed.

Exit codes: 0 all runs are stored; 75 some are not; 2 the input is not allowed.
"""

import sys
import time

from absl import flags
from rich.table import Table

from sweeps.cli import command
from sweeps.execution.progress import clock
from sweeps.storage import status
from sweeps.storage.workdir import Workdir

WATCH = flags.DEFINE_float("watch", None, "Look again every so many seconds, until all is stored.", lower_bound=1)


WORKDIR = flags.DEFINE_string("workdir", None, "The workdir, where it is not given as an argument.")


def main(*workdir: str) -> None:
    """Prints what is known of the sweep in WORKDIR."""
    held = Workdir.at(command.only(workdir, WORKDIR.value))
    found = status.look(held)
    show(found)
    while WATCH.value is not None and found.waiting + found.running:
        time.sleep(WATCH.value)
        found = status.look(held)
        show(found)
    if found.waiting + found.running:
        sys.exit(command.STOPPED)


def show(found: status.Status) -> None:
    """Prints a line for the sweep, and a table with a row for each worker."""
    done = sum(found.stored.values())
    ended = ", ".join(f"{count:,} {name}" for name, count in sorted(found.stored.items(), key=lambda one: -one[1]))
    print(f"{found.name}: {done:,} of {found.runs:,} runs are stored{f' ({ended})' if ended else ''}, ", end="")
    left = "" if found.left_seconds is None else f"; about {clock(found.left_seconds)} left"
    print(f"{found.running:,} in training when lanes were last saved, {found.waiting:,} wait{left}")
    if found.damaged:
        print(f"{found.damaged:,} shards cannot be read, a launch trains their runs anew: doctor.py tells which")
    table = Table("share", "", "its last count", "last wrote", "left", "host")
    for worker in found.workers:
        state = "at work" if worker.at_work else worker.ended or "gone"
        rest = "" if worker.left_seconds is None or not worker.at_work else f"about {clock(worker.left_seconds)}"
        count = f"{worker.done:,} of {worker.own_runs:,}"
        table.add_row(worker.share.replace("of", "/"), state, count, f"{clock(worker.silent)} ago", rest, worker.host)
    if found.workers:
        command.print_table(table)
