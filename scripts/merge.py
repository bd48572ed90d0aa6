"""Puts result sets together: `sweeps.cli.merge`, which `--help` prints."""

import interruptible  # noqa: F401 (Ctrl-C from here on is one line)

# isort: split
from sweeps.cli import command, merge

if __name__ == "__main__":
    command.start(merge)
