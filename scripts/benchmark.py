"""Measures this machine: lane-steps per second of our engine, beside what else one could do.

  python scripts/benchmark.py
  python scripts/benchmark.py --cases=quadratic-31,edge-mlp-59 --rounds=10 --json=benchmark.json
  python scripts/benchmark.py --cases=quadratic-31 --lanes=1,4,16,64,256 --picture=lanes.png
  python scripts/benchmark.py --cases=quadratic-31 --operations

Cases are in scripts/benchmarks/cases.py. Peers, each in processes of its own that wait while another is timed:
  ours         the engine's blocks: one device per core, two blocks each, the width of the rule
  wide         the same train step as one vmap of 256 lanes on one device that has all cores
  jax          plain JAX: jit and scan, one configuration after another, all cores
  torch        PyTorch eager, one configuration after another, on one thread or on all cores, whichever is faster
  torch-vmap   torch.func: vmap over an ensemble of 16, compiled where that works, all cores
  torch-procs  PyTorch eager, one single-threaded process per core
  matrix       no peer: float32 products of 1024² matrices, one device per core; the rate that shares refer to

Before anything is timed, the losses of jax and of PyTorch are checked against ours from the same weights and rows.
Rounds go through all peers in turn; ratios are taken round by round; compile time is told apart.

Whole sweeps, each in a process of its own, with the writing of results:
  mixed-lengths  10,000 runs of 50 to 5,000 steps: occupancy at several widths
  flat-cost      100 to 100,000 runs: microseconds per lane-step
  same-diagram   the quickstart's diagram, by our command and by a loop in PyTorch
  planning       planning 100,000 runs
  prediction     the time that the dry run foretells beside the time that is taken, of the quickstart and of 300 mixed
                 programs; goes on where it was stopped (--kept)
"""

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import flags
from benchmarks import peers, prediction, trace, whole
from benchmarks.cases import CASES

from jaxgen import FieldError
from sweeps.cli import command
from sweeps.storage.files import write_text

CORES = peers.CORES
EAGER = ("torch-1", f"torch-{CORES}")  # the better of which is "torch"
PEERS = list(dict.fromkeys("torch" if name in EAGER else name for name in peers.BUILD))
WIDE = ("ours", "wide", "torch-vmap")  # peers that can train several lanes at once
OWN = ("ours", "wide", "matrix")  # have nothing to agree with: they train by our own code, or nothing
WHOLE = ["mixed-lengths", "flat-cost", "same-diagram", "planning"]
DEFAULT = ["quadratic-31", "edge-mlp-59", "edge-mlp-113", "corrupted-97", "toy-10", "transformer-31", *WHOLE]
WHOLE = [*WHOLE, "prediction"]  # which is asked for by name

WANTED = flags.DEFINE_list("cases", DEFAULT, f"Of {', '.join([*CASES, *WHOLE])}.")
ONLY = flags.DEFINE_list("peers", PEERS, "Which peers.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed rounds of each peer, in turn.", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 3, "Length of one timed round.", lower_bound=0.05)
LANES = flags.DEFINE_list("lanes", [], f"Also time {', '.join(WIDE)} with so many lanes in a block.")
RUNS = flags.DEFINE_integer("runs", 100_000, "At most so many runs in whole sweeps.", lower_bound=100)
PROGRAMS = flags.DEFINE_integer("programs", 300, "Of the mixed sweep of prediction.", lower_bound=1, upper_bound=300)
SWEEPS = flags.DEFINE_list("sweeps", ["quickstart", "mixed"], f"Of prediction: {', '.join(prediction.SWEEPS)}.")
KEPT = flags.DEFINE_string(
    "kept", "out/prediction", "Where prediction keeps what it has found; delete it to begin anew."
)
JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")
PICTURE = flags.DEFINE_string("picture", None, "Draw lane-steps/s against lanes of the first case (.png, .svg, .pdf).")
OPERATIONS = flags.DEFINE_bool("operations", False, "Instead, print where the time of a step of the first case goes.")
PEER = flags.DEFINE_string("peer", None, "(internal) Be this peer: answer every line on stdin with a rate.")
CHECK = flags.DEFINE_string("check", None, "(internal) File with weights, rows and losses to agree with.")


def main() -> None:
    for flag, known in ((WANTED, [*CASES, *WHOLE]), (ONLY, PEERS)):
        for name in flag.value:
            if name not in known:
                raise FieldError(flag.name, name, f"must be among {', '.join(known)}")
    for name in SWEEPS.value:
        if name not in prediction.SWEEPS:
            raise FieldError("sweeps", name, f"must be among {', '.join(prediction.SWEEPS)}")
    for lanes in LANES.value:
        if not lanes.isdecimal() or not 1 <= int(lanes) <= 2**20:
            raise FieldError("lanes", lanes, "must be whole numbers of at least 1")
    if PEER.value:
        name, _, lanes = PEER.value.partition("@")
        return peers.be(name, CASES[WANTED.value[0]].experiment, int(lanes or 0), CHECK.value, SECONDS.value)
    if OPERATIONS.value:
        if WANTED.value[0] in WHOLE:
            raise FieldError("cases", WANTED.value[0], f"has no single step: use one of {', '.join(CASES)}")
        return trace.show(CASES[WANTED.value[0]].experiment)
    names, cases = chosen_peers(), list(WANTED.value)
    if not has_torch() and "same-diagram" in cases:
        cases.remove("same-diagram")
    print(f"{CORES} cores of {processor()}; {ROUNDS.value} rounds of {SECONDS.value:g} s in turn; median [min, max]")
    found: dict[str, Any] = {"cores": CORES, "processor": processor(), "cases": {}}
    for case in cases:
        if case in WHOLE:
            found[case] = sweep_facts(case)
        else:
            found["cases"][case] = measured = measure(case, names)
            report(case, measured)
        if JSON.value:
            write_text(Path(JSON.value), json.dumps(found, indent=1))
    if PICTURE.value and found["cases"]:
        from benchmarks.picture import draw  # matplotlib is slow to import

        draw(*next(iter(found["cases"].items())), Path(PICTURE.value))


def chosen_peers() -> list[str]:
    """The peers to time, with their lanes where several are asked for; without PyTorch those that need none."""
    known = {name: "torch" if name in EAGER else name for name in peers.BUILD}
    names = [name for name, said in known.items() if said in ONLY.value]
    names += [f"{name}@{int(lanes)}" for name in names if name in WIDE for lanes in LANES.value]
    if not has_torch():
        print("PyTorch is not installed (pip install 'jaxgen[torch]'): what needs it is left out")
        names = [name for name in names if "torch" not in name]
    return names


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def measure(case: str, names: list[str]) -> dict[str, Any]:
    """Rates of every peer in every round, lanes, compile seconds, peak bytes and useful FLOPs of a case."""
    with tempfile.TemporaryDirectory() as folder:
        check = Path(folder) / "check.npz"
        if any(name.partition("@")[0] not in OWN for name in names):
            subprocess.run(command_line("check", case, check), check=True)
        started, ready = {}, {}
        for name in names:  # one after another: compile seconds are each peer's own
            processes = [start(name, case, check, folder) for _ in range(CORES if name == "torch-procs" else 1)]
            said = [wait(process) for process in processes]
            if None in said:
                print(f"{name} failed on {case} (see above) and is left out", flush=True)
                continue
            started[name] = processes
            ready[name] = {"compile_seconds": max(s for s, _ in said), "lanes": sum(lanes for _, lanes in said)}
        rates: dict[str, list[float]] = {name: [] for name in started}
        for _ in range(ROUNDS.value):
            for name, processes in started.items():
                rates[name].append(timed(processes))
        memory = {name: sum(finish(process) for process in processes) for name, processes in started.items()}
    found = {name: {"rates": rates[name], "peak_bytes": memory[name], **ready[name]} for name in started}
    eager = [name for name in found if name in EAGER]
    if eager:
        best = max(eager, key=lambda name: statistics.median(rates[name]))
        found["torch"] = found[best]
        for name in eager:
            del found[name]
    return {"flops": CASES[case].flops, "peers": found}


def report(case: str, measured: dict[str, Any]) -> None:
    """Prints a case's table."""
    found, flops = dict(measured["peers"]), measured["flops"]
    matrix = found.pop("matrix", {}).get("rates")
    ours = found.get("ours", {}).get("rates", [])
    print(f"\n{case}: {CASES[case].about}; {flops / 1e6:.3g} useful MFLOP per lane-step")
    if matrix:
        print(f"matrix products: {spread(matrix, '.0f')} GFLOP/s")
    head = f"{'':15}{'lanes':>6}{'lane-steps/s':>26}{'ours / it':>22}{'GFLOP/s':>9}{'share':>7}"
    print(f"{head}{'compile':>9}{'memory':>11}")
    for name, peer in found.items():
        rates = peer["rates"]
        ratios = spread([a / b for a, b in zip(ours, rates)], ".2f") if ours and name != "ours" else ""
        speed = [flops * v / 1e9 for v in rates]
        share = f"{statistics.median(s / m for s, m in zip(speed, matrix)):.0%}" if matrix else ""
        row = f"{name:15}{peer['lanes']:>6}{spread(rates, ',.0f'):>26}{ratios:>22}{statistics.median(speed):>9.1f}"
        print(f"{row}{share:>7}{peer['compile_seconds']:>7.1f} s{peer['peak_bytes'] / 2**20:>7.0f} MiB", flush=True)


def sweep_facts(name: str) -> Any:
    """Measures and prints one of the cases that are whole sweeps."""
    print(f"\n{name}", flush=True)
    if name == "planning":
        found = whole.planning(RUNS.value)
        print(f"{found['runs']:,} runs: {found['seconds']:.1f} s, {found['bytes'] / 2**20:.0f} MiB for the process")
    elif name == "prediction":
        found = prediction.prediction(SWEEPS.value, PROGRAMS.value, Path(KEPT.value))
        prediction.report(found)
    elif name == "mixed-lengths":
        found = whole.mixed_lengths(min(RUNS.value, 10_000))
        for row in found:
            occupancy, rate = row["lane_steps"] / row["computed_lane_steps"], row["lane_steps"] / row["seconds"]
            print(
                f"{row['runs']:,} runs, {row['width']} lanes per block: occupancy {occupancy:.1%}, {rate:,.0f} steps/s"
            )
    elif name == "flat-cost":
        found = whole.flat_cost(RUNS.value)
        for row in found:
            cost = 1e6 * CORES * row["seconds"] / row["lane_steps"]
            print(f"{row['runs']:>9,} runs: {cost:.1f} µs of a core per lane-step, peak {row['bytes'] / 2**20:.0f} MiB")
    else:
        found = whole.same_diagram("quick" if RUNS.value >= 432 else "smoke")
        for what in ("warm", "cold"):
            ratio = found["torch_seconds"] / found[f"{what}_seconds"]
            print(f"ours, {what} cache: {found[f'{what}_seconds']:.1f} s; PyTorch takes {ratio:.2f} times as long")
        same = f"{found['same']:.1%} of {found['cells']} cells have the same phase"
        print(f"PyTorch, {CORES} processes: {found['torch_seconds']:.1f} s; {same}")
    return found


def spread(values: list[float], form: str) -> str:
    """Median [min, max]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def processor() -> str:
    """What the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.processor())


def command_line(peer: str, case: str, check: Path) -> list[str]:
    """How a peer's process is started."""
    return [
        sys.executable,
        __file__,
        f"--peer={peer}",
        f"--cases={case}",
        f"--check={check}",
        f"--seconds={SECONDS.value}",
    ]


def start(peer: str, case: str, check: Path, cache: str) -> subprocess.Popen:
    """A peer's process, with an empty cache of compiled programs."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    arguments: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command_line(peer, case, check), env=environment, **arguments)


def wait(process: Any) -> tuple[float, int] | None:
    """Until a peer has compiled and agreed on the losses: its compile seconds and lanes, or None if it failed."""
    said = process.stdout.readline().split()
    return (float(said[1]), int(said[2])) if said[:1] == ["ready"] else None


def timed(processes: list[Any]) -> float:
    """One round of one peer: the rate of all its processes together."""
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.stdout.readline()) for process in processes)


def finish(process: subprocess.Popen) -> int:
    """Ends a peer; its peak memory in bytes."""
    peak, _ = process.communicate("")
    return int(peak)


if __name__ == "__main__":
    command.main(main)
