"""How far a sweep is, and whether what is stored of it is sound: what can be told by looking."""

import dataclasses
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from jaxgen import FieldError
from sweeps.storage import checkpoint, launches, merge, store, weights
from sweeps.storage.files import intact, source, temporaries
from sweeps.storage.objects import Place
from sweeps.storage.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Worker:
    """The last that was heard of who trains a share.

    Attributes:
      share: as files call it; "all" of the sweep where it has none.
      at_work: whether it trains now: on a disk it holds its lock, elsewhere it wrote not long ago.
      silent: seconds since it last wrote what it does.
      own_runs, done: runs that it has to see to, and those of them that are stored by what it said last.
      left_seconds: how long it will take; None where that is not known.
      ended: what it said in the end; empty where it said nothing.
      host: where it runs.
    """

    share: str
    at_work: bool
    silent: float
    own_runs: int
    done: int
    left_seconds: float | None
    ended: str
    host: str


@dataclasses.dataclass(frozen=True)
class Status:
    """How far a sweep is.

    Attributes:
      name: of the sweep.
      runs: of the sweep; points that are the same run count apart where no launch has told how many there are.
      stored: runs by how they ended.
      running: runs in mid-training, when lanes were last saved.
      workers: of each share the last.
      damaged: shards that cannot be read: what they held counts as not stored.
    """

    name: str
    runs: int
    stored: Mapping[str, int]
    running: int
    workers: tuple[Worker, ...]
    damaged: int = 0

    @property
    def waiting(self) -> int:
        """Runs that are neither stored nor in training."""
        return max(self.runs - sum(self.stored.values()) - self.running, 0)

    @property
    def left_seconds(self) -> float | None:
        """Until the last of those who are at work has ended; None where one does not know, or none is."""
        left = [worker.left_seconds for worker in self.workers if worker.at_work]
        known = [seconds for seconds in left if seconds is not None]
        return max(known) if known and len(known) == len(left) else None


def look(workdir: Workdir) -> Status:
    """How far the sweep of a workdir is.

    Raises:
      FieldError: it holds none.
    """
    held = workdir.read_specification()
    if held is None:
        raise FieldError("workdir", str(workdir), "holds no sweep: launch one there first")
    ended = store.statuses(workdir)
    lanes = {lane["run_id"] for lane in checkpoint.running(workdir)} - ended.keys()
    last = {str(one.get("share", "all")): one for one in launches.read(workdir)}
    at_work = launches.holders(workdir)
    workers = tuple(_worker(share, last[share], share in at_work) for share in sorted(last, key=_order))
    whole = max(_runs(last) or held.get("runs", 0), len(ended) + len(lanes))  # the last launch may ask for some only
    return Status(held["name"], whole, Counter(ended.values()), len(lanes), workers, len(store.damaged(workdir)))


def _runs(last: Mapping[str, Mapping[str, object]]) -> int:
    """Runs of the sweep by what launches said: of one that trains all, or of all shares of one count; 0: not known."""
    own = {share: value for share, said in last.items() if isinstance(value := said.get("own_runs"), int)}
    if "all" in own:
        return own["all"]
    by_count: dict[str, list[int]] = {}
    for share, runs in own.items():
        by_count.setdefault(share.partition("of")[2], []).append(runs)
    return max((sum(shares) for count, shares in by_count.items() if count == str(len(shares))), default=0)


def _order(share: str) -> tuple[int, ...]:
    return tuple(int(part) for part in share.split("of") if part.isdecimal())


def _worker(share: str, said: Mapping[str, object], at_work: bool) -> Worker:
    number = lambda name: v if isinstance(v := said.get(name), (int, float)) else 0  # noqa: E731
    left = number("left_seconds") if said.get("left_seconds") is not None else None
    done = int(number("stored") + number("trained"))
    told = str(said.get("ended", "")), str(said.get("host", ""))
    return Worker(share, at_work, launches.silent(said), int(number("own_runs")), done, left, *told)


@dataclasses.dataclass(frozen=True)
class Findings:
    """What is not as it should be in a workdir, and what is.

    Attributes:
      shards, runs: sound shards, and the runs that they hold.
      damaged: shards whose content is not what their name says, with the run_ids that can still be read of them and
        that no sound shard holds; None where none can be read.
      lanes, weights: damaged files of lanes in mid-training and of weights: what they held is trained again.
      launches: files of launches that cannot be read: what trained their runs is not known.
      repeated: runs that are stored more than once, alike: they count once.
      differing: the shards of each run that is stored with several bits.
      strangers: files among the shards that are none.
      leftovers: temporary files that no process writes.
    """

    shards: int
    runs: int
    damaged: dict[Place, list[str] | None]
    lanes: list[Place]
    weights: list[Place]
    launches: list[Place]
    repeated: int
    differing: dict[str, list[Place]]
    strangers: list[Place]
    leftovers: list[Place]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or differs."""
        return not (self.damaged or self.lanes or self.weights or self.launches or self.differing)


def examine(workdir: Workdir) -> Findings:
    """Reads all that a workdir holds and compares it with its checksums; changes nothing.

    Raises:
      FieldError: it holds no sweep.
    """
    if workdir.read_specification() is None:
        raise FieldError("workdir", str(workdir), "holds no sweep: launch one there first")
    shards = store.shards(workdir)
    whole = [path for path in shards if intact(path)]
    known = store.stored_ids(workdir)
    damaged = {path: _still_read(path, known) for path in shards if path not in whole}
    versions: dict[str, dict[str, Place]] = {}
    twice = merge.repeated(whole)
    for path in whole if twice else ():
        table = pq.read_table(source(path))
        for row in table.filter(pa.compute.is_in(table["run_id"], pa.array(sorted(twice)))).to_pylist():
            versions.setdefault(row["run_id"], {}).setdefault(merge.bits(row), path)
    differing = {run_id: [*found.values()] for run_id, found in versions.items() if len(found) > 1}
    return Findings(
        len(whole),
        len(known),
        damaged,
        checkpoint.damaged(workdir),
        weights.damaged(workdir),
        launches.looked_at(workdir)[1],
        len(twice) - len(differing),
        differing,
        store.strangers(workdir),
        [path for folder in workdir.folders for path in temporaries(folder)],
    )


def _still_read(path: Place, known: set[str]) -> list[str] | None:
    try:
        return sorted(set(store.ids_of(path)) - known)
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
