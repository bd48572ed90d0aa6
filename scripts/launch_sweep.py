"""Trains a sweep: `sweeps.cli.launch_sweep`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, launch_sweep

if __name__ == "__main__":
    command.start(launch_sweep)
