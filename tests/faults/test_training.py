"""Devices without memory, lanes that diverge, and two workers with one share."""

import contextlib
import threading

import jax
import pytest
from faulty import Faulty
from trials import COUNTS, SWEEP, continued, train

import sweeps
from jaxgen import kernel
from sweeps.execution import engine
from sweeps.storage import checkpoint, files, store
from sweeps.storage.errors import TryAgain
from sweeps.storage.objects import Object
from sweeps.storage.workdir import Workdir

PLACES = ("launch", "harvest", "snapshot", "restore", "__init__")


@COUNTS
def test_memory_that_does_not_suffice(count, trials):
    halved = []

    def trial(rng, place):
        fits, place_of, after = rng.choice([1, 2]), rng.choice(PLACES), rng.randrange(4)
        method, calls = getattr(kernel.Block, place_of), []

        def scarce(self, *arguments, **named):
            width = arguments[0].width if place_of == "__init__" else self.program.width
            calls.append(width)
            if width > fits and len(calls) > after:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
            return method(self, *arguments, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel.Block, place_of, scarce)
            train(place, width=4)
        (width,) = Workdir.at(place).written_widths().values()
        assert width["lanes"] in (fits, 4)
        halved.append(width["lanes"] < 4)
        assert not list((place / "inflight").iterdir())

    trials.tallied("out of memory at a width", "stand-in: XLA's error at a seeded call of a block", count, trial)
    assert sum(halved) >= count / 2


@COUNTS
def test_half_of_all_lanes_diverge(count, trials):
    def trial(rng, place):
        sick = sweeps.product(sweeps.sweep("optimizer.learning_rate", [rng.choice([1e25, 1e30, 1e38])]), *SWEEP.factors)
        both = [sick, SWEEP]
        rng.shuffle(both)
        results = train(place, sweeps.chain(*both), width=rng.choice([1, 2, 4]), intervals=rng.choice([1, 2, 5]))
        rows = results.runs
        assert set(rows["status"][rows["optimizer.learning_rate"] > 1]) == {"diverged"}
        with store_of(place, rows["run_id"][rows["optimizer.learning_rate"] < 1]) as healthy:
            return healthy

    trials.tallied("half of all lanes diverge", "real: learning rates of 1e25 to 1e38", count, trial)


@contextlib.contextmanager
def store_of(place, run_ids):
    """A workdir with some of the runs of another."""
    out = Workdir.at(place / "some")
    out.runs.mkdir(parents=True)
    store.write(out.runs, store.read(place, run_ids={*run_ids}), 0)
    yield out


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(files, "RETRIES", (0.0,))
    monkeypatch.setattr(store, "LISTED_AGAIN", (0.0,))
    monkeypatch.setattr(engine, "TOLD_SECONDS", 0.0)


@COUNTS
def test_two_workers_with_one_share_at_an_object_store(count, trials, impatient):
    def trial(rng, place):
        workdir = Workdir(Object(Faulty(0, 0, pause=rng.choice([0.0, 0.001])), "bucket/sweep", "mock"))
        failed = []

        def work(delay):
            try:
                threading.Event().wait(delay)
                train(workdir, share=(0, 1))
            except BaseException as error:
                failed.append(error)

        workers = [threading.Thread(target=work, args=(rng.uniform(0, 0.1),)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failed == []
        continued(workdir, share=(0, 1))
        assert checkpoint.files(workdir.owned((0, 1))) == []
        return workdir

    trials.tallied("two workers with one share, object store", "real: two threads at once, in memory", count, trial)


@COUNTS
def test_two_workers_with_one_share_on_a_disk(count, trials):
    def trial(rng, place):
        refused = []

        def work(delay):
            threading.Event().wait(delay)
            try:
                train(place, share=(0, 1))
            except TryAgain as error:
                refused.append(str(error))

        workers = [threading.Thread(target=work, args=(rng.uniform(0, 0.02),)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert all("share 0/1 is trained by process" in text for text in refused)
        continued(place, share=(0, 1))

    trials.tallied("three workers with one share, disk", "real: three threads at once; locks refuse", count, trial)
