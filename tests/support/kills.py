"""Kills the processes and machines of a sweep on a local Ray cluster, and compares what is stored with one process's.

    python tests/support/kills.py --trials=20 --kills=6 --nodes=1

In each trial a sweep of 24 runs is trained in 6 shares on a cluster of a head and 3 nodes with a processor each. At
random moments workers are killed by SIGKILL, and nodes are removed and others added. Prints a line for each trial, and
a table; exit code 1 if a run was lost, is there twice or has other bits, or if anything half written was left.
"""

import argparse
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import pyarrow.parquet as pq
import ray
from ray.cluster_utils import Cluster

import jaxgen as jg
import sweeps
from sweeps.storage import launches, store
from sweeps.storage.workdir import Workdir

SHARES = 6
NODES = 3
MOSTLY = 0.8  # of the kills wait until a worker has saved lanes: most of the time one starts and compiles
BASE = jg.Experiment(
    jg.tasks.ModularAddition(p=11, train_fraction=0.6),
    jg.models.QuadraticMLP(width=32),
    jg.losses.CrossEntropy(),
    jg.optimizers.AdamW(learning_rate=0.01),
    jg.Training(steps=200_000, evaluate_every=1000),
)
SWEEP = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 0.3, 1.0, 3.0]), sweeps.seeds(6))
OPTIONS = {"width": 2, "devices": 1, "quiet": True, "checkpoint_seconds": 0.2}


def rows(workdir: Path) -> Iterator[tuple[str, str]]:
    """run_id and all bits of each row of each shard, provenance apart."""
    for shard in store.shards(workdir):
        for row in pq.read_table(shard).to_pylist():
            yield row["run_id"], repr({**row, "provenance": ""})


class Harm:
    """Kills so many workers, and replaces so many nodes, while a sweep is trained; `done` counts what and when.

    What was killed "in training" had saved lanes; the others were starting, planning or compiling, or between blocks.
    """

    def __init__(self, cluster: Cluster, nodes: list, workdir: Path, kills: int, replaced: int, seed: int):
        self.cluster, self.nodes, self.workdir = cluster, nodes, Workdir.at(workdir)
        self.random = random.Random(seed)
        self.left = ["worker"] * kills + ["node"] * replaced
        self.random.shuffle(self.left)
        self.done: Counter[str] = Counter()

    def until(self, over: Callable[[], bool]) -> None:
        """Does all this at random moments, or as much of it as there is time for."""
        while self.left and not over():
            in_training = self.random.random() < MOSTLY
            done = self._node if self.left.pop() == "node" else lambda: self._worker(in_training)  # noqa: B023
            while not done() and not over():
                time.sleep(self.random.uniform(0.02, 0.2))
            time.sleep(self.random.uniform(0.0, 4.0))

    def _worker(self, in_training: bool) -> bool:
        alive = [one for one in launches.read(self.workdir) if "ended" not in one and _is_worker(one["process"])]
        alive = [one for one in alive if self._saved(one)] if in_training else alive
        if not alive:
            return False
        chosen = self.random.choice(alive)
        time.sleep(self.random.uniform(0.0, 0.5))
        saved = self._saved(chosen)
        os.kill(chosen["process"], signal.SIGKILL)
        self.done["killed in training" if saved else "killed before or between"] += 1
        return True

    def _saved(self, launch: dict) -> list[Path]:
        return [*(self.workdir / "inflight").glob(f"{launch['share']}-{launch['attempt']}-*.block")]

    def _node(self) -> bool:
        if not launches.read(self.workdir):
            return False
        self.cluster.remove_node(self.nodes.pop(self.random.randrange(len(self.nodes))), allow_graceful=False)
        self.nodes.append(self.cluster.add_node(num_cpus=1))
        self.done["nodes replaced"] += 1
        return True


def _is_worker(process: int) -> bool:
    """Whether it is a process of Ray's that trains."""
    try:
        return b"ray" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def trial(cluster: Cluster, nodes: list, one: dict[str, str], workdir: Path, kills: int, replaced: int, seed: int):
    """One sweep that is harmed: what was done to it, and what is wrong with what is stored."""
    harm = Harm(cluster, nodes, workdir, kills, replaced, seed)
    with ThreadPoolExecutor(1) as pool:  # Ray adds nodes in the main thread only
        executor = sweeps.Ray(shares=SHARES, retries=100)
        trained = pool.submit(sweeps.run, BASE, SWEEP, workdir, executor=executor, **OPTIONS)
        harm.until(trained.done)
        trained.result()
    found = [*rows(workdir)]
    wrong = {
        "lost": len(one.keys() - {run_id for run_id, _ in found}),
        "doubled": len(found) - len({run_id for run_id, _ in found}),
        "wrong bits": sum(one.get(run_id) != bits for run_id, bits in found),
        "left behind": len([*(workdir / "inflight").glob("*"), *workdir.rglob("*.tmp")]),
    }
    return harm.done, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--kills", type=int, default=6, help="workers killed in each")
    parser.add_argument("--nodes", type=int, default=1, help="nodes removed, each with one added, in each")
    parser.add_argument("--key", type=int, default=0, help="of the random moments")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # nodes are programs of their own
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    jax.config.update("jax_platforms", "cpu")
    folder = Path(tempfile.mkdtemp(prefix="jaxgen-kills-"))
    logging.getLogger("ray").setLevel(logging.ERROR)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    done, wrong = Counter(), Counter()
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(NODES)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        sweeps.run(BASE, SWEEP, folder / "one", **OPTIONS)
        one = dict(rows(folder / "one"))
        for number in range(asked.trials):
            begun = time.monotonic()
            seed = 1000 * asked.key + number
            harmed, faults = trial(cluster, nodes, one, folder / f"{number}", asked.kills, asked.nodes, seed)
            done, wrong = done + harmed, wrong + Counter(faults)
            shutil.rmtree(folder / f"{number}")
            print(f"{number}: {dict(harmed)}, {faults}, {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(folder)
    names = ["killed in training", "killed before or between", "nodes replaced", "lost", "doubled", "wrong bits"]
    print(f"| trials | runs | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    counts = " | ".join(str((done + wrong)[name]) for name in names)
    print(f"| {asked.trials} | {asked.trials * len(one)} | {counts} |")
    if +wrong or not done["killed in training"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
