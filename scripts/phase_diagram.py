"""Draws the phase diagram of a sweep: `sweeps.cli.phase_diagram`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, phase_diagram

if __name__ == "__main__":
    command.start(phase_diagram)
