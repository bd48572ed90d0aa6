"""Large result sets: what they cost to look at."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from sweeps.recipes.quickstart import BASE
from sweeps.storage import store
from sweeps.storage.workdir import Workdir

X, Y = "task.train_fraction", "optimizer.weight_decay"
CELLS, SHARDS = 50, 10  # cells along each axis
LOOK = f"""
import resource, sys, time
start = time.perf_counter()
import sweeps
results = sweeps.Results(sys.argv[1])
if sys.argv[2] == "curves":
    found = results.phase_diagram("{X}", "{Y}").cell_table()["p"]
else:
    found = results.value_map("{X}", "{Y}", "final/m3").cell_table()["mean"]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(len(found), float(found.mean()), time.perf_counter() - start, peak)
"""


def write(workdir, runs, evaluations):
    """Runs on a grid whose test accuracy rises with both axes, in shards as the store writes them."""
    workdir.mkdir()
    fraction, decay, flat = np.linspace(0.2, 0.8, CELLS), np.geomspace(1e-3, 10, CELLS), BASE.flat()
    seeds = runs // CELLS**2
    axes = {X: fraction.tolist(), Y: decay.tolist(), "seed": list(range(seeds))}
    held = {"schema": 3, "name": "large", "fields": flat, "axes": axes, "launches": []}
    (workdir / "sweep.json").write_text(json.dumps({**held, "runs": runs, "definition": {"budget": 3000, "gap": 600}}))
    rng, count, shards = np.random.default_rng(0), runs // SHARDS, Workdir.at(workdir).runs
    shards.mkdir()
    for shard in range(SHARDS):
        run = np.arange(shard * count, (shard + 1) * count)
        cell, seed = np.divmod(run, seeds)
        columns = {"run_id": [f"{r:020x}" for r in run], "status": ["finished"] * count, "steps": np.full(count, 3000)}
        columns |= {path: pa.array([value] * count) for path, value in flat.items()}
        columns |= {X: fraction[cell % CELLS], Y: decay[cell // CELLS], "seed": seed}
        columns |= {f"final/m{i}": rng.normal(size=count) for i in range(20)}
        if evaluations:
            step = np.linspace(0, 3000, evaluations, dtype=np.int32)
            offsets = pa.array(np.arange(0, (count + 1) * evaluations, evaluations, dtype=np.int32))
            rises = (cell % CELLS + cell // CELLS > CELLS)[:, None] & (step >= rng.uniform(100, 2800, (count, 1)))
            curves = {
                "step": np.tile(step, count),
                "train/accuracy": np.tile(step > 100, count),
                "test/accuracy": rises,
            }
            curves |= {f"m{i}": rng.normal(size=count * evaluations) for i in range(6)}
            for name, values in curves.items():
                kind = np.int32 if name == "step" else np.float32
                columns[f"curve/{name}"] = pa.ListArray.from_arrays(offsets, pa.array(values.ravel().astype(kind)))
        store.write(shards, pa.table(columns), 2)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "runs", "evaluations"), [("summary", 1_000_000, 0), ("curves", 100_000, 200)])
def test_a_large_result_set_is_looked_at_in_seconds(tmp_path, what, runs, evaluations):
    write(tmp_path / what, runs, evaluations)
    said = subprocess.check_output([sys.executable, "-c", LOOK, str(tmp_path / what), what], text=True)
    cells, mean, seconds, peak = map(float, said.split())
    assert cells == CELLS**2
    assert mean == pytest.approx(0.49 if what == "curves" else 0, abs=0.02)
    assert seconds < 10
    assert peak < 4 * 2**30


PLAN = """
import time
import sweeps
from sweeps.execution.plan import make_plan
from sweeps.recipes.quickstart import BASE
plane = [sweeps.sweep("task.train_fraction", sweeps.linspace(0.25, 0.85, 100))]
plane += [sweeps.sweep("optimizer.weight_decay", sweeps.logspace(-2, 1, 100)), sweeps.seeds(100)]
start = time.process_time()
plan = make_plan(BASE, sweeps.product(*plane))
print(len(plan.run_ids), plan.pending, time.process_time() - start)
"""


@pytest.mark.slow
def test_a_million_runs_are_planned_in_less_than_a_minute():
    run_ids, pending, seconds = map(float, subprocess.check_output([sys.executable, "-c", PLAN], text=True).split())
    assert run_ids == pending == 1_000_000
    assert seconds < 60
