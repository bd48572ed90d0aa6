"""An object store that fails, writes half, answers late and lists what was: nothing is lost and nothing is doubled."""

import random
from collections import Counter

import pytest
from pyarrow import fs

import sweeps
from jaxgen import FieldError
from sweeps.execution import engine
from sweeps.storage import checkpoint, files, launches, store
from sweeps.storage.errors import TryAgain
from sweeps.storage.objects import Object
from sweeps.storage.workdir import Workdir

FAST = {"width": 2, "intervals": 2, "devices": 1, "quiet": True, "checkpoint_seconds": 0.0}
SWEEP = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(3))


class Faulty:
    """A file system in memory of which so many calls in a hundred fail, or list what was there before."""

    def __init__(self, often: int, seed: int):
        self.held, self.often, self.random, self.before = fs._MockFileSystem(), often, random.Random(seed), {}
        self.faults: Counter[str] = Counter()

    def _fault(self, *kinds: str) -> str:
        kind = self.random.choice(kinds) if self.random.random() * 100 < self.often else ""
        self.faults[kind] += bool(kind)
        return kind

    def open_output_stream(self, path):
        named_by_content = "/runs/" in path or "/inflight/" in path  # elsewhere a put has to be atomic, and is
        kind = self._fault("partial") if named_by_content else self._fault("refused", "late")
        if kind == "refused":
            raise OSError("500 internal error")
        return Stream(self.held.open_output_stream(path), kind)

    def open_input_file(self, path):
        if self._fault("unread"):
            raise OSError("time-out")
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
    def __init__(self, stream, kind):
        self.stream, self.kind = stream, kind

    def write(self, content):
        self.stream.write(content[: len(content) // 2] if self.kind == "partial" else content)

    def close(self):
        self.stream.close()
        if self.kind:
            raise OSError(f"connection reset ({self.kind})")


def bits(workdir):
    return store.read(workdir).sort_by("run_id").drop_columns("provenance").to_pylist()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(files, "RETRIES", (0.0,))
    monkeypatch.setattr(store, "LISTED_AGAIN", (0.0,))
    monkeypatch.setattr(engine, "TOLD_SECONDS", 0.0)


@pytest.mark.parametrize(("often", "seed"), [(5, 0), (20, 1)])
def test_nothing_is_lost_or_doubled_by_faults(toy, tmp_path, impatient, often, seed):
    sweeps.run(toy, SWEEP, tmp_path, **{**FAST, "checkpoint_seconds": 10})
    faulty = Faulty(often, seed)
    workdir = Workdir(Object(faulty, "bucket/sweep", "mock"))
    left, tries, said = [0, 1], 0, []
    while left:
        share = left[tries % len(left)]
        tries += 1
        assert tries < 100, said[-3:]
        try:
            found = sweeps.run(toy, SWEEP, workdir, share=(share, 2), **FAST)
            if found.run_ids <= store.stored_ids(workdir, found.run_ids):
                left.remove(share)
        except (TryAgain, OSError, FieldError) as error:
            said.append(str(error))
    faulty.often = 0
    assert {"refused", "partial", "late", "unread", "unasked", "stale"} <= {*faulty.faults} or often < 20
    assert store.damaged(workdir) == [] or store.set_damaged_aside(workdir)
    assert bits(workdir) == bits(tmp_path)
    rows = sum(len(store.pq.read_table(store.source(path), columns=["run_id"])) for path in store.shards(workdir))
    assert len(bits(workdir)) == len(SWEEP) <= rows


def test_two_attempts_at_a_share_at_once_do_no_harm(toy, tmp_path, impatient):
    long = toy.override({"training.steps": 400})
    sweeps.run(long, SWEEP, tmp_path, **FAST)
    workdir = Workdir(Object(Faulty(0, 0), "bucket/sweep", "mock"))
    sweeps.run(long, SWEEP, workdir, share=(0, 1), stop_after_hours=1e-9, **{**FAST, "intervals": 1})
    saved = {path: path.read_bytes() for path in checkpoint.files(workdir)}
    assert saved
    sweeps.run(long, SWEEP, workdir, share=(0, 1), **FAST)  # while the first one, which was taken for dead …
    for path, content in saved.items():
        path.write_bytes(content)  # … saves its lanes once more,
    first = store.shards(workdir)[0]
    again = Workdir(workdir.root).owned((0, 1))
    store.write(workdir.runs, store.pq.read_table(store.source(first)), 0, again.owner)  # … and stores what it trained
    found = sweeps.run(long, SWEEP, workdir, share=(0, 1), **FAST)
    assert len(found.runs) == len(SWEEP)
    assert bits(workdir) == bits(tmp_path)
    assert checkpoint.files(workdir.owned((0, 1))) == []
    assert len({one["attempt"] for one in launches.read(workdir)}) == 3


def test_an_object_that_cannot_be_read_for_a_moment_is_not_damaged(toy, impatient):
    faulty = Faulty(0, 0)
    workdir = Workdir(Object(faulty, "bucket/sweep", "mock"))
    with workdir.locked():
        workdir.runs.mkdir()
        files.write_bytes(workdir.runs / f"L0-{files.digest(b'x')}.parquet", b"x")
        faulty.often = 100
        with pytest.raises(TryAgain, match=r"cannot be reached \(time-out\)"):
            store.damaged(workdir)
