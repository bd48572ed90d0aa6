"""Reproduces a study: `sweeps.cli.reproduce`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, reproduce

if __name__ == "__main__":
    command.start(reproduce)
