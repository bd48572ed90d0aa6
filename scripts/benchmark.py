"""Measures this machine: lane-steps per second of the quickstart's training, beside what else one could do.

  python scripts/benchmark.py
  python scripts/benchmark.py --rounds=10 --json=benchmark.json

Peers, each in processes of its own that wait while another is timed:
  ours    the engine's blocks: one device per core, two blocks each, measured width
  wide    the same kernel as one vmap of 64 lanes on one device that has all cores
  torch   PyTorch eager, one configuration after another, dense one-hot inputs: one single-threaded process per core

Before anything is timed, PyTorch's losses are checked against ours from the same weights and rows. Also measured: peak
memory of training, and time and memory of planning 100,000 runs. Compile time is never in a rate.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from sweeps import command

ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed rounds of each peer, in turn.", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 3, "Length of one timed round.", lower_bound=0.05)
JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")
PEER = flags.DEFINE_string("peer", None, "(internal) Be this peer: answer every line on stdin with a rate.")
CHECK = flags.DEFINE_string("check", None, "(internal) File with weights, rows and losses to agree with.")

CORES = len(os.sched_getaffinity(0))
CHECK_STEPS = 50


def main() -> None:
    if PEER.value:
        return PEERS[PEER.value]()
    with tempfile.TemporaryDirectory() as folder:
        check = Path(folder) / "check.npz"
        peers = {name: [start(name, check)] for name in ("ours", "wide")}
        wait(peers["ours"])
        try:
            import torch  # noqa: F401

            peers["torch"] = [start("torch", check) for _ in range(CORES)]
        except ImportError:
            print("PyTorch is not installed (pip install 'jaxgen[torch]'): that peer is left out")
        for processes in peers.values():
            wait(processes)
        rates = {name: [] for name in peers}
        for _ in range(ROUNDS.value):
            for name, processes in peers.items():
                rates[name].append(timed(processes))
        memory = {name: sum(finish(p) for p in processes) for name, processes in peers.items()}
    report(rates, memory, planning())


def report(rates: dict, memory: dict, plan: dict) -> None:
    """Prints medians, ratios round by round, and memory; writes the JSON."""
    ours = rates["ours"]
    print(f"\n{CORES} cores, {ROUNDS.value} rounds of {SECONDS.value:g} s in turn; median [min, max]")
    print(f"{'':8}{'lane-steps/s':>28}{'ours / it':>24}{'peak memory':>14}")
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(ours, values)]
        print(f"{name:8}{spread(values, ',.0f'):>28}{spread(ratios, '.2f'):>24}{memory[name] / 2**20:>10.0f} MiB")
    size = f"{plan['bytes'] / 2**20:.0f} MiB for the whole process"
    print(f"planning {plan['runs']:,} runs: {plan['seconds']:.1f} s, {size}")
    if JSON.value:
        data = {"cores": CORES, "lane_steps_per_second": rates, "peak_bytes": memory, "planning": plan}
        Path(JSON.value).write_text(json.dumps(data, indent=1))


def spread(values: list[float], form: str) -> str:
    """Median [min, max]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def start(name: str, check: Path) -> subprocess.Popen:
    """A peer's process."""
    arguments = [sys.executable, __file__, f"--peer={name}", f"--check={check}", f"--seconds={SECONDS.value}"]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait(processes: list[subprocess.Popen]) -> None:
    """Until the peers have compiled and agreed on the losses."""
    for process in processes:
        if not hasattr(process, "ready"):
            process.ready = process.stdout.readline().strip() == "ready"
            if not process.ready:
                sys.exit("a peer failed: see above")


def timed(processes: list[subprocess.Popen]) -> float:
    """One round of one peer: lane-steps per second of all its processes together."""
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.stdout.readline()) for process in processes)


def finish(process: subprocess.Popen) -> int:
    """Ends a peer; its peak memory in bytes."""
    peak, _ = process.communicate("")
    return int(peak)


def serve(work) -> None:
    """A peer's side: `work` makes some steps and returns how many."""
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        done, begin = 0, time.perf_counter()
        while (seconds := time.perf_counter() - begin) < SECONDS.value:
            done += work()
        print(done / seconds, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def quickstart():
    """The quickstart's base in the middle of its plane, without an end."""
    from sweeps.recipes.quickstart import BASE

    return BASE.override({"task.train_fraction": 0.55, "training.steps": 2 * 10**9, "training.stop_patience": 0})


def ours() -> None:
    """Blocks on one device per core, at the measured width."""
    from sweeps import profile

    profile.set_up_jax()
    import jax

    experiment = quickstart()
    write_check(experiment)
    measured = profile.Profile().measure(experiment, jax.local_devices())
    blocks(experiment, measured.width, measured.intervals, jax.local_devices() * 2)


def wide() -> None:
    """One block of 64 lanes on one device."""
    import jax

    jax.config.update("jax_num_cpu_devices", 1)
    blocks(quickstart(), 64, 1, jax.local_devices())


def blocks(experiment, width: int, intervals: int, devices: list) -> None:
    """Serves rounds of chunks in blocks of one program."""
    from jaxgen.kernel import Block, Program

    program = Program(experiment, width)
    running = [Block(program, device) for device in devices]
    for number, block in enumerate(running):
        block.refill((str(i), experiment.override({"seed": i})) for i in range(number * width, (number + 1) * width))
        block.launch(intervals)

    def work() -> int:
        done = 0
        for block in running:
            before = block.useful_steps
            block.harvest()
            block.launch(intervals)
            done += block.useful_steps - before
        return done

    serve(work)


def write_check(experiment) -> None:
    """Weights, rows and the losses of the first steps of one run, for a peer to agree with."""
    import jax

    from jaxgen import training

    values, rows = training.numbers(experiment), training.Rows.of(experiment.task)
    with training.numerics(experiment):
        data = training.load(values, rows)
        state = training.init(values, data)
        first, second = (np.asarray(state.params[f"Linear_{i}"]["kernel"]) for i in range(2))
        count = int(rows.counts[0])
        step = jax.jit(lambda s: training.step(values, data, count, s))
        losses = []
        for _ in range(CHECK_STEPS):
            losses.append(float(training.evaluate(values, data, count, state)["train/loss"]))
            state = step(state)
    tokens, labels = np.asarray(data.inputs[:count]), np.asarray(data.labels[:count])
    np.savez(CHECK.value, first=first, second=second, tokens=tokens, labels=labels, losses=losses)


def torch() -> None:
    """PyTorch eager as in the field's public code, one configuration after another, one thread."""
    import torch

    torch.set_num_threads(1)
    check, experiment = np.load(CHECK.value), quickstart()
    p, o = experiment.task.p, experiment.optimizer
    tokens = torch.as_tensor(check["tokens"]).long()
    x = torch.cat([torch.nn.functional.one_hot(tokens[:, i], p) for i in range(2)], 1).float()
    y = torch.as_tensor(check["labels"]).long()

    class Quadratic(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(2 * p, experiment.model.width, bias=False)
            self.second = torch.nn.Linear(experiment.model.width, p, bias=False)

        def forward(self, x):
            return self.second(self.first(x) ** 2)

    model = Quadratic()
    with torch.no_grad():
        model.first.weight.copy_(torch.as_tensor(check["first"]).T)
        model.second.weight.copy_(torch.as_tensor(check["second"]).T)
    rates = {"lr": o.learning_rate, "betas": (o.b1, o.b2), "eps": o.eps, "weight_decay": o.weight_decay}
    optimizer = torch.optim.AdamW(model.parameters(), **rates)

    def work(steps: int = experiment.training.evaluate_every) -> int:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            if len(losses) < CHECK_STEPS:
                losses.append(float(loss.detach()))
            loss.backward()
            optimizer.step()
        return steps

    losses: list[float] = []
    work(CHECK_STEPS)
    np.testing.assert_allclose(losses, check["losses"], rtol=2e-3)
    serve(work)


def planning(runs: int = 100_000) -> dict:
    """Seconds and bytes of planning many runs, in a process of its own."""
    code = f"""
import resource, time, sweeps
from sweeps.plan import make_plan
from sweeps.recipes.quickstart import BASE
sweep = sweeps.product(sweeps.sweep("optimizer.weight_decay", sweeps.logspace(-2, 1, {runs // 100})), sweeps.seeds(100))
start = time.perf_counter()
make_plan(BASE, sweep)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    seconds, peak = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    return {"runs": runs, "seconds": float(seconds), "bytes": int(peak)}


PEERS = {"ours": ours, "wide": wide, "torch": torch}

if __name__ == "__main__":
    command.main(main)
