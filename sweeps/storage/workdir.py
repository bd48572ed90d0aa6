"""A sweep's directory: what lies where, and which sweep it holds. No other module knows these names.

sweep.json   name, base experiment, sweep, axes, definitions, the user's own files
refine.json  the rounds of a sweep that is refined (`sweeps.refine`)
launches/    a file for each launch: when, where and with what, and how far it is (`sweeps.storage.launches`)
widths/      a file for each program: how many lanes its blocks have (`sweeps.execution.widths`)
runs/        the result set (`sweeps.storage.store`)
inflight/    lanes in mid-training (`sweeps.storage.checkpoint`)
weights/     what runs ended with, for others to start from (`sweeps.storage.weights`)
parents/     the runs that others start from: a workdir like any other
damaged/     shards and lanes that could not be read
apart/       runs that were found stored with other bits than in the result set (`sweeps.storage.merge`)
lock, locks/ the process that writes, or those that train shares, on a disk
"""

import contextlib
import dataclasses
import json
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Union
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow.fs import FileSystem, LocalFileSystem

import jaxgen
from jaxgen import Experiment, FieldError
from sweeps.axes.sweep import Sweep
from sweeps.storage import locks, specification
from sweeps.storage.errors import TryAgain
from sweeps.storage.files import clear_temporaries, listed, move_into, read_bytes, write_text
from sweeps.storage.objects import Object, Place
from sweeps.storage.specification import SCHEMA, Specification

FOLDERS = "runs", "inflight", "damaged", "weights", "parents", "launches", "widths", "apart"
LOCKS = "locks"
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*", re.DOTALL)
Found = TypeVar("Found")
Where = Union[str, os.PathLike[str], "Workdir"]  # what users give for one


class Width(TypedDict):
    """How many lanes a program's blocks have, and by what (see `sweeps.execution.widths`)."""

    lanes: int
    by: str


@dataclasses.dataclass(frozen=True)
class Owner:
    """A worker that writes to a workdir beside others. What it writes bears its name, and nobody else touches that.

    Attributes:
      index, count: which share of the sweep it trains, 0 … count - 1.
      attempt: 8 hex digits that no other process has, be it at the same share.
    """

    index: int
    count: int
    attempt: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def share(self) -> str:
        """What its share is called in names of files."""
        return f"{self.index}of{self.count}"

    def __str__(self) -> str:
        return f"{self.share}-{self.attempt}"


class Workdir:
    """The directory of a sweep, on this machine's disk or on an object store.

    Whatever is written on a disk is durable before it has its name. Who trains all of a sweep on a disk is alone there
    (`locked`). With an `owner` there may be many writers, on a disk one for each share, on an object store whoever: no
    lock is safe there, and none is pretended. That loses no run, because each writes objects of its own under names
    that nobody else has, and none is renamed, rewritten or removed by another; runs are identified by their content,
    so that readers take the union, and what two have trained counts once. `sweep.json` and `widths/` follow from the
    call: workers of one call write the same bytes, of different calls the last stands. A file that was written in part
    is noticed in `runs/`, `weights/` and `inflight/`; elsewhere it takes a store whose puts are atomic, as those of S3,
    Google Cloud Storage and Azure are.

    Args:
      root: a path on disk, or on a file system of `pyarrow.fs`.
      owner: which of many writers this one is; None where it is the only one, or reads.
    """

    def __init__(self, root: Place, owner: Owner | None = None):
        self.root, self.owner = root, owner

    def owned(self, share: tuple[int, int] | None) -> "Workdir":
        """The same for a new worker with this share; on an object store without one, with all of the sweep."""
        if share is None and not isinstance(self.root, Object):
            return Workdir(self.root)
        return Workdir(self.root, Owner(*(share or (0, 1))))

    @classmethod
    def at(cls, where: Where) -> "Workdir":
        """The workdir of a path, or of a URI: `gs://bucket/sweep`, `s3://…`, `file://…`, what `pyarrow.fs` knows.

        Raises:
          FieldError: it is none of these, its file system cannot be reached, or it has a password in it.
        """
        if isinstance(where, Workdir):
            return where
        if not isinstance(where, (str, os.PathLike)):
            raise FieldError("workdir", where, "must be a directory: a path, or a URI as gs://bucket/sweep")
        if not isinstance(where, str) or not URI.fullmatch(where):
            return cls(Path(where))
        try:
            secret = urlsplit(where).password
            filesystem, path = FileSystem.from_uri(where) if secret is None else (None, "")
        except (OSError, ValueError, NotImplementedError, pa.ArrowException) as error:
            why = " ".join(str(error).split())
            raise FieldError("workdir", where, f"cannot be reached ({why})") from None
        if filesystem is None:
            why = "has a password in it, which every launch would store: set AWS_ACCESS_KEY_ID, … instead"
            raise FieldError("workdir", f"{where.partition('://')[0]}://…@{where.rpartition('@')[2]}", why)
        return cls.on(filesystem, path, where.partition("://")[0], where.partition("?")[2])

    @classmethod
    def on(cls, filesystem: FileSystem, path: str, scheme: str | None = None, query: str = "") -> "Workdir":
        """The workdir of a path on a file system; its URI begins with `scheme`, and ends with `query` after a "?"."""
        if isinstance(filesystem, LocalFileSystem):
            return cls(Path(path))
        return cls(Object(filesystem, path, scheme or filesystem.type_name, query))

    def __str__(self) -> str:
        return str(self.root)

    def __repr__(self) -> str:
        return f"Workdir({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workdir) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def __fspath__(self) -> str:
        return str(self.local)

    def __truediv__(self, name: str) -> Path:
        """The path of a file of the user's own within it; FieldError where it is not on disk."""
        return self.local / name

    @property
    def local(self) -> Path:
        """Its path on disk; FieldError where it is not there."""
        if isinstance(self.root, Object):
            why = "is not on this machine's disk, where pictures and tables are written: give --out, or one that is"
            raise FieldError("workdir", str(self), why)
        return self.root

    def absolute(self) -> str:
        """Its path or URI, that a program in another directory finds it by."""
        return str(self) if isinstance(self.root, Object) else str(self.root.absolute())

    @property
    def runs(self) -> Place:
        """Where shards lie."""
        return self.root / "runs"

    @property
    def inflight(self) -> Place:
        """Where lanes in mid-training lie."""
        return self.root / "inflight"

    @property
    def weights(self) -> Place:
        """Where what runs ended with lies."""
        return self.root / "weights"

    @property
    def launches(self) -> Place:
        """Where launches tell of themselves."""
        return self.root / "launches"

    def new_launch(self) -> Place:
        """A file for a launch that begins; where the workdir has an owner it bears that name."""
        self.launches.mkdir(parents=True, exist_ok=True)
        return self.launches / f"{self.owner or f'all-{uuid.uuid4().hex[:8]}'}.json"

    @property
    def apart(self) -> Place:
        """Where runs lie that were stored with other bits too."""
        return self.root / "apart"

    @property
    def damaged(self) -> Place:
        """Where what could not be read lies."""
        return self.root / "damaged"

    @property
    def parents(self) -> "Workdir":
        """The workdir of the runs that its own start from."""
        return Workdir(self.root / "parents", self.owner)

    def set_aside(self, path: Place) -> None:
        """Moves a file that is not what it should be to `damaged/`, under a name of its own there."""
        move_into(self.damaged, path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory, or with an owner its share of it, for this process.

        It is made if it does not exist, and rid of what killed writers left half written. On an object store it is made
        where it has to be, and held by nobody (see `Workdir`).

        Raises:
          FieldError: an object store does not take it.
          TryAgain: another process holds it, or this share of it.
        """
        if isinstance(self.root, Object):
            try:
                self.root.mkdir()
            except (OSError, pa.ArrowException) as error:
                raise self._unwritable(self.root, error) from None
            yield
            return
        self.root.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            if not stack.enter_context(locks.held(self.root / "lock", alone=self.owner is None)):
                raise TryAgain(f"workdir is {self}: it is in use by {self._users()}")
            if self.owner is not None:
                lock = self.root / LOCKS / self.owner.share
                lock.parent.mkdir(exist_ok=True)
                if not stack.enter_context(locks.held(lock)):
                    who = locks.process(lock)
                    raise TryAgain(f"{self}: share {self.owner.index}/{self.owner.count} is trained by {who}")
            for folder in self.folders:
                clear_temporaries(folder)
            yield

    @property
    def folders(self) -> list[Path]:
        """Where temporary files may be left, on a disk."""
        return [self.root, *(self.root / name for name in FOLDERS)] if isinstance(self.root, Path) else []

    @property
    def merged_by_name(self) -> list[Place]:
        """The folders whose files have names that say what they are, in whatever workdir they lie."""
        return [self.weights, self.launches, self._widths, self.apart]

    def holders(self) -> set[str]:
        """Who trains there now, on this machine's disk: shares by their names in files, or "all" of the sweep."""
        if isinstance(self.root, Object):
            return set()
        files = {"all": self.root / "lock", **{path.name: path for path in (self.root / LOCKS).glob("*of*")}}
        return {name for name, path in files.items() if locks.is_held(path)}

    def _users(self) -> str:
        shares = ", ".join(sorted(name.replace("of", "/") for name in self.holders() - {"all"}))
        return f"workers with the shares {shares}" if shares else locks.process(self.local / "lock")

    def read_specification(self) -> Specification | None:
        """What `sweep.json` says; None where there is none yet.

        Raises:
          FieldError: it is of a newer schema, or damaged.
          TryAgain: an object store does not answer.
        """
        path = self._specification
        try:
            if isinstance(path, Path) and path.exists() and not path.is_file():
                raise ValueError("it is no file")
            found = specification.parsed(read_bytes(path).decode())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, OSError, RecursionError, MemoryError) as error:
            raise self._unusable(f"cannot be read ({error})") from None
        schema = found.get("schema") if isinstance(found, dict) else None
        if type(schema) is int and schema != SCHEMA and 0 < schema < 2**31:
            rest = "update jaxgen" if schema > SCHEMA else "use the jaxgen that wrote it, or another workdir"
            raise FieldError("workdir", str(self), f"has schema {schema}, this version reads {SCHEMA}: {rest}")
        damage = specification.damage(found) if schema == SCHEMA else "schema"
        if damage:
            raise self.unsound(damage)
        return found

    def unsound(self, part: str) -> FieldError:
        """The error that a part of `sweep.json` is not what was written."""
        return self._unusable(f"is damaged ({part})")

    def _unusable(self, why: str) -> FieldError:
        path = self._specification
        remedy = f"the stored runs do not need it, move {path} away and launch again"
        return FieldError("workdir", str(self), f"its {path.name} {why}: {remedy}")

    def check_same(self, name: str, base: Experiment, sweep: Sweep) -> None:
        """Refuses a directory of another sweep: another name, or a base that differs in a field neither sweeps over.

        Raises:
          FieldError: what differs, or cannot be written, and what to do.
        """
        self.check_place()
        held = self.read_specification()
        if held is not None and (why := specification.difference(held, name, base, sweep)):
            raise FieldError("workdir", str(self), why)

    def check_place(self) -> None:
        """Refuses a place that holds other things, or where a sweep cannot be written; trying leaves nothing there.

        On an object store nothing is tried, for what is removed there may be kept: `locked` finds out.

        Raises:
          FieldError: which path, and what to do.
        """
        if isinstance(self.root, Object):
            return self._check_object(self.root)
        where = self.root.resolve()
        if where == Path.cwd() or any(where in (place, *place.parents) for place in _places()):
            raise FieldError("workdir", str(self), f"must be a directory of its own, not {where}")
        if os.path.lexists(self.root) and not os.path.isdir(self.root):
            raise FieldError("workdir", str(self), "is a file: it must be a directory")
        for name, kind in (("lock", "file"), ("runs", "directory"), ("damaged", "directory")):
            path = self.root / name
            if os.path.lexists(path) and not (os.path.isfile if kind == "file" else os.path.isdir)(path):
                raise FieldError("workdir", str(self), f"its {name} must be a {kind}: move {path} away")
        folders = [folder for folder in self.folders if os.path.isdir(folder)]
        tried = self.root
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.stat(self.root)
            for tried in folders or [next(place for place in where.parents if os.path.exists(place))]:
                os.rmdir(tempfile.mkdtemp(prefix=".", dir=tried))
            tried = self.root / "lock"
            if tried.exists():
                open(tried, "a+").close()
        except OSError as error:
            raise self._unwritable(tried, error) from None

    def _check_object(self, root: Object) -> None:
        if "/" not in root.path:
            raise FieldError("workdir", str(self), "must be a directory of its own: a folder in a bucket")
        try:
            if root.is_file():
                raise FieldError("workdir", str(self), "is a file: it must be a directory")
        except (OSError, pa.ArrowException) as error:
            raise FieldError("workdir", str(self), f"cannot be reached ({_line(error)})") from None

    def _unwritable(self, tried: Place, error: Exception) -> FieldError:
        why = getattr(error, "strerror", None) or _line(error)
        return FieldError("workdir", str(self), f"{tried} cannot be written ({why}): use another directory")

    def write_specification(
        self,
        name: str,
        base: Experiment,
        sweep: Sweep,
        definition: Mapping[str, Any],
        description: str = "",
        changed: Sequence[str] = (),
    ) -> None:
        """Writes `sweep.json`, where it does not say so already.

        The user's own files may lie elsewhere on each worker's machine: they alone are no reason to write it again.
        """
        held = self.read_specification() or {}
        text = specification.written(specification.specified(held, name, base, sweep, definition, description, changed))
        ignored = {"sources": None} if self.owner is not None else {}
        if specification.parsed(text) | ignored != held | ignored:
            write_text(self._specification, text)

    def put_specification(self, held: Specification) -> None:
        """Writes `sweep.json` anew."""
        write_text(self._specification, specification.written(held))

    def written_widths(self) -> dict[str, Width]:
        """The lanes of each program that is known there, {"lanes", "by"} (see `sweeps.execution.widths`).

        Raises:
          FieldError: they are not what was written.
        """
        found = {}
        for path in listed(self._widths, "*.json"):
            try:
                width = json.loads(read_bytes(path))
                lanes = width["lanes"]
                if type(lanes) is not int or lanes < 1 or not isinstance(width["program"], str):
                    raise ValueError(lanes)
            except (OSError, ValueError, LookupError, TypeError, RecursionError):
                why = f"its {self._widths.name} are damaged: move {path} away and launch again"
                raise FieldError("workdir", str(self), why) from None
            found[width["program"]] = Width(lanes=lanes, by=str(width.get("by")))
        return found

    def write_widths(self, widths: Mapping[str, Width]) -> None:
        """Notes how many lanes programs have, each in a file of its own."""
        held = self.written_widths()
        for program, width in widths.items():
            if held.get(program) != width:
                self._widths.mkdir(parents=True, exist_ok=True)
                name = re.sub(r"[^\w.-]+", "-", program)
                write_text(self._widths / f"{name}.json", json.dumps({"program": program, **width}))

    @property
    def _widths(self) -> Place:
        return self.root / "widths"

    @property
    def is_refined(self) -> bool:
        """Whether it holds rounds of `sweeps.refine`, whatever they are."""
        path = self._refinement
        return os.path.exists(path) if isinstance(path, Path) else path.exists()

    def read_refinement(self, of: Callable[[Any], Found]) -> Found | None:
        """What a function makes of the rounds that `refine.json` holds; None where there is none.

        Raises:
          FieldError: it cannot be read, or the function cannot make anything of it.
        """
        try:
            return of(json.loads(read_bytes(self._refinement)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise self.unsound_rounds(f"cannot be read: {error}") from None

    def unsound_rounds(self, why: str) -> FieldError:
        """The error that `refine.json` is not what was written."""
        return FieldError("workdir", str(self), f"its {self._refinement.name} {why}")

    def write_refinement(self, held: Mapping[str, object]) -> None:
        """Writes `refine.json`; the directory is made if it does not exist."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_text(self._refinement, json.dumps(held))

    @property
    def _refinement(self) -> Place:
        return self.root / "refine.json"

    @property
    def _specification(self) -> Place:
        return self.root / "sweep.json"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _places() -> list[Path]:
    """Directories that hold other things, as their parents do: the project and the user's home."""
    return [Path(jaxgen.__file__).resolve().parents[1], Path.home().resolve()]
