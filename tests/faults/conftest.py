"""What nothing happened to, and sweeps that were stopped at some moment."""

import contextlib
import random
import shutil

import children
import pytest
from disk import Died, Disk
from trials import FAST, Trials, all_rows, train

from sweeps.execution import plan
from sweeps.storage import checkpoint, store
from sweeps.storage.errors import StoreError
from sweeps.storage.workdir import Workdir


@pytest.fixture(scope="session")
def context():
    """Of child processes."""
    with children.forked() as context:
        yield context


@pytest.fixture(autouse=True)
def not_rehearsed(monkeypatch):
    """All trials are of one sweep, which `whole` has tried."""
    monkeypatch.setattr(plan, "rehearse", lambda template, seen: None)


@pytest.fixture(scope="session")
def calls(tmp_path_factory):
    """How often a sweep that nothing happens to changes the disk."""
    with Disk(random.Random(0)).used() as disk:
        train(tmp_path_factory.mktemp("calls") / "sweep")
    return disk.calls


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A workdir that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(folder)
    return folder


@pytest.fixture(scope="session")
def stopped(tmp_path_factory, calls):
    """Workdirs of sweeps that died in the middle: some runs are stored, others in training."""
    found, rng = [], random.Random(0)
    while len(found) < 4:
        folder = tmp_path_factory.mktemp("stopped") / "sweep"
        died(folder, Disk(rng, rng.randrange(calls // 4, calls)))
        workdir = Workdir.at(folder)
        if store.shards(workdir) and checkpoint.running(workdir):
            found.append(folder)
        else:
            shutil.rmtree(folder)
    return found


def died(folder, disk):
    """Trains the sweep until the process is no more."""
    with disk.used(), contextlib.suppress(Died, StoreError):  # the thread that writes says it in an error of its own
        train(folder)


@pytest.fixture(scope="session")
def wholes(tmp_path_factory, whole):
    """What is stored of a sweep that nothing happened to, by the width of its program."""
    folder, found = tmp_path_factory.mktemp("wholes"), {FAST["width"]: all_rows(whole)}
    for width in (1, 4):
        train(folder / f"{width}", width=width)
        found[width] = all_rows(folder / f"{width}")
    return found


@pytest.fixture
def trials(tmp_path, wholes, record_property):
    """See `Trials`."""
    return Trials(tmp_path, wholes, record_property)
