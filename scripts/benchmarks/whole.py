"""What only whole sweeps show: occupancy, cost against the number of runs, time to the same diagram, planning.

Each function starts processes of its own, with caches and workdirs in a temporary folder.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sweeps import recipes
from sweeps.diagrams.results import Results
from sweeps.storage import launches, store
from sweeps.storage.workdir import Workdir

CORES = len(os.sched_getaffinity(0))
SMALL = """
import sys, jaxgen as jg, sweeps
BASE = jg.Experiment(jg.tasks.ModularAddition(p={p}, train_fraction=0.5), jg.models.QuadraticMLP(width={width}),
                     jg.losses.CrossEntropy(), jg.optimizers.AdamW(learning_rate=5e-3, weight_decay=0.1),
                     jg.Training(steps=50, evaluate_every=50))
"""
MIXED = (
    SMALL.format(p=11, width=32)
    + """
import numpy as np
runs, width, workdir = int(sys.argv[1]), int(sys.argv[2]) or None, sys.argv[3]
steps = [50 * int(n) for n in np.unique(np.geomspace(1, 100, 30).round())]
axes = sweeps.sweep("training.steps", steps), sweeps.sweep("seed", list(range(runs // len(steps))))
sweeps.run(BASE, sweeps.product(*axes), workdir, width=width, quiet=True)
"""
)
FLAT = (
    SMALL.format(p=11, width=32)
    + """
runs, workdir = int(sys.argv[1]), sys.argv[2]
sweeps.run(BASE, sweeps.product(sweeps.fixed("training.steps", 400), sweeps.sweep("seed", list(range(runs)))),
           workdir, quiet=True)
"""
)
PLANNING = """
import resource, sys, time, sweeps
from sweeps.execution.plan import make_plan
from sweeps.recipes.quickstart import BASE
count = max(1, int(sys.argv[1]) // 100)
sweep = sweeps.product(sweeps.sweep("optimizer.weight_decay", sweeps.logspace(-2, 1, count)), sweeps.seeds(100))
start = time.perf_counter()
plan = make_plan(BASE, sweep)
print(len(plan.run_ids), time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def planning(runs: int) -> dict[str, float]:
    """Seconds and bytes of planning so many runs."""
    count, seconds, peak = _python(PLANNING, runs).split()
    return {"runs": int(count), "seconds": float(seconds), "bytes": int(peak)}


def mixed_lengths(runs: int) -> list[dict[str, Any]]:
    """Occupancy and lane-steps/s of runs of 50 to 5,000 steps, at the width that is chosen and at two wider ones.

    Lengths are spread evenly over the logarithm.
    """
    found = []
    for width in (0, 8, 64):
        with tempfile.TemporaryDirectory() as folder:
            _python(MIXED, runs, width, folder)
            done = _last_launch(Path(folder))
            stored = store.read(Path(folder), ["provenance"]).column("provenance")
            trained_by = json.loads(stored[0].as_py())
        found.append({"runs": len(stored), "width": trained_by["width"], **done})
    return found


def flat_cost(most: int) -> list[dict[str, Any]]:
    """Microseconds of one core per lane-step of sweeps of 100, 1,000, … runs of 400 steps each, writing included."""
    found = []
    for runs in [n for n in (100, 1_000, 10_000, 100_000) if n <= most]:
        with tempfile.TemporaryDirectory() as folder:
            peak = int(_python(FLAT + PEAK, runs, folder))
            found.append({"runs": runs, **_last_launch(Path(folder)), "bytes": peak})
    return found


PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"


def same_diagram(scale: str) -> dict[str, Any]:
    """Seconds to the quickstart's diagram: our command, and PyTorch on every run to its budget, a process per core.

    PyTorch starts from our weights and rows and evaluates as often; its time counts from the first step to the last.
    Ours is the whole command, first with nothing compiled, then again in another workdir. `same` is the share of cells
    with the same most frequent phase.
    """
    recipe = recipes.load("quickstart").at(scale)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        launch = Path(__file__).parents[1] / "launch_sweep.py"
        seconds = {}
        for name in ("cold", "warm"):
            begin = time.perf_counter()
            command = [sys.executable, launch, "--recipe=quickstart", f"--scale={scale}", f"--workdir={folder}/{name}"]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds[name] = time.perf_counter() - begin
        shares = [f"{folder}/torch-{i}" for i in range(CORES)]
        for share in shares:
            subprocess.run(["cp", "-r", f"{folder}/cold", share], check=True)
            for shard in store.shards(share):
                shard.unlink()
        code = "import sys; from benchmarks import torch_diagram as t; t.train(*sys.argv[1:])"
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code, scale, str(i), str(CORES), share],
                env={**environment, "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                text=True,
            )
            for i, share in enumerate(shares)
        ]
        torch = max(float(worker.communicate()[0]) for worker in workers)
        for share in shares[1:]:
            for shard in store.shards(share):
                shutil.move(str(shard), str(Workdir.at(shares[0]).runs))
        axes = "task.train_fraction", "optimizer.weight_decay"
        results = [Results(Path(path)) for path in (f"{folder}/cold", shares[0])]
        one, other = (r.phase_diagram(*axes) for r in results)
        runs = [r.runs.set_index("run_id")["steps"].sum() for r in results]
    return {
        "runs": len(recipe.sweep),
        "cold_seconds": seconds["cold"],
        "warm_seconds": seconds["warm"],
        "torch_seconds": torch,
        "lane_steps": int(runs[0]),
        "torch_lane_steps": int(runs[1]),
        "cells": int(one.majority.size),
        "same": float(np.mean(one.majority == other.majority)),
    }


def _last_launch(workdir: Path) -> dict[str, Any]:
    launch = launches.read(Workdir.at(workdir))[-1]
    return {key: launch[key] for key in ("seconds", "lane_steps", "computed_lane_steps")}


def _python(code: str, *arguments: Any) -> str:
    return subprocess.check_output([sys.executable, "-c", code, *map(str, arguments)], text=True)
