"""The shares of a sweep on a cluster: which are started, which wait, which are tried again, and when it is over.

What a cluster tells of a share is how its process ended. All else, as how far it is and what is left, is read from the
workdir, where shares write what `--share=i/n` writes anywhere.
"""

import contextlib
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jaxlib

import jaxgen
from jaxgen import FieldError
from sweeps import interruptible
from sweeps.execution import stages
from sweeps.execution.plan import Plan
from sweeps.execution.progress import Line, clock
from sweeps.storage import launches, store, weights
from sweeps.storage.errors import StoreError
from sweeps.storage.files import marked
from sweeps.storage.specification import sources
from sweeps.storage.workdir import Owner, Workdir

POLL_SECONDS = 1.0  # between looks at what has ended
LOOK_SECONDS = 10.0  # between looks into the workdir, as workers tell so often how far they are
LONGEST_PAUSE = 60.0  # seconds before a share that failed again and again is started once more
SILENT = 60.0  # seconds without a word from a share that is started, after which it does not count as at work

VERSIONS = {"jaxgen": jaxgen.__version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__}
"""What has to be the same on all machines."""

How = Literal["stored", "waits", "failed", "refused"]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How the process of a share ended.

    Attributes:
      index: which share.
      how: "stored", all of its runs; "waits", the others start from runs that are not there yet; "failed", as it died,
        or was told to stop; "refused", since the input is wrong.
      said: why, in one line.
    """

    index: int
    how: How
    said: str = ""


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be trained.

    Attributes:
      plan: of the whole sweep, with what is stored already.
      workdir: of the results.
      said: name, definition, description and changed fields, as `sweep.json` keeps them.
      options: of `Options`, by name, for each share.
    """

    plan: Plan
    workdir: Workdir
    said: Mapping[str, Any]
    options: Mapping[str, Any]


class Cluster(Protocol):
    """Machines that train shares, each in a process of its own.

    Attributes:
      room: how many at once, as far as is known.
    """

    room: int

    def start(self, text: str, index: int, count: int) -> None:
        """Has share `index` of `count` trained by `task.train` as soon as there is room; `text` tells of the sweep."""

    def ended(self, seconds: float) -> list[Ended]:
        """The shares that have ended since the last call; waits for one at most so long."""

    def stop(self) -> None:
        """Asks all shares that were started to save their lanes and end."""


@runtime_checkable
class Executor(Protocol):
    """Where the shares of a sweep are trained (`sweeps.Ray`).

    Attributes:
      shares: how many; as many as there is room for at once when None.
      retries: how often in a row a share may fail without a run stored in between.
    """

    @property
    def shares(self) -> int | None: ...  # noqa: D102

    @property
    def retries(self) -> int: ...  # noqa: D102

    def cluster(self, workdir: Workdir) -> AbstractContextManager[Cluster]:
        """The machines, for as long as the context lasts; what is not allowed there raises FieldError."""


def train(work: Work, executor: Executor, *, stop_after_hours: float | None, grace: float, quiet: bool) -> int | None:
    """Trains what is left of a sweep, share by share; gives the signal that stopped it.

    Args:
      work: the sweep.
      executor: where.
      stop_after_hours: stop all shares, resumably, after so long.
      grace: seconds that shares may take to save their lanes when they are stopped.
      quiet: show nothing.

    Raises:
      FieldError: there are more shares than runs, or the executor does not allow something.
      StoreError: a share was refused; says why.
    """
    runs = len(work.plan.run_ids)
    if executor.shares is not None and executor.shares > runs:
        raise FieldError("shares", executor.shares, f"must be at most {runs:,}, the runs of the sweep")
    end = time.monotonic() + 3600 * (stop_after_hours or math.inf)
    stopped_by: list[int] = []
    with (
        executor.cluster(work.workdir) as cluster,
        interruptible.asked(stopped_by.append, grace),
        _begun(work) as text,
    ):
        total = sum(len(plan.run_ids) for plan, _ in stages.levels(work.plan, work.workdir))
        with Line(total, quiet) as line:
            if not cluster.room:
                line.note("no machine of the cluster has what a share asks for: they wait until one comes")
            count = executor.shares or min(max(cluster.room, 1), runs)
            shares = _Shares(work, text, cluster, count, executor.retries, line)
            try:
                shares.train(lambda: bool(stopped_by) or time.monotonic() > end)
            finally:
                shares.stop(grace)
    return stopped_by[0] if stopped_by else None


@contextlib.contextmanager
def _begun(work: Work) -> Iterator[str]:
    """The sweep as text for processes elsewhere, once `sweep.json` says what each share will.

    On a disk the workdir holds a file meanwhile, by which they find out that they see the same one.
    """
    driver = work.workdir.owned((0, 1))
    with driver.locked():
        driver.write_specification(base=work.plan.base, sweep=work.plan.sweep, **work.said)
    with contextlib.ExitStack() as stack:
        root = work.workdir.root
        yield written(work, stack.enter_context(marked(root)) if isinstance(root, Path) else "")


def written(work: Work, mark: str) -> str:
    """All that a process on another machine has to know of a sweep, as JSON.

    Args:
      work: the sweep.
      mark: the name of a file in the workdir that the process has to see; "" where none is.
    """
    plan = work.plan
    told = {
        "versions": VERSIONS,
        "command": sys.argv,
        "files": sources(plan.base, plan.sweep, []),
        "base": plan.base.to_dict(),
        "sweep": plan.sweep.to_dict(),
        "workdir": work.workdir.absolute(),
        "mark": mark,
        "said": {**work.said, "definition": dict(work.said["definition"])},
        "options": dict(work.options),
    }
    return json.dumps(told)


@dataclasses.dataclass
class _Share:
    """A share.

    Attributes:
      state: "due" to be started, "started", "waits" for runs that others train, "stored", "given up".
      due: when it may be started, on the monotonic clock.
      fails: how often it has failed since it stored a run.
      left: runs that it had to train when it failed last.
      known: runs of the whole sweep that were stored when it was started last.
    """

    state: str = "due"
    due: float = 0.0
    fails: int = 0
    left: int = 0
    known: int = 0


class _Shares:
    """All shares of a sweep, in training."""

    def __init__(self, work: Work, text: str, cluster: Cluster, count: int, retries: int, line: Line):
        self.work, self.text, self.cluster = work, text, cluster
        self.count, self.retries, self.line = count, retries, line
        self.shares = [_Share() for _ in range(count)]
        self.parts: dict[int, Plan] = {}
        self.stored = self.first = self._stored()
        self.begun, self.looked = time.monotonic(), -math.inf

    def train(self, over: Callable[[], bool]) -> None:
        """Trains until all is stored, nothing can go on, or it is `over`."""
        while not over():
            for index, share in self._of("due"):
                if share.due <= time.monotonic():
                    share.state, share.known = "started", self.stored
                    self.cluster.start(self.text, index, self.count)
            self._look()
            if not self._of("due", "started"):
                break
            ended = self.cluster.ended(POLL_SECONDS)
            if ended:
                self.stored, self.looked = self._stored(), -math.inf
            for one in ended:
                self._take(one)

    def stop(self, grace: float) -> None:
        """Has those that are started save their lanes, and waits for that at most so many seconds."""
        if not self._of("started"):
            return
        self.line.note("stopping: shares save their lanes")
        self.cluster.stop()
        end = time.monotonic() + grace
        while self._of("started") and time.monotonic() < end:
            for one in self.cluster.ended(POLL_SECONDS):
                self.shares[one.index].state = "stored" if one.how == "stored" else "due"
        self._tell()

    def _of(self, *states: str) -> list[tuple[int, _Share]]:
        return [(index, share) for index, share in enumerate(self.shares) if share.state in states]

    def _take(self, ended: Ended) -> None:
        share, name = self.shares[ended.index], f"share {ended.index}/{self.count}"
        if ended.how == "refused":
            share.state = "given up"
            raise StoreError(f"{name}: {ended.said}")
        if ended.how != "failed":  # one that has stored its own may lack runs that others start from
            share.state = "waits" if ended.how == "waits" or self._left(ended.index) else "stored"
            return
        left = self._left(ended.index)
        share.fails = share.fails + 1 if left == share.left else 1
        share.left = left
        pause = min(2.0 ** (share.fails - 1), LONGEST_PAUSE)
        share.state, share.due = "due", time.monotonic() + pause
        then = f"it starts again in {clock(pause)}"
        if share.fails > self.retries:
            share.state, then = "given up", f"given up after {share.fails} times"
        self.line.note(f"{name}: {ended.said}; {then}")

    def _look(self) -> None:
        """Now and then starts those that wait and can go on, and tells how far all are.

        Where nothing is in training all that wait are tried, if anything was stored since they were the last time.
        """
        if time.monotonic() < self.looked + LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        alone = not self._of("due", "started")
        for index, share in self._of("waits"):
            if share.known < self.stored and (alone or self._can_go_on(index)):
                share.state, share.due = "due", 0.0
        self._tell()

    def _part(self, index: int) -> Plan:
        if index not in self.parts:
            self.parts[index] = self.work.plan.share(index, self.count)
        return self.parts[index]

    def _left(self, index: int) -> int:
        return sum(len(_missing(*level)) for level in stages.levels(self._part(index), self.work.workdir))

    def _can_go_on(self, index: int) -> bool:
        return all(_have_starts(*level) for level in stages.levels(self._part(index), self.work.workdir))

    def _stored(self) -> int:
        levels = stages.levels(self.work.plan, self.work.workdir)
        return sum(len(store.stored_ids(workdir, plan.run_ids)) for plan, workdir in levels)

    def _tell(self) -> None:
        """One line, of what launches say in the workdir."""
        names = {Owner(index, self.count).share for index, _ in enumerate(self.shares)}
        done, at_work = 0, set()
        for _, workdir in stages.levels(self.work.plan, self.work.workdir):
            last = {str(one.get("share")): one for one in launches.read(workdir)}
            for name in names & last.keys():
                done += sum(int(last[name].get(what) or 0) for what in ("stored", "trained"))
                if "ended" not in last[name] and launches.silent(last[name]) < SILENT:
                    at_work.add(name)
        done = max(done, self.stored)
        total = sum(len(plan.run_ids) for plan, _ in stages.levels(self.work.plan, self.work.workdir))
        started = {Owner(index, self.count).share for index, _ in self._of("started")}
        counts = {
            "stored": len(self._of("stored")),
            "at work": len(started & at_work),
            "not begun": len(started - at_work) + len(self._of("due")),
            "waiting for others": len(self._of("waits")),
            "given up": len(self._of("given up")),
        }
        told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        seconds = time.monotonic() - self.begun
        left = (total - done) * seconds / (done - self.first) if done > self.first else math.inf
        rest = f"  about {clock(left)} left" if math.isfinite(left) else ""
        rest = rest if done < total else f"  {clock(seconds)} in all"
        self.line.show(done, f"{done}/{total} runs  {self.count} shares: {told}{rest}")


def _missing(plan: Plan, workdir: Workdir) -> set[str]:
    return plan.run_ids - store.stored_ids(workdir, plan.run_ids)


def _have_starts(plan: Plan, workdir: Workdir) -> bool:
    """Whether all runs that are missing have what they start from, or the same share trains that."""
    needed = {plan.starts_from[run_id] for run_id in _missing(plan, workdir) & plan.starts_from.keys()}
    own = plan.first.run_ids if plan.first is not None else set()
    return needed <= own | weights.run_ids(workdir.parents, needed - own)
