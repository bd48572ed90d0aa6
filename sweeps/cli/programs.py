"""All programs under one name: `python -m sweeps launch …`, or `jaxgen launch …`."""

import importlib
import os
import sys
from typing import NoReturn

from sweeps.cli import command
from sweeps.interruptible import PROGRAM

PROGRAMS = {
    "launch": ("launch_sweep", "trains a sweep, or tells what that would cost; the same command again continues it"),
    "diagram": ("phase_diagram", "draws the phase diagram of a sweep: figure, caption, table, interactive page"),
    "reproduce": ("reproduce", "trains a study, draws its diagrams and judges the claims of its paper"),
    "batch": ("tpu_batch", "writes the files with which TPU queues, Kubernetes or Slurm train a sweep in shares"),
    "replay": ("replay", "trains one stored run again and compares every bit"),
    "status": ("status", "tells how far a sweep is, and who trains it"),
    "doctor": ("doctor", "compares all that is stored with its checksums"),
    "merge": ("merge", "puts result sets together, or many small shards of one"),
}
"""The module of each in this room, and a line on what it does."""


def main() -> None:
    """Runs the program that the first argument names, with the flags after it; without any, lists them."""
    called, arguments = _called(sys.argv[0]), sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        return print(listed(called))
    name = arguments[0]
    if name not in PROGRAMS:
        _refuse(called, name)
    sys.argv = [f"{called} {name}", *arguments[1:]]
    program = importlib.import_module(f"sweeps.cli.{PROGRAMS[name][0]}")  # only one: their flags have the same names
    for other, (module, _) in PROGRAMS.items():
        program.__doc__ = (program.__doc__ or "").replace(f"python scripts/{module}.py", f"{called} {other}")
    command.start(program)


def listed(called: str) -> str:
    """A line for each program."""
    wide = max(map(len, PROGRAMS))
    lines = [f"  {called} {name:{wide}}  {said}" for name, (_, said) in PROGRAMS.items()]
    return "\n".join([f"{called} PROGRAM --flag=value …; flags: {called} PROGRAM --help", *lines])


def _called(first: str) -> str:
    """What the reader typed to get here, for a line that works again."""
    return PROGRAM if os.path.basename(first).partition(".")[0] == PROGRAM else "python -m sweeps"


def _refuse(called: str, name: str) -> NoReturn:
    command.refuse(f"there is no program {name!r}: {called} {'|'.join(PROGRAMS)}")
