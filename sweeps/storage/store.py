"""The result set on disk: immutable Parquet shards of whole runs, keyed by run_id.

A shard appears under its name, which has a hash of its content, only when it is complete (on a disk: written aside,
fsynced, moved). `pyarrow.fs` has no "put if absent", and none is needed: a name that is taken has the same content.
Who is alone in a workdir merges small shards into larger ones; a crash in between leaves runs in two shards, which
readers count once. One of many writers (`Workdir.owner`) only ever adds shards, L0-<share>-<attempt>-<hash>.parquet.
Of a run that is stored with several bits, the one in the first shard by name counts (`sweeps.storage.merge`). Columns:

  run_id, status, steps, checksum        the run and how it ended
  experiment, provenance                 canonical JSON; the program, device and versions that trained it
  task.p, optimizer.weight_decay, seed…  every field of the experiment
  final/<probe>                          the last evaluation, of probes that are numbers
  curve/step, curve/<probe>              lists: every evaluation; lists of lists for vectors and matrices
"""

import contextlib
import errno
import functools
import io
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxgen.kernel import Result
from sweeps.storage.errors import StoreError, TryAgain
from sweeps.storage.files import digest, intact, listed, source, version, write_bytes
from sweeps.storage.objects import Object, Place
from sweeps.storage.workdir import Owner, Where, Workdir

MERGE = 64  # shards of one level that become one of the next
LISTED_AGAIN = 0.0, 0.2, 1.0, 5.0  # seconds before shards are listed again
DICTIONARY = ("status", "provenance")
Found = TypeVar("Found")


def shards(workdir: Where) -> list[Place]:
    """The shards of a workdir, oldest level last."""
    return listed(Workdir.at(workdir).runs, "L*.parquet")


def strangers(workdir: Where) -> list[Place]:
    """What lies among the shards of a workdir, not hidden, and is none by its name: never read, moved or removed."""
    known = {*shards(workdir)}
    return [path for path in listed(Workdir.at(workdir).runs, "[!.]*") if path not in known]


def stored_ids(workdir: Where, among: Set[str] | None = None) -> set[str]:
    """The run_ids that a workdir holds, of all or among these, in shards whose content is what their name says."""

    def held(path: Place) -> set[str]:
        with contextlib.suppress(KeyError, ValueError, pa.ArrowException), _there(path):
            ids = set(ids_of(path))
            ids = ids if among is None else ids & among
            return ids if ids and intact(path) else set()
        return set()

    return set().union(*_each(workdir, held))


def statuses(workdir: Where) -> dict[str, str]:
    """How each run ended that a workdir holds in shards whose content is what their name says."""

    def held(path: Place) -> dict[str, str]:
        with contextlib.suppress(KeyError, ValueError, pa.ArrowException), _there(path):
            if intact(path):
                found = pq.read_table(source(path), columns=["run_id", "status"])
                return dict(zip(found["run_id"].to_pylist(), found["status"].to_pylist()))
        return {}

    return {run_id: status for part in _each(workdir, held) for run_id, status in part.items()}


def ids_of(shard: Place) -> list[str]:
    """The run_ids of a shard, in the order of its rows; its content is not compared with its name."""
    return pq.read_table(source(shard), columns=["run_id"])["run_id"].to_pylist()


def columns(workdir: Where) -> list[str]:
    """The columns that the shards of a workdir have.

    Raises:
      StoreError: a shard cannot be read.
    """
    found = _each(workdir, functools.partial(_read, lambda file: file.schema_arrow.names))
    return list(dict.fromkeys(name for names in found for name in names))


def set_damaged_aside(workdir: Where) -> list[Place]:
    """Moves `damaged` shards to `damaged/`; their runs count as not trained."""
    moved = damaged(workdir)
    for path in moved:
        Workdir.at(workdir).set_aside(path)
    return moved


def damaged(workdir: Where) -> list[Place]:
    """The shards of a workdir, where it has an owner those of its share, whose content is not what their name says."""
    owner = Workdir.at(workdir).owner
    own = shards(workdir) if owner is None else listed(Workdir.at(workdir).runs, f"L*-{owner.share}-*.parquet")
    return [path for path in own if not intact(path)]


def table(results: Iterable[tuple[Result, str]]) -> pa.Table:
    """Runs that ended, each with its provenance, as a table with the columns of a shard."""
    rows = [_row(result, provenance) for result, provenance in results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def merged(tables: list[pa.Table]) -> pa.Table:
    """The tables one after another, each run once; columns that one lacks are null there."""
    joined = pa.concat_tables(tables, promote_options="permissive")
    _, first = np.unique(joined["run_id"].to_numpy(zero_copy_only=False), return_index=True)
    return joined if len(first) == len(joined) else joined.take(pa.array(np.sort(first)))


def read(workdir: Where, columns: list[str] | None = None, run_ids: set[str] | None = None) -> pa.Table:
    """The runs of a workdir, each once; only `columns` (those that exist) are read, and only `run_ids` are kept.

    Of row groups that have none of these runs nothing but their run_ids is read, once the content of their shard is
    found to be what its name says.

    Raises:
      StoreError: a shard cannot be read, or its content is not what its name says.
    """

    def part(file: pq.ParquetFile) -> pa.Table:
        have = file.schema_arrow.names
        if "run_id" not in have or file.schema_arrow.field("run_id").type != pa.string():
            raise pa.ArrowInvalid("it has no run_id")
        chosen = None if columns is None else [c for c in dict.fromkeys(["run_id", *columns]) if c in have]
        if wanted is None:
            return file.read(chosen)
        ids = (file.read_row_group(group, ["run_id"])["run_id"] for group in range(file.num_row_groups))
        groups = [group for group, held in enumerate(ids) if pc.any(pc.is_in(held, wanted)).as_py()]
        found = file.read_row_groups(groups, chosen)
        return found.filter(pc.is_in(found["run_id"], wanted))

    wanted = None if run_ids is None else pa.array(sorted(run_ids), pa.string())
    tables = _each(workdir, functools.partial(_read, part))
    with _readable(Workdir.at(workdir).runs):
        return merged(tables) if tables else pa.table({"run_id": pa.array([], pa.string())})


def _each(workdir: Where, look: Callable[[Place], Found]) -> list[Found]:
    """What `look` finds in each shard, listed anew where one is gone: it was merged into another meanwhile."""
    for wait in LISTED_AGAIN:
        with contextlib.suppress(_Gone):
            return [look(path) for path in shards(workdir)]
        time.sleep(wait)
    try:
        return [look(path) for path in shards(workdir)]
    except _Gone as error:
        raise TryAgain(f"{error} is listed and cannot be read: try again") from None


class _Gone(Exception):
    """A shard is not there any more, or not for the moment; its text is where it was."""


@contextlib.contextmanager
def _there(path: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            raise _Gone(str(path)) from None
        if isinstance(path, Object) and intact(path):  # for a moment it could not be read
            raise _Gone(str(path)) from None
        raise ValueError(str(error)) from None


def _read(look: Callable[[pq.ParquetFile], Found], path: Place) -> Found:
    """What `look` finds in a shard; StoreError where that is not what its name says."""
    with _readable(path), _there(path), pq.ParquetFile(source(path), page_checksum_verification=True) as file:
        if not intact(path):
            version(path)  # raises where it was merged meanwhile
            raise ValueError("its content is not what its name says")
        return look(file)


@contextlib.contextmanager
def _readable(path: Place) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, MemoryError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        raise StoreError(f"{path} cannot be read ({why}): launch the sweep again to train its runs anew") from None


class Writer:
    """Writes runs from a thread of its own: whatever came in since the last shard becomes the next.

    Used as a context; leaving it waits until everything is on disk.

    Args:
      workdir: where to; merged are shards only where it has no owner.
      seconds: how long runs are gathered for a shard, where it has one.
    """

    def __init__(self, workdir: Where, seconds: float = 0.0):
        held = Workdir.at(workdir)
        self._folder, self._owner = held.runs, held.owner
        self._seconds = seconds if self._owner is not None else 0.0
        self._folder.mkdir(parents=True, exist_ok=True)
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._closing.set()
        self._queue.put(None)
        self._thread.join()
        self._check()

    def put(self, result: Result, provenance: str) -> None:
        """Hands a run over; returns at once.

        Raises:
          StoreError: an earlier run could not be written.
        """
        self._check()
        self._queue.put((result, provenance))

    def _check(self) -> None:
        if self._failure is not None:
            error = self._failure
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(
                    f"disk full: cannot write to {self._folder}; free some space, then run the same command again"
                )
            kind = TryAgain if isinstance(error, TryAgain) else StoreError
            raise kind(f"cannot write to {self._folder}: {error}") from error

    def _work(self) -> None:
        closing = False
        while not closing:
            batch = [self._queue.get()]
            self._closing.wait(self._seconds)
            while not self._queue.empty():
                batch.append(self._queue.get())
            closing = None in batch
            runs = [item for item in batch if item is not None]
            try:
                if runs and self._failure is None:
                    write(self._folder, table(runs), 0, self._owner)
                    if self._owner is None:
                        self._merge(0)
            except BaseException as error:  # handed to the caller's thread
                self._failure = error

    def _merge(self, level: int) -> None:
        small = listed(self._folder, f"L{level}-*.parquet")
        if len(small) >= MERGE:
            tables = [pq.read_table(source(path)) for path in small]
            write(self._folder, merged(tables), level + 1)
            for path in small:
                path.unlink(missing_ok=True)
            self._merge(level + 1)


def write(folder: Place, data: pa.Table, level: int, owner: Owner | None = None) -> Place:
    """Writes a table as a shard; its file.

    Args:
      folder: where shards lie.
      data: with the columns of a shard, each run once.
      level: how often its runs were merged.
      owner: whom of many writers it bears the name of.
    """
    curves = [name for name in data.schema.names if name.startswith("curve/")]
    floats = [f"{name}.list.element" for name in curves if name != "curve/step"]
    buffer = io.BytesIO()
    pq.write_table(
        data,
        buffer,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in DICTIONARY if name in data.schema.names],
        column_encoding={name: "BYTE_STREAM_SPLIT" for name in floats},
        write_page_checksum=True,
    )
    content = buffer.getvalue()
    name = "" if owner is None else f"{owner}-"
    path = folder / f"L{level}-{name}{digest(content)}.parquet"
    write_bytes(path, content)
    return path


def share_of(shard: Place) -> str:
    """The share whose worker wrote a shard, as files call it; empty where none did (see `write`)."""
    parts = shard.stem.split("-")
    return parts[1] if len(parts) == 4 else ""


def _row(result: Result, provenance: str) -> dict[str, object]:
    curves = {f"curve/{name}": values for name, values in result.curves.items()}
    numbers = {name: values for name, values in result.curves.items() if name != "step" and values.ndim == 1}
    final = {f"final/{name}": float(values[-1]) for name, values in numbers.items()}
    ended = {"run_id": result.run_id, "status": result.status, "steps": result.steps, "checksum": result.checksum}
    text = {"experiment": result.experiment.to_json(), "provenance": provenance}
    fields = result.experiment.flat() | {"split_seed": result.experiment.drawn_from}
    return ended | text | fields | final | curves


def _column(name: str, values: list) -> pa.Array:
    if name == "curve/step":
        return pa.array(values, pa.list_(pa.int32()))
    if name.startswith("curve/"):
        deep = max((np.ndim(v) for v in values if v is not None), default=1)
        kind = functools.reduce(lambda inner, _: pa.list_(inner), range(deep), pa.float32())
        return pa.array([v if v is None or deep == 1 else v.tolist() for v in values], kind)
    if name in ("checksum", "steps"):
        return pa.array(values, pa.int64())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # components of one kind that declare a field with two types
        return pa.array([None if v is None else json.dumps(v) for v in values])
