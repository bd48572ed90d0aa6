"""An object store that fails, writes half, answers late and lists what was: nothing is lost and nothing is doubled."""

from collections import Counter

import pytest
from faulty import Faulty
from trials import COUNTS, continued, train

import sweeps
from jaxgen import FieldError
from sweeps.execution import engine
from sweeps.storage import checkpoint, files, launches, store
from sweeps.storage.errors import TryAgain
from sweeps.storage.objects import Object
from sweeps.storage.workdir import Workdir

FAST = {"width": 2, "intervals": 2, "devices": 1, "quiet": True, "checkpoint_seconds": 0.0}
SWEEP = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(3))


def bits(workdir):
    return store.read(workdir).sort_by("run_id").drop_columns("provenance").to_pylist()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(files, "RETRIES", (0.0,))
    monkeypatch.setattr(store, "LISTED_AGAIN", (0.0,))
    monkeypatch.setattr(engine, "TOLD_SECONDS", 0.0)


KINDS = {
    "faults of an object store of all kinds": (),
    "write done, error reported, at an object store": ("late",),
}


@COUNTS
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_or_doubled_by_faults(kind, count, trials, impatient):
    faults = Counter()

    def trial(rng, place):
        faulty = Faulty(rng.choice([2, 5, 10]), rng.random(), KINDS[kind])
        workdir = Workdir(Object(faulty, "bucket/sweep", "mock"))
        left, tries, said = [0, 1], 0, []
        while left:
            share = left[tries % len(left)]
            tries += 1
            assert tries < 300, said[-3:]
            try:
                found = train(workdir, share=(share, 2))
                if found.run_ids <= store.stored_ids(workdir, found.run_ids):
                    left.remove(share)
            except (TryAgain, OSError, FieldError) as error:
                said.append(str(error))
        faulty.often = 0
        faults.update(faulty.faults)
        store.set_damaged_aside(workdir)
        continued(workdir)
        return workdir

    trials.tallied(kind, "stand-in: in memory, 2 to 10 calls in a hundred fail", count, trial)
    assert {"refused", "partial", "late", "unread", "unasked", "stale"} <= {*faults} or KINDS[kind] or count < 20
    assert faults["late"] or count < 20


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
