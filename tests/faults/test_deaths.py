"""Processes that are killed at random moments: the next launch ends as if nothing had happened."""

import random
import signal
import time
from pathlib import Path

import children
import pytest
from trials import COUNTS, SWEEP, Tally, continued

from sweeps.storage import checkpoint, store
from sweeps.storage.workdir import Workdir

THREADS = 8

DEATHS = {
    "kill -9 of a process that trains all": (None, False),
    "kill -9 of a worker with a share": ((0, 2), False),
    "SIGTERM, twice": (None, True),
}


@COUNTS
@pytest.mark.parametrize("kind", DEATHS)
def test_a_process_that_is_killed(kind, count, trials, context):
    share, twice = DEATHS[kind]
    tally, seed, middle, begun = Tally(kind, ""), 0, 0, time.monotonic()
    while tally.trials < count or middle < tally.trials / 3:
        assert seed < 10 + count, "children are killed, and hardly any of them trains"
        folder = str(trials.folder / f"{seed}")
        left, code = children.killed(context, random.Random(seed), folder, THREADS, share, twice)
        assert code in ((0, 75) if twice else (-signal.SIGKILL,))
        seed += 1
        for place in left:
            if not Path(place).exists():  # it was about to be made
                continue
            held = Workdir.at(place)
            middle += 0 < len(store.stored_ids(held)) < len(SWEEP) or bool(checkpoint.running(held))
            if share is not None:
                continued(place, share=share)
            continued(place)
            assert not [*held.root.rglob("*.tmp"), *(held.root / "inflight").iterdir()]
            tally.add(held, trials.wholes)
    tally.how = f"real: {seed} processes, up to {THREADS} sweeps each; {middle} sweeps in mid-training"
    tally.seconds = time.monotonic() - begun
    trials.told(tally, count)
