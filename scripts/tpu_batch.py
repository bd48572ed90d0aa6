"""Writes the files of a batch: `sweeps.cli.tpu_batch`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, tpu_batch

if __name__ == "__main__":
    command.start(tpu_batch)
