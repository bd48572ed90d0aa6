"""Puts the runs of several workdirs of one sweep into a new one, or makes few large shards of many small ones in one.

python scripts/merge.py out/a out/b out/c --out=out/all
python scripts/merge.py gs://bucket/sweep

A union by run_id: nothing is trained again, and nothing is changed in the sources. Sweeps of one name and base may be
over other values (a finer grid, another scale): the union has those of all, and a line says in what each differs.

Of a run that was stored with other bits too, the first (by the order of the arguments, then of the shards' names) stays
in the result set; the others lie in `apart/`, in shards that any Parquet reader opens, and each is named.

In one workdir it is safe beside running workers (--share): their shards are left alone. Damaged shards are set aside.

Exit codes: 0 done; 1 done, and some runs lie apart; 2 the input is not allowed.
"""

import sys

from absl import flags

from jaxgen import FieldError
from sweeps.storage import merge
from sweeps.storage.workdir import Workdir

OUT = flags.DEFINE_string("out", None, "New directory for the union of several workdirs, or its URI.")


def main(*workdirs: str) -> None:
    """Merges the workdirs into --out, or the shards of the only one."""
    if not workdirs or (OUT.value is None and len(workdirs) > 1):
        raise FieldError("out", OUT.value, "give WORKDIR, or WORKDIR WORKDIR … --out=NEW")
    held = [Workdir.at(workdir) for workdir in workdirs]
    place = held[0] if OUT.value is None else Workdir.at(OUT.value)
    found = merge.compact(place) if OUT.value is None else merge.unite(held, place)
    for path in found.aside:
        print(f"{path} is damaged: set aside in {place.damaged}, its runs are trained again by the next launch")
    for line in found.unlike:
        print(line)
    for run_id in found.apart:
        print(f"{run_id} was stored with other bits too: these lie in {place.apart}")
    said = f"{found.runs:,} runs of {found.read:,} shards are in {found.written:,} now"
    if not found.written:
        said = "nothing to merge: single shards, and those of workers at work, stay"
    print(f"{place}: {said}")
    if found.apart:
        sys.exit(1)
