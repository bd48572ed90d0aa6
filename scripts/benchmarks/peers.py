"""A peer's process: it gets ready, says so, and then answers every line on stdin with the rate of one round."""

import dataclasses
import functools
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import jax_peers
from sweeps.execution import profile, widths

CORES = len(os.sched_getaffinity(0))
TOLERANCE = 5e-3  # relative, of the first losses: they part slowly, by rounding


@dataclasses.dataclass(frozen=True)
class Peer:
    """One way to train.

    Attributes:
      round: lane-steps per second (of `matrix`: GFLOP/s) over so many seconds.
      lanes: trained at once by this process.
      compile_seconds: of its programs.
    """

    round: Callable[[float], float]
    lanes: int = 1
    compile_seconds: float = 0.0


def be(name: str, experiment: Any, lanes: int, check: str, seconds: float) -> None:
    """A peer's side of `scripts/benchmark.py`.

    Args:
      name: of the peer; "check" writes what the others have to agree with.
      experiment: of the case.
      lanes: of the peer, where it has a choice; 0: its own.
      check: file with weights, rows and losses; not there for peers that train by our own code.
      seconds: length of a round.
    """
    if name == "check":
        return jax_peers.write_check(experiment, check)
    peer = BUILD[name](experiment, lanes, np.load(check) if os.path.exists(check) else None)
    peer.round(seconds)
    print("ready", peer.compile_seconds, peer.lanes, flush=True)
    for _ in sys.stdin:
        print(peer.round(seconds), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def ours(experiment: Any, lanes: int, _: Any) -> Peer:
    """The engine's blocks on one device per core, at the width of the rule or at `lanes`."""
    profile.set_up_jax()
    devices = jax.local_devices()
    compiling = jax_peers.compile_seconds(experiment, devices)
    width = lanes or widths.rule(experiment, devices[0])
    intervals = widths.first_intervals(experiment, width)
    blocks = jax_peers.Blocks(experiment, width, intervals, devices)
    return Peer(blocks.round, 2 * len(devices) * width, compiling)


def wide(experiment: Any, lanes: int, _: Any) -> Peer:
    """One vmap on one device."""
    jax.config.update("jax_num_cpu_devices", 1)
    made = jax_peers.Wide(experiment, lanes or 256)
    return Peer(made.round, made.lanes, made.compile_seconds)


def plain(experiment: Any, _: int, check: Any) -> Peer:
    """One configuration after another in plain JAX."""
    start = time.perf_counter()
    work = jax_peers.plain(experiment, check)
    agreed(work(len(check["losses"])), check, "jax")
    seconds = time.perf_counter() - start
    return Peer(_rounds(lambda: len(work(len(check["losses"])))), 1, seconds)


def matrix(*_: Any) -> Peer:
    """Matrix products on one device per core."""
    profile.set_up_jax()
    return Peer(jax_peers.matrix_rate())


def torch_eager(threads: int, experiment: Any, _: int, check: Any) -> Peer:
    """One configuration after another in PyTorch."""
    from benchmarks import torch_peers  # the others need no PyTorch

    work = torch_peers.eager(experiment, check, threads)
    agreed(work(len(check["losses"]), watched=True), check, "torch")
    return Peer(_rounds(lambda: (work(5), 5)[1]))


def torch_ensemble(experiment: Any, lanes: int, check: Any) -> Peer:
    """An ensemble in PyTorch."""
    from benchmarks import torch_peers

    start, members = time.perf_counter(), lanes or 16
    work = torch_peers.ensemble(experiment, check, members)
    seconds = time.perf_counter() - start
    agreed(work(len(check["losses"]), watched=True), check, "torch-vmap")
    return Peer(_rounds(lambda: (work(1), members)[1]), members, seconds)


def agreed(losses: Any, check: Any, peer: str) -> None:
    """Ends the peer if its first losses are not ours."""
    if not np.allclose(losses, check["losses"], rtol=TOLERANCE, atol=1e-6):
        sys.exit(f"{peer}: losses {np.asarray(losses)[[0, 1, -1]]} where ours are {check['losses'][[0, 1, -1]]}")


def _rounds(work: Callable[[], int]) -> Callable[[float], float]:
    """Rounds of `work`, which makes some lane-steps and returns how many."""

    def one(seconds: float) -> float:
        done, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < seconds:
            done += work()
        return done / spent

    return one


BUILD: dict[str, Callable[[Any, int, Any], Peer]] = {
    "ours": ours,
    "wide": wide,
    "jax": plain,
    "torch-1": functools.partial(torch_eager, 1),
    f"torch-{CORES}": functools.partial(torch_eager, CORES),
    "torch-vmap": torch_ensemble,
    "torch-procs": functools.partial(torch_eager, 1),
    "matrix": matrix,
}
