"""Measures this machine: lane-steps per second of our engine, beside what else one could do.

  python scripts/benchmark.py
  python scripts/benchmark.py --cases=quadratic-31,edge-mlp-59 --rounds=10 --json=benchmark.json

Cases are in scripts/benchmarks/cases.py. Peers, each in processes of its own that wait while another is timed:
  ours         the engine's blocks: one device per core, two blocks each, measured width
  wide         the same kernel as one vmap of 64 lanes on one device that has all cores
  jax          plain JAX: jit and scan, one configuration after another, all cores
  torch        PyTorch eager, one configuration after another, on one thread or on all cores, whichever is faster
  torch-vmap   torch.func: vmap over an ensemble of 16, all cores
  torch-procs  PyTorch eager, one single-threaded process per core
  matrix       no peer: float32 products of 1024² matrices, one device per core; the rate that shares refer to

Before anything is timed, the losses of jax and of PyTorch are checked against ours from the same weights and rows.
Rounds go through all peers in turn; ratios are taken round by round. Compile time is told apart. Also measured: peak
memory, and time and memory of planning 100,000 runs.
"""

import functools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from benchmarks.cases import CASES

from jaxgen import FieldError
from sweeps import command
from sweeps.files import write_text

CORES = len(os.sched_getaffinity(0))
EAGER = ("torch-1", f"torch-{CORES}")  # the better of which is "torch"
DEFAULT = ["quadratic-31", "edge-mlp-59", "edge-mlp-113", "corrupted-97", "toy-10", "transformer-31"]
TOLERANCE = 5e-3  # relative, of the first losses: they part slowly, by rounding

WANTED = flags.DEFINE_list("cases", DEFAULT, f"Of {', '.join(CASES)}.")
ONLY = flags.DEFINE_list(
    "peers", None, "Of ours, wide, jax, torch, torch-vmap, torch-procs, matrix; all when left out."
)
ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed rounds of each peer, in turn.", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 3, "Length of one timed round.", lower_bound=0.05)
PLANNING = flags.DEFINE_integer("planning", 100_000, "How many runs are planned; 0: leave that out.", lower_bound=0)
JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")
PEER = flags.DEFINE_string("peer", None, "(internal) Be this peer: answer every line on stdin with a rate.")
CHECK = flags.DEFINE_string("check", None, "(internal) File with weights, rows and losses to agree with.")


def main() -> None:
    for name in WANTED.value:
        if name not in CASES:
            raise FieldError("cases", name, f"must be among {', '.join(CASES)}")
    if PEER.value:
        return be(PEER.value)
    names = chosen_peers()
    print(f"{CORES} cores of {processor()}; {ROUNDS.value} rounds of {SECONDS.value:g} s in turn; median [min, max]")
    found = {"cores": CORES, "processor": processor(), "cases": {}}
    for case in WANTED.value:
        found["cases"][case] = measured = measure(case, names)
        report(case, measured)
    if PLANNING.value:
        found["planning"] = plan = planning(PLANNING.value)
        size = f"{plan['bytes'] / 2**20:.0f} MiB for the whole process"
        print(f"\nplanning {plan['runs']:,} runs: {plan['seconds']:.1f} s, {size}")
    if JSON.value:
        write_text(Path(JSON.value), json.dumps(found, indent=1))


def chosen_peers() -> list[str]:
    """The peers to time; without PyTorch those that need none."""
    known = {peer: "torch" if peer in EAGER else peer for peer in BUILD}
    wanted = ONLY.value or sorted(set(known.values()))
    for name in wanted:
        if name not in known.values():
            raise FieldError("peers", name, f"must be among {', '.join(sorted(set(known.values())))}")
    names = [peer for peer, said in known.items() if said in wanted]
    if any("torch" in name for name in names):
        try:
            import torch  # noqa: F401
        except ImportError:
            print("PyTorch is not installed (pip install 'jaxgen[torch]'): its peers are left out")
            names = [name for name in names if "torch" not in name]
    return names


def measure(case: str, names: list[str]) -> dict[str, Any]:
    """Rates of every peer in every round, compile seconds, peak bytes and useful FLOPs of a case."""
    with tempfile.TemporaryDirectory() as folder:
        check = Path(folder) / "check.npz"
        subprocess.run(command_line("check", case, check), check=True)
        peers = {n: [start(n, case, check) for _ in range(CORES if n == "torch-procs" else 1)] for n in names}
        ready = {name: max(wait(p) for p in processes) for name, processes in peers.items()}
        rates: dict[str, list[float]] = {name: [] for name in peers}
        for _ in range(ROUNDS.value):
            for name, processes in peers.items():
                rates[name].append(timed(processes))
        memory = {name: sum(finish(p) for p in processes) for name, processes in peers.items()}
    eager = [name for name in rates if name in EAGER]
    if eager:
        best = max(eager, key=lambda name: statistics.median(rates[name]))
        rates["torch"], memory["torch"], ready["torch"] = rates[best], memory[best], ready[best]
        for name in eager:
            del rates[name], memory[name], ready[name]
    return {"flops": CASES[case].flops, "rates": rates, "prepared_seconds": ready, "peak_bytes": memory}


def report(case: str, measured: dict[str, Any]) -> None:
    """Prints a case's table."""
    rates, flops = dict(measured["rates"]), measured["flops"]
    matrix = rates.pop("matrix", None)
    print(f"\n{case}: {CASES[case].about}; {flops / 1e6:.3g} useful MFLOP per lane-step")
    if matrix:
        print(f"matrix products: {spread(matrix, '.0f')} GFLOP/s")
    print(f"{'':12}{'lane-steps/s':>28}{'ours / it':>24}{'GFLOP/s':>10}{'share':>8}{'prepared':>10}{'peak memory':>14}")
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(rates["ours"], values)] if "ours" in rates else []
        speed = [flops * v / 1e9 for v in values]
        share = f"{statistics.median(s / m for s, m in zip(speed, matrix)):.0%}" if matrix else ""
        size = f"{measured['peak_bytes'][name] / 2**20:.0f} MiB"
        row = f"{name:12}{spread(values, ',.0f'):>28}{spread(ratios, '.2f') if ratios else '':>24}"
        print(f"{row}{statistics.median(speed):>10.1f}{share:>8}{measured['prepared_seconds'][name]:>8.1f} s{size:>14}")


def spread(values: list[float], form: str) -> str:
    """Median [min, max]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def processor() -> str:
    """What the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.processor())


def command_line(peer: str, case: str, check: Path) -> list[str]:
    """How a peer's process is started."""
    flags = [f"--peer={peer}", f"--cases={case}", f"--check={check}", f"--seconds={SECONDS.value}"]
    return [sys.executable, __file__, *flags]


def start(peer: str, case: str, check: Path) -> subprocess.Popen:
    """A peer's process."""
    return subprocess.Popen(command_line(peer, case, check), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait(process: subprocess.Popen) -> float:
    """Until a peer has compiled and agreed on the losses; the seconds that took."""
    said = process.stdout.readline().split() if process.stdout else []
    if said[:1] != ["ready"]:
        sys.exit("a peer failed: see above")
    return float(said[1])


def timed(processes: list[subprocess.Popen]) -> float:
    """One round of one peer: the rate of all its processes together."""
    for process in processes:
        if process.stdin:
            process.stdin.write("go\n")
            process.stdin.flush()
    return sum(float(process.stdout.readline()) for process in processes if process.stdout)


def finish(process: subprocess.Popen) -> int:
    """Ends a peer; its peak memory in bytes."""
    peak, _ = process.communicate("")
    return int(peak)


def be(peer: str) -> None:
    """A peer's side: gets ready, then answers every line with the rate of one round."""
    experiment, begun = CASES[WANTED.value[0]].experiment, time.perf_counter()
    if peer == "check":
        return write_check(experiment)
    measure_rate = BUILD[peer](experiment)
    measure_rate()
    print("ready", time.perf_counter() - begun, flush=True)
    for _ in sys.stdin:
        print(measure_rate(), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def write_check(experiment: Any) -> None:
    """Writes what the peers have to agree with."""
    from benchmarks import jax_peers

    jax_peers.write_check(experiment, CHECK.value)


def rate_of(work: Callable[[], int]) -> Callable[[], float]:
    """Rounds of `work`, which makes some lane-steps and returns how many."""

    def measure_rate() -> float:
        done, begin = 0, time.perf_counter()
        while (seconds := time.perf_counter() - begin) < SECONDS.value:
            done += work()
        return done / seconds

    return measure_rate


def agreed(losses: Any, check: Any, peer: str) -> None:
    """Ends the peer if its first losses are not ours."""
    if not np.allclose(losses, check["losses"], rtol=TOLERANCE, atol=1e-6):
        sys.exit(f"{peer}: losses {np.asarray(losses)[[0, 1, -1]]} where ours are {check['losses'][[0, 1, -1]]}")


def ours(experiment: Any) -> Callable[[], float]:
    """Blocks on one device per core, at the measured width."""
    from sweeps import profile

    profile.set_up_jax()
    import jax
    from benchmarks import jax_peers

    measured = profile.Profile().measure(experiment, jax.local_devices())
    devices = jax.local_devices() * 2
    return rate_of(jax_peers.Blocks(experiment, measured.width, measured.intervals, devices).work)


def wide(experiment: Any) -> Callable[[], float]:
    """One block of 64 lanes on one device."""
    import jax
    from benchmarks import jax_peers

    jax.config.update("jax_num_cpu_devices", 1)
    return rate_of(jax_peers.Blocks(experiment, 64, 1, jax.local_devices()).work)


def plain_jax(experiment: Any) -> Callable[[], float]:
    """One configuration after another in plain JAX."""
    from benchmarks import jax_peers

    check = np.load(CHECK.value)
    work = jax_peers.plain(experiment, check)
    agreed(work(len(check["losses"])), check, "jax")
    return rate_of(lambda: len(work(50)))


def matrix(_: Any) -> Callable[[], float]:
    """Matrix products on one device per core, GFLOP/s."""
    from sweeps import profile

    profile.set_up_jax()
    from benchmarks import jax_peers

    return jax_peers.matrix_rate()


def torch_eager(threads: int, experiment: Any) -> Callable[[], float]:
    """One configuration after another in PyTorch."""
    from benchmarks import torch_peers

    check = np.load(CHECK.value)
    work = torch_peers.eager(experiment, check, threads)
    agreed(work(len(check["losses"]), watched=True), check, "torch")
    return rate_of(lambda: (work(5), 5)[1])


def torch_ensemble(experiment: Any, members: int = 16) -> Callable[[], float]:
    """An ensemble in PyTorch."""
    from benchmarks import torch_peers

    check = np.load(CHECK.value)
    work = torch_peers.ensemble(experiment, check, members)
    agreed(work(len(check["losses"]), watched=True), check, "torch-vmap")
    return rate_of(lambda: (work(1), members)[1])


def planning(runs: int) -> dict[str, float]:
    """Seconds and bytes of planning many runs, in a process of its own."""
    code = f"""
import resource, time, sweeps
from sweeps.plan import make_plan
from sweeps.recipes.quickstart import BASE
count = max(1, {runs} // 100)
sweep = sweeps.product(sweeps.sweep("optimizer.weight_decay", sweeps.logspace(-2, 1, count)), sweeps.seeds(100))
start = time.perf_counter()
plan = make_plan(BASE, sweep)
print(len(plan.run_ids), time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    count, seconds, peak = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    return {"runs": int(count), "seconds": float(seconds), "bytes": int(peak)}


BUILD: dict[str, Callable[[Any], Callable[[], float]]] = {
    "ours": ours,
    "wide": wide,
    "jax": plain_jax,
    "torch-1": functools.partial(torch_eager, 1),
    f"torch-{CORES}": functools.partial(torch_eager, CORES),
    "torch-vmap": torch_ensemble,
    "torch-procs": functools.partial(torch_eager, 1),
    "matrix": matrix,
}

if __name__ == "__main__":
    command.main(main)
