"""Paths on object stores (`gs://`, `s3://`, whatever `pyarrow.fs` knows), with those methods of `pathlib.Path` that
what is stored goes through; on disk it goes through `Path` itself. `Place` is either.
"""

import fnmatch
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType


class Object:
    """A name on a file system that is not this machine's, be it of an object, of a folder, or of nothing.

    Its methods are those of `pathlib.Path`, and raise as those do. What is written appears under its name at once and
    whole, as object stores have it; it is neither synced nor moved into place.

    Args:
      filesystem: where it is.
      path: its name there, the bucket's first.
      scheme: what its URI begins with.
      query: what its URI ends with, after a "?": where the store is, where that is not its usual place.
    """

    def __init__(self, filesystem: FileSystem, path: str, scheme: str, query: str = ""):
        self.filesystem, self.path, self.scheme, self.query = filesystem, path.strip("/"), scheme, query

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}{self.query and f'?{self.query}'}"

    def __repr__(self) -> str:
        return f"Object({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Object) and self.path == other.path and self.filesystem == other.filesystem

    def __hash__(self) -> int:
        return hash(self.path)

    def __lt__(self, other: "Object") -> bool:
        return self.path < other.path

    def __truediv__(self, name: str) -> "Object":
        return self._at(f"{self.path}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """What the last part ends with, from its last dot on."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "Object":
        """The folder that it is in."""
        return self._at(self.path.rpartition("/")[0])

    def exists(self) -> bool:
        """Whether there is something of that name, or within it."""
        return self._info().type != FileType.NotFound

    def is_file(self) -> bool:
        """Whether it is an object."""
        return self._info().type == FileType.File

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._info().type == FileType.Directory

    def is_symlink(self) -> bool:
        """Object stores have no links."""
        return False

    def version(self) -> tuple[int, int]:
        """Its size and the time when it was written, as the store says it; FileNotFoundError where there is none."""
        info = self._info()
        if info.type == FileType.NotFound:
            raise FileNotFoundError(str(self))
        return info.size or 0, info.mtime_ns or 0

    def glob(self, pattern: str) -> "list[Object]":
        """What lies in the folder under names like this; nothing where there is no folder."""
        found = self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True))
        return [self / info.base_name for info in found if fnmatch.fnmatchcase(info.base_name, pattern)]

    def open(self, mode: str = "rb") -> BinaryIO:
        """The object for reading, any part of it."""
        return cast(BinaryIO, self.native())

    def native(self) -> pa.NativeFile:
        """The object as pyarrow reads it."""
        return self.filesystem.open_input_file(self.path)

    def read_bytes(self) -> bytes:
        """All of it."""
        with self.native() as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of it, as a text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Puts an object there, in place of another; that is atomic."""
        stream = self.filesystem.open_output_stream(self.path)
        stream.write(content)
        stream.close()  # not where writing failed: closed, a part of it would have the name

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Makes the folder where the file system has any."""
        self.filesystem.create_dir(self.path, recursive=True)

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the object."""
        try:
            self.filesystem.delete_file(self.path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _at(self, path: str) -> "Object":
        return Object(self.filesystem, path, self.scheme, self.query)

    def _info(self) -> FileInfo:
        return self.filesystem.get_file_info(self.path)


Place = Path | Object
