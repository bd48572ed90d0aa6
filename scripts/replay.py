"""Trains one stored run again: `sweeps.cli.replay`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, replay

if __name__ == "__main__":
    command.start(replay)
