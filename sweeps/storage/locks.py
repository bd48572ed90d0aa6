"""Locks: files that a process holds on this machine's disk, with its number in them."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

SECONDS = 0.0, 0.1, 0.2  # before each try: `is_held` takes a lock for a moment


@contextlib.contextmanager
def held(path: Path, alone: bool = True) -> Iterator[bool]:
    """Holds a file for this process, or with others that are not alone either; gives whether it is held."""
    with open(path, "a+", errors="replace") as file:
        had = any(_lock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, wait) for wait in SECONDS)
        if had and alone:
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield had


def is_held(path: Path) -> bool:
    """Whether another process is alone in holding a file."""
    if not path.is_file():
        return False
    with open(path, errors="replace") as file:
        return not _lock(file, fcntl.LOCK_SH)


def _lock(file: IO[str], kind: int, wait: float = 0.0) -> bool:
    """Whether the lock could be had, after so many seconds."""
    time.sleep(wait)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def process(path: Path) -> str:
    """The process that wrote its number into a lock."""
    return f"process {path.read_text(errors='replace').strip() or '?'}"
