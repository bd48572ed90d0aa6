"""A disk that fails: what changes it is counted, and fails from a certain call on."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CALLS = (os, "fsync"), (os, "replace"), (os, "mkdir"), (os, "unlink"), (os, "rename"), (Path, "write_bytes")


class Died(BaseException):
    """The process is no more: whatever it still tries to do to the disk does not happen."""


class Disk:
    """Counts the calls that change a disk.

    Args:
      rng: decides how much of a file is written before a call fails.
      first: the call that fails, from 0; None: none does.
      last: the last one that does; all later ones do when None.
      error: what is raised.
      done: whether what fails was done nevertheless: the acknowledgement is lost.
    """

    def __init__(
        self,
        rng: random.Random,
        first: int | None = None,
        last: int | None = None,
        error: Callable[[], BaseException] = Died,
        done: bool = False,
    ):
        self.rng, self.first, self.last, self.error, self.done = rng, first, last, error, done
        self.calls = self.failed = 0

    @contextmanager
    def used(self) -> Iterator["Disk"]:
        """Everything in this process writes to it."""
        with pytest.MonkeyPatch.context() as patch:
            for place, name in CALLS:
                patch.setattr(place, name, self._counted(getattr(place, name), name))
            yield self

    def _counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            if self.first is None or number < self.first or (self.last is not None and number > self.last):
                return call(*arguments, **named)
            self.failed += 1
            if self.done:
                call(*arguments, **named)
            elif name == "write_bytes":
                call(arguments[0], arguments[1][: self.rng.randrange(len(arguments[1]) + 1)])
            raise self.error()

        return counted


def full() -> OSError:
    """The disk is full."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def unacknowledged() -> OSError:
    """Nobody knows whether it was done."""
    return OSError(errno.EIO, os.strerror(errno.EIO))
