"""What each launch of a sweep says of itself, in a file of its own: when, where and with what, and how far it is.

A launch writes its own file alone, again and again while it trains; nobody else writes to it. Workers that train shares
of one sweep are one launch to readers (`told`).
"""

import contextlib
import datetime
import json
import math
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from jaxgen.kinds import Plain
from sweeps.axes.sweep import Sweep
from sweeps.storage.errors import TryAgain
from sweeps.storage.files import listed, write_text
from sweeps.storage.objects import Place
from sweeps.storage.specification import environment
from sweeps.storage.workdir import Workdir

SILENT = 600.0  # seconds without a word, after which a worker on an object store counts as gone
READERS = 16  # files that are read at once, as object stores are slow to answer
OWN = ("time", "updated", "share", "attempt", "host", "process", "own_runs", "trained", "left_seconds", "ended")
ADDED = ("seconds", "lane_steps", "computed_lane_steps")
Facts = dict[str, Any]  # what the file of a launch says, as JSON


class Launch:
    """The file of a launch that is going on.

    Args:
      workdir: where it trains; its owner, if it has one, names the file.
      sweep: all of the sweep.
      own_runs: how many runs it has to see to, stored ones included.
      stored: how many of these are.
    """

    def __init__(self, workdir: Workdir, sweep: Sweep, own_runs: int, stored: int):
        owner = workdir.owner
        self._path = workdir.new_launch()
        part = {} if owner is None else {"share": owner.share, "attempt": owner.attempt}
        self._facts: Facts = {
            "time": _now(),
            "command": sys.argv,
            **part,
            "host": socket.gethostname(),
            "process": os.getpid(),
            **environment(jax.local_devices()[0]),
            "devices": len(jax.local_devices()),
            **{name: len(sweep.axes.get(path, [None])) for name, path in (("seeds", "seed"), ("splits", "split_seed"))},
            "runs": len(sweep),
            "own_runs": own_runs,
            "stored": stored,
        }
        self._write()

    def write(self, **facts: Plain) -> None:
        """Writes the file with these facts too, or in the place of earlier ones; that it cannot changes nothing."""
        self._facts |= facts
        with contextlib.suppress(OSError, TryAgain):
            self._write()

    def _write(self) -> None:
        write_text(self._path, json.dumps(self._facts | {"updated": _now()}, indent=1))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def read(workdir: Workdir) -> list[Facts]:
    """What the launches of a workdir say, in the order in which they began; files that say nothing are passed over."""
    return looked_at(workdir)[0]


def looked_at(workdir: Workdir) -> tuple[list[Facts], list[Place]]:
    """What the launches of a workdir say, in the order in which they began, and the files of those that say nothing."""
    paths = listed(workdir.launches, "*.json")
    with ThreadPoolExecutor(READERS) as pool:
        facts = [*pool.map(_read, paths)]
    found = sorted((one for one in facts if one is not None), key=lambda one: str(one.get("time", "")))
    return found, [path for path, one in zip(paths, facts) if one is None]


def _read(path: Place) -> Facts | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("command", []), list) else None


def holders(workdir: Workdir) -> set[str]:
    """The shares, as files call them, that are trained now, or "all" of the sweep.

    On a disk that is who holds a lock; on an object store whose launch has not ended and wrote not long ago.
    """
    if isinstance(workdir.root, Path):
        return workdir.holders()
    return {str(one.get("share", "all")) for one in read(workdir) if "ended" not in one and silent(one) < SILENT}


def silent(launch: Mapping[str, object]) -> float:
    """Seconds since a launch last wrote; inf where it does not say."""
    try:
        then = datetime.datetime.fromisoformat(str(launch["updated"]))
        return max((datetime.datetime.now(datetime.UTC) - then).total_seconds(), 0.0)
    except (LookupError, ValueError, TypeError):
        return math.inf


def that_trained(launches: Sequence[Facts]) -> list[Facts]:
    """Launches that had runs to train, however they ended; others judge or draw what is stored."""
    return [one for one in launches if one.get("stored", 0) != one.get("own_runs")]


def told(launches: Sequence[Facts]) -> list[Facts]:
    """Launches as captions and pages tell of them: workers that trained shares of one sweep, alike, are one.

    That one has the facts of the first, how many `workers` there were, lane-steps added up, and the longest `seconds`.
    """
    found: dict[str, dict[str, Any]] = {}
    for index, launch in enumerate(launches):
        command = [word for word in launch.get("command", []) if not str(word).startswith("--share")]
        alike = {k: v for k, v in launch.items() if k not in (*OWN, *ADDED, "command", "stored")} | {"command": command}
        key = json.dumps(alike, sort_keys=True) if "share" in launch else str(index)
        first = found.setdefault(key, {})
        if not first:
            first |= {k: v for k, v in launch.items() if k in (*alike, "time", *ADDED)}
            first |= {"command": command, "workers": 1} if "share" in launch else {}
            continue
        first["workers"] += 1
        for name in ADDED:
            numbers = [v for v in (first.get(name), launch.get(name)) if isinstance(v, (int, float))]
            if numbers:
                first[name] = max(numbers) if name == "seconds" else sum(numbers)
    return list(found.values())
