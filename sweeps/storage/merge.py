"""Result sets put together: those of several workdirs as one, and the small shards of one as few large ones.

A set union by run_id. That a run is stored with other bits too is the doing of what trained it (another device, other
versions, a fault), not of a merge: the first, in the order in which shards are read, stays in the result set; the
others go to `apart/`, in shards like any others that nobody reads.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxgen import FieldError
from sweeps.storage import launches, specification, store
from sweeps.storage.errors import StoreError, TryAgain
from sweeps.storage.files import intact, listed, read_bytes, size, source, write_bytes
from sweeps.storage.objects import Place
from sweeps.storage.workdir import Workdir

LARGE = 2**26  # bytes of a shard that needs no merging
LEVEL = 9  # of merged shards: workers that are alone merge theirs up to less


@dataclasses.dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
      read, written: shards.
      runs: in those that were written.
      apart: the run_ids that were stored with other bits too: these lie in `apart/` now.
      aside: damaged shards that were moved to `damaged/`.
      unlike: in what the sources differ from the first, a line each.
    """

    read: int
    written: int
    runs: int
    apart: tuple[str, ...]
    aside: tuple[Place, ...] = ()
    unlike: tuple[str, ...] = ()


def compact(workdir: Workdir) -> Merged:
    """Makes few large shards of many small ones, safe beside running workers: their shards are left alone.

    A shard is removed once what it held is stored in another. Who reads meanwhile and misses it looks again.

    Raises:
      TryAgain: a launch of the whole sweep, which merges by itself, is running there.
    """
    held = launches.holders(workdir)
    if "all" in held:
        raise TryAgain(f"workdir is {workdir}: it is in use by a launch of the whole sweep, which merges by itself")
    free = [path for path in store.shards(workdir) if store.share_of(path) not in held]
    aside = [path for path in free if not intact(path)]
    for path in aside:
        workdir.set_aside(path)
    small = [path for path in free if path not in aside and size(path) < LARGE]
    return dataclasses.replace(_pour(small, workdir, within=True), aside=tuple(aside))


def unite(sources: Sequence[Workdir], out: Workdir) -> Merged:
    """Puts what several workdirs of one sweep hold into a new one: runs, weights, widths and launches.

    Nothing is changed in the sources. Lanes in mid-training stay there. Sweeps of one name and base over other values,
    as a finer grid or another scale, are one: the union has the values of all, and in what they differ is told.

    Raises:
      FieldError: a source holds no sweep, or another than the first, or the new one holds something.
      StoreError: a shard of a source is damaged.
    """
    specifications = [workdir.read_specification() for workdir in sources]
    for workdir, held in zip(sources, specifications):
        if held is None:
            raise FieldError("workdir", str(workdir), "holds no sweep: only what is one sweep's is merged")
        if why := specification.unlike(specifications[0] or {}, held):
            raise FieldError("workdir", str(workdir), f"{why}, in {sources[0]}: only what is one sweep's is merged")
    out.check_place()
    if out.read_specification() is not None or store.shards(out):
        raise FieldError("out", str(out), "holds a sweep already: give a new directory")
    shards = [path for workdir in sources for path in store.shards(workdir)]
    if damaged := [path for path in shards if not intact(path)]:
        raise StoreError(f"{damaged[0]} is damaged: launch the sweep again there, or set it aside, first")
    with out.locked():
        done = _pour(shards, out, within=False)
        for workdir in sources:
            for there, here in zip(workdir.merged_by_name, out.merged_by_name):
                for path in listed(there, "*.*"):
                    here.mkdir(exist_ok=True)
                    write_bytes(here / path.name, read_bytes(path))
        known = [held for held in specifications if held is not None]
        out.put_specification(specification.united(known, len(store.stored_ids(out))))
    if parents := [workdir.parents for workdir in sources if workdir.parents.read_specification() is not None]:
        unite(parents, out.parents)
    unlike = (
        f"{workdir}: {line}"
        for workdir, held in zip(sources[1:], known[1:])
        for line in specification.differing(known[0], held)
    )
    return dataclasses.replace(done, unlike=tuple(unlike))


def repeated(shards: Sequence[Place]) -> set[str]:
    """The run_ids that stand more than once in these shards."""
    found: Counter[str] = Counter()
    for path in shards:
        found.update(store.ids_of(path))
    return {run_id for run_id, count in found.items() if count > 1}


def bits(row: dict[str, Any]) -> str:
    """All that is stored of a run but what trained it, as a text: equal texts are equal bits."""
    return json.dumps({k: v for k, v in row.items() if v is not None and k != "provenance"}, sort_keys=True)


def _pour(shards: Sequence[Place], out: Workdir, within: bool) -> Merged:
    """Writes the runs of shards, each once, to another workdir, or within their own in the place of the small ones."""
    twice, known, apart = repeated(shards), dict[str, set[str]](), set[str]()
    written = runs = 0
    for batch in _batches(shards):
        if within and len(batch) == 1:
            continue
        parts, others = [], []
        for path in batch:
            table, own, other = pq.read_table(source(path)), [], []
            for index, run_id in enumerate(table["run_id"].to_pylist()):
                held = bits(table.slice(index, 1).to_pylist()[0]) if run_id in twice else ""
                if run_id not in known:
                    own.append(index)
                elif held not in known[run_id]:
                    other.append(index)
                    apart.add(run_id)
                known.setdefault(run_id, set()).add(held)
            parts.append(table.take(pa.array(own, pa.int64())))
            others.append(table.take(pa.array(other, pa.int64())))
        made = [_written(parts, out.runs), _written(others, out.apart)]
        for path in batch if within else ():
            if path not in made:
                path.unlink(missing_ok=True)
        written, runs = written + (made[0] is not None), runs + sum(map(len, parts))
    return Merged(len(shards), written, runs, tuple(sorted(apart)))


def _written(parts: list[pa.Table], folder: Place) -> Place | None:
    """The shard of these tables; None where they have no rows."""
    joined = pa.concat_tables([part for part in parts if len(part)] or parts, promote_options="permissive")
    if not len(joined):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return store.write(folder, joined, LEVEL)


def _batches(shards: Sequence[Place]) -> Iterator[list[Place]]:
    """The shards, in their order, as many together as make a large one."""
    batch: list[Place] = []
    total = 0
    for path in shards:
        if batch and total + size(path) > LARGE:
            yield batch
            batch, total = [], 0
        batch.append(path)
        total += size(path)
    if batch:
        yield batch
