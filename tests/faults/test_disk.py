"""A disk that is pulled out, full, read-only, or does not say what it did; and clocks that jump."""

import contextlib
import os
import shutil
import subprocess
import time

import pytest
from disk import Died, Disk, full, unacknowledged
from trials import COUNTS, MANY, continued, pick, train

from jaxgen import FieldError
from sweeps.storage import launches, store
from sweeps.storage.store import StoreError

REFUSED = StoreError, FieldError, OSError  # what programs end with in one line


@COUNTS
def test_a_process_that_dies_at_a_call(count, trials, calls):
    deaths = []

    def trial(rng, place):
        again = True
        while again:
            disk = Disk(rng, rng.randrange(calls))
            with disk.used(), contextlib.suppress(Died, StoreError):
                train(place)
            deaths.append(disk.failed > 0)
            again = rng.random() < 0.3
        continued(place)
        assert not [*place.rglob("*.tmp")]

    trials.tallied("process dies at a call that changes the disk, again and again", "stand-in: seeded", count, trial)
    assert sum(deaths) >= count / 2


@COUNTS
def test_a_disk_that_is_full_at_a_call(count, trials, calls):
    said = []

    def trial(rng, place):
        first = rng.randrange(calls)
        disk = Disk(rng, first, first + rng.choice([0, 3, calls]), full)
        with disk.used():
            try:
                train(place)
            except REFUSED as error:
                said.append(str(error))
        for path in (place / "runs").glob("L*.parquet"):
            assert store.intact(path)
        continued(place)
        assert not [*place.rglob("*.tmp")]

    trials.tallied("disk full at a call", "stand-in: ENOSPC at seeded calls, files half written", count, trial)
    assert len(said) >= count / 3
    assert all("disk full" in text or "No space left on device" in text for text in said)


@pytest.mark.faults
def test_a_disk_that_is_full(trials, whole):
    """A file system of a few kibibytes, which is made larger afterwards; as root only."""
    mount = trials.folder / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", mount], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    size = sum(path.stat().st_blocks * 512 for path in whole.rglob("*"))
    said = []

    def trial(rng, place):
        small = rng.randrange(4096, 2 * size)
        subprocess.run(["mount", "-o", f"remount,size={small}", mount], check=True)
        place = mount / place.name
        try:
            train(place)
        except REFUSED as error:
            said.append(str(error))
        subprocess.run(["mount", "-o", "remount,size=16m", mount], check=True)
        continued(place)
        shutil.copytree(place, trials.folder / place.name)
        shutil.rmtree(place)

    try:
        trials.tallied("disk full", "real: a file system of a seeded size, enlarged afterwards", MANY, trial)
    finally:
        subprocess.run(["umount", mount], check=True)
    assert len(said) >= MANY / 3
    assert all("disk full" in text or "No space left on device" in text for text in said)


@COUNTS
def test_a_write_that_is_not_acknowledged(count, trials, calls):
    said = []

    def trial(rng, place):
        first = rng.randrange(calls)
        with Disk(rng, first, first + rng.choice([0, 0, 3]), unacknowledged, done=True).used():
            try:
                train(place)
            except REFUSED as error:
                said.append(str(error))
        continued(place)

    trials.tallied("write done, error reported, on a disk", "stand-in: EIO after seeded calls", count, trial)
    assert len(said) >= count / 3


@contextlib.contextmanager
def without_root():
    """Root may write everywhere: for a while this process is nobody."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@COUNTS
def test_a_directory_that_cannot_be_written(count, trials, stopped):
    for folder in (trials.folder, *trials.folder.parents[:2]):
        folder.chmod(0o755)

    def trial(rng, place):
        shutil.copytree(pick(rng, stopped), place)
        folders = [place, *(place / name for name in ("runs", "inflight", "launches", "widths"))]
        closed = rng.sample(folders, rng.randrange(1, len(folders) + 1))
        if not os.geteuid():
            for path in [place, *place.rglob("*")]:
                os.chown(path, 65534, 65534)
        for folder in closed:
            folder.chmod(0o555)
        before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
        with without_root(), pytest.raises(FieldError, match=r"cannot be written \(Permission denied\): use another"):
            train(place)
        assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before
        for folder in closed:
            folder.chmod(0o755)
        continued(place)

    trials.tallied("directory read-only", "real: permissions; refused, then launched again", count, trial)


@COUNTS
def test_clocks_that_jump(count, trials, calls, monkeypatch):
    def trial(rng, place):
        clock = lambda: 1.7e9 + rng.uniform(-1e9, 1e9)  # noqa: E731
        now = lambda: f"{rng.randrange(1970, 2100)}-01-01T00:00:00+00:00"  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", clock)
            patch.setattr(launches, "_now", now)
            for _ in range(rng.randrange(3)):
                with Disk(rng, rng.randrange(calls)).used(), contextlib.suppress(Died, StoreError):
                    train(place)
                for path in place.rglob("*"):
                    if rng.random() < 0.5:
                        os.utime(path, (clock(), clock()))
            continued(place)

    trials.tallied("clock and times of files jump, processes die", "stand-in: seeded", count, trial)
