"""Checks what is stored of a sweep: `sweeps.cli.doctor`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, doctor

if __name__ == "__main__":
    command.start(doctor)
