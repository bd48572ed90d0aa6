"""Writing files so that a crash leaves either the old one or the new one, never half of it; on disk or elsewhere."""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa

from sweeps.storage.errors import TryAgain
from sweeps.storage.objects import Object, Place

UNREACHED = OSError, pa.ArrowException
RETRIES = 1.0, 4.0, 16.0  # seconds before something is tried again at an object store
Done = TypeVar("Done")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` on a temporary file beside `path`, makes it durable, and moves it into place."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "xb") as file:
            with contextlib.suppress(OSError):  # a file system without locks: nobody clears it then
                fcntl.flock(file, fcntl.LOCK_EX)
            if not temporary.exists():  # another process cleared it before it was held
                return write_atomically(path, write)
            write(temporary)
            os.fsync(file)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_bytes(place: Place, content: bytes) -> None:
    """Writes a file: by `write_atomically` on disk; elsewhere a put is atomic.

    Raises:
      OSError: it cannot be written.
      TryAgain: an object store does not answer, or fails.
    """
    if isinstance(place, Object):
        _patiently(place, lambda: place.write_bytes(content))
    else:
        write_atomically(place, lambda temporary: temporary.write_bytes(content))


def write_text(place: Place, text: str) -> None:
    """`write_bytes` for a text."""
    write_bytes(place, text.encode())


def read_bytes(place: Place) -> bytes:
    """All of a file; errors are those of `write_bytes`."""
    return _patiently(place, place.read_bytes) if isinstance(place, Object) else place.read_bytes()


def listed(folder: Place, pattern: str) -> list[Place]:
    """What lies in a folder under names like this, in their order; nothing where there is no folder."""
    if isinstance(folder, Object):
        return [*sorted(_patiently(folder, lambda: folder.glob(pattern)))]
    return [*sorted(folder.glob(pattern))]


def _patiently(place: Object, action: Callable[[], Done]) -> Done:
    """Does it, again after a while where an object store fails; what was written in part then is written over."""
    for wait in (*RETRIES, None):
        try:
            return action()
        except FileNotFoundError:
            raise
        except UNREACHED as error:
            if wait is None:
                raise TryAgain(f"{place} cannot be reached ({' '.join(str(error).split())})") from None
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def source(place: Place) -> Path | pa.NativeFile:
    """A file as pyarrow's readers take it."""
    return place.native() if isinstance(place, Object) else place


@contextlib.contextmanager
def marked(folder: Path) -> Iterator[str]:
    """The name of a new file in a folder, for as long as it is held: other machines find out whether they see it."""
    path = folder / f".seen.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(path, "xb") as file:
            with contextlib.suppress(OSError):  # a file system without locks: nobody clears it then
                fcntl.flock(file, fcntl.LOCK_EX)
            yield path.name
    finally:
        path.unlink(missing_ok=True)


def clear_temporaries(folder: Path) -> None:
    """Removes the temporary files of writers that were killed."""
    for path in temporaries(folder):
        with contextlib.suppress(OSError):
            path.unlink()


def temporaries(folder: Path) -> Iterator[Path]:
    """The temporary files of writers that were killed: those that no process holds. Each is held while it is given."""
    for path in folder.glob(f".*.{'[0-9a-f]' * 8}.tmp"):
        if path.is_file():
            with contextlib.suppress(OSError), open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path


def digest(content: bytes) -> str:
    """What a file that is named by its content ends with, before its suffix: 32 hex digits of sha256."""
    return hashlib.sha256(content).hexdigest()[:32]


def intact(path: Place) -> bool:
    """Whether a file's content is what its name says; one that stays as it is is read for that once a process.

    Raises:
      TryAgain: an object store does not answer, or fails.
    """
    look = lambda: path.is_file() and _named(path, *version(path))  # noqa: E731
    try:
        return _patiently(path, look) if isinstance(path, Object) else look()
    except OSError:
        return False


def version(path: Place) -> tuple[int, ...]:
    """Numbers that tell a file from one that was written in its place; FileNotFoundError where there is none."""
    if isinstance(path, Object):
        return path.version()
    of = path.stat()
    return of.st_ino, of.st_size, of.st_mtime_ns


def size(path: Place) -> int:
    """Bytes of a file."""
    return version(path)[-2]


@functools.lru_cache(maxsize=2**16)
def _named(path: Place, *of: int) -> bool:
    return path.stem.endswith(f"-{digest(path.read_bytes())}")


def move_into(folder: Place, path: Place) -> None:
    """Moves a file of the same file system into a folder, under a name of its own there."""
    folder.mkdir(exist_ok=True)
    target = folder / f"{uuid.uuid4().hex[:8]}-{path.name[-60:]}"
    if isinstance(path, Object):
        with contextlib.suppress(FileNotFoundError):  # another process has moved or merged it meanwhile
            path.filesystem.move(path.path, target.path if isinstance(target, Object) else str(target))
    else:
        path.rename(str(target))


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Writes a table as CSV, without its index. Texts that a spreadsheet would run as formulas begin with a `'`."""
    shown = table.rename(columns=_shown).map(_shown)
    write_atomically(Path(path), lambda temporary: shown.to_csv(temporary, index=False))


def _shown(cell: object) -> object:
    runs = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not NUMBER.fullmatch(cell)
    return f"'{cell}" if runs else cell
