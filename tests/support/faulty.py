"""An object store in memory that fails, writes half, answers late and lists what was."""

import random
import threading
import time
from collections import Counter

from pyarrow import fs


class Faulty:
    """A file system in memory of which so many calls in a hundred fail, or list what was there before.

    Args:
      often: calls in a hundred that fail.
      seed: of which and how.
      kinds: how they may fail; anyhow when empty.
      pause: seconds that each call takes.
    """

    def __init__(self, often: int, seed: int, kinds: tuple[str, ...] = (), pause: float = 0.0):
        self.held, self.often, self.random, self.before = fs._MockFileSystem(), often, random.Random(seed), {}
        self.kinds, self.pause = kinds, pause
        self.faults: Counter[str] = Counter()
        self.putting = threading.Lock()  # nobody sees a part of an object that is put

    def _fault(self, *kinds: str) -> str:
        time.sleep(self.pause)
        kind = self.random.choice(kinds) if self.random.random() * 100 < self.often else ""
        kind = kind if not self.kinds or kind in self.kinds else ""
        self.faults[kind] += bool(kind)
        return kind

    def open_output_stream(self, path):
        named_by_content = "/runs/" in path or "/inflight/" in path  # elsewhere a put has to be atomic, and is
        kind = self._fault("partial", "late") if named_by_content else self._fault("refused", "late")
        if kind == "refused":
            raise OSError("500 internal error")
        return Stream(self, path, kind)

    def open_input_file(self, path):
        if self._fault("unread"):
            raise OSError("time-out")
        with self.putting:
            return self.held.open_input_file(path)

    def get_file_info(self, what):
        if not isinstance(what, fs.FileSelector):
            if self._fault("unasked"):
                raise OSError("time-out")
            return self.held.get_file_info(what)
        now = self.held.get_file_info(what)
        was = self.before.get(what.base_dir, now)
        if self._fault("stale"):
            return was
        self.before[what.base_dir] = now
        return now

    def __getattr__(self, name):
        return getattr(self.held, name)


class Stream:
    """What is written to it is there once it is closed."""

    def __init__(self, store: Faulty, path: str, kind: str):
        self.store, self.path, self.kind, self.content = store, path, kind, b""

    def write(self, content):
        self.content += content

    def close(self):
        size = len(self.content) // 2 if self.kind == "partial" else len(self.content)
        with self.store.putting, self.store.held.open_output_stream(self.path) as stream:
            stream.write(self.content[:size])
        if self.kind:
            raise OSError(f"connection reset ({self.kind})")
