"""Tells how far a sweep is: `sweeps.cli.status`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, status

if __name__ == "__main__":
    command.start(status)
