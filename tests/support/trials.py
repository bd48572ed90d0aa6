"""A tiny sweep to do harm to, and what has become of it: whatever happened, it ends as if nothing had."""

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import jaxgen as jg
import sweeps
from jaxgen import kernel
from sweeps.storage import files, store
from sweeps.storage.workdir import Workdir

BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=5, train_fraction=0.6),
    model=jg.models.QuadraticMLP(width=8),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1),
    training=jg.Training(steps=100, evaluate_every=10),
)
AXES = sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.sweep("training.steps", [40, 80])
SWEEP = sweeps.product(sweeps.tie(*AXES), sweeps.seeds(3))
FAST = {"name": "tiny", "width": 2, "intervals": 2, "devices": 1, "quiet": True, "checkpoint_seconds": 0.0}
FEW, MANY = 3, 200  # trials of a kind in the default run, and with -m faults
COUNTS = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.faults)])
Rows = dict[str, str]
Wholes = dict[int, Rows]  # by the width of the program: each has bits of its own


@dataclasses.dataclass
class Tally:
    """What became of the trials of a kind.

    Attributes:
      kind: what was done.
      how: what of it is real, and what a stand-in.
      trials: how many times.
      lost: runs that were not stored in the end.
      doubled: runs that readers saw twice.
      wrong: runs whose bits are not those of the sweep that nothing happened to, or that nobody asked for.
      twice: runs that lie in two shards in the end, alike: readers count them once.
      seconds: all of it.
    """

    kind: str
    how: str
    trials: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    twice: int = 0
    seconds: float = 0.0

    def add(self, workdir: Workdir, wholes: Wholes) -> None:
        """Counts a trial that ended, and compares what is stored with what was to be."""
        table = store.read(workdir)
        rows = rows_of(table.to_pylist())
        widths = {row["run_id"]: json.loads(row["provenance"])["width"] for row in table.to_pylist()}
        whole = {run_id: wholes[widths.get(run_id, FAST["width"])][run_id] for run_id in wholes[FAST["width"]]}
        on_disk = Counter(run for path in store.shards(workdir) for run in store.ids_of(path))
        self.trials += 1
        self.lost += len(whole.keys() - rows.keys())
        self.doubled += len(table) - len(rows)
        self.wrong += sum(whole.get(run_id) != row for run_id, row in rows.items())
        self.twice += sum(count > 1 for count in on_disk.values())

    def check(self, count: int) -> None:
        """Whether there were so many trials, and no harm was done."""
        assert self.trials >= count
        assert (self.lost, self.doubled, self.wrong) == (0, 0, 0), self


def rows_of(found: list[dict]) -> Rows:
    """All that is stored of each run but what trained it, as text: equal texts are equal bits."""
    return {row["run_id"]: repr({k: v for k, v in row.items() if k != "provenance" and v is not None}) for row in found}


class Trials:
    """Trials of a kind: each a new directory and a seed of its own; what they come to is said to pytest.

    Args:
      folder: of the directories.
      wholes: the rows of a sweep that nothing happened to, of each width.
      record: pytest's `record_property`.
    """

    def __init__(self, folder: Path, wholes: Wholes, record: Callable[[str, object], None]):
        self.folder, self.wholes, self.record = folder, wholes, record

    def tallied(self, kind: str, how: str, count: int, trial: "Callable[[random.Random, Path], object]") -> None:
        """Does a trial so many times: it does harm, and continues; then all is compared."""
        tally = Tally(kind, how)
        for rng, place in self.places(count):
            begun = time.monotonic()
            workdir = trial(rng, place)
            tally.add(workdir if isinstance(workdir, Workdir) else Workdir.at(place), self.wholes)
            tally.seconds += time.monotonic() - begun
        self.told(tally, count)

    def told(self, tally: Tally, count: int) -> None:
        """Says what trials came to, and fails where any did harm."""
        self.record("faults", dataclasses.asdict(tally))
        tally.check(count)

    def places(self, count: int) -> Iterator[tuple[random.Random, Path]]:
        """A seeded generator and a directory for each trial."""
        for seed in range(count):
            yield random.Random(seed), self.folder / f"{seed}"


def train(where: object, sweep: sweeps.Sweep = SWEEP, **options: object) -> sweeps.Results:
    """Trains the sweep there, or what is left of it, as a new process would: it has read no file yet."""
    files._named.cache_clear()
    return sweeps.run(BASE, sweep, where, **{**FAST, **options})


def continued(where: object, **options: object) -> sweeps.Results:
    """`train`, which trains no run again that lies there whole."""
    workdir = Workdir.at(where)
    files._named.cache_clear()
    sound, taken = store.stored_ids(workdir), []
    assign = kernel.Block.assign
    with pytest.MonkeyPatch.context() as patch:
        noted = lambda self, i, run_id, *a: (taken.append(run_id), assign(self, i, run_id, *a))  # noqa: E731
        patch.setattr(kernel.Block, "assign", noted)
        results = train(where, **options)
    assert not sound & {*taken}, "runs that lay there whole were trained again"
    return results


def pick(rng: random.Random, found: list) -> object:
    """One of them."""
    return sorted(found)[rng.randrange(len(found))]


def all_rows(where: object) -> Rows:
    """`rows_of` all that readers see."""
    return rows_of(store.read(where).to_pylist())
