"""The smoke form of the benchmark."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from programs import Program, refused

ROOT = Path(__file__).parents[2]


def benchmark(*arguments):
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_planning_is_measured_and_written(tmp_path):
    done = benchmark("--cases=planning", "--runs=100", f"--json={tmp_path / 'numbers.json'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "numbers.json").read_text())["planning"]["runs"] == 100


@pytest.mark.slow
def test_rates_are_measured_and_written(tmp_path):
    numbers = tmp_path / "numbers.json"
    short = ["--rounds=2", "--seconds=.05", "--runs=100", "--peers=ours,matrix"]
    done = benchmark("--cases=quadratic-31,planning", *short, f"--json={numbers}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(numbers.read_text())
    measured = found["cases"]["quadratic-31"]
    assert measured["peers"].keys() == {"ours", "matrix"}
    assert all(len(p["rates"]) == 2 and min(p["rates"]) > 0 for p in measured["peers"].values())
    assert measured["flops"] == 6 * 528 * 64 * 31  # ⌊.55 · 961⌋ rows, one product after the look-up
    assert found["planning"]["runs"] == 100


@pytest.mark.slow
def test_every_peer_and_every_whole_sweep(tmp_path):
    numbers, picture = tmp_path / "numbers.json", tmp_path / "lanes.svg"
    short = ["--rounds=1", "--seconds=.05", "--runs=100", "--lanes=2", f"--picture={picture}"]
    done = benchmark("--cases=toy-10,mixed-lengths,flat-cost,same-diagram", *short, f"--json={numbers}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(numbers.read_text())
    peers = found["cases"]["toy-10"]["peers"]
    assert {"ours", "wide", "jax", "matrix", "ours@2", "wide@2"} <= peers.keys()
    assert peers["ours@2"]["lanes"] == 4 * jax.local_device_count()
    assert picture.read_text().startswith("<?xml")
    for row in found["mixed-lengths"]:
        assert 0 < row["lane_steps"] <= row["computed_lane_steps"]
    (row,) = found["flat-cost"]
    assert row["lane_steps"] == 100 * 400
    assert (
        row["lane_steps"] <= row["computed_lane_steps"] < (100 + 32) * 400
    )  # lanes of the last blocks that had no run


@pytest.mark.parametrize(
    ("argument", "said"),
    [("--cases=quadratic-32", "quadratic-31"), ("--peers=tensorflow", "torch-vmap"), ("--lanes=0", "at least 1")],
)
def test_what_is_not_known_is_refused(argument, said, capfd, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    assert said in refused(Program("benchmark"), argument, capfd=capfd)


def test_peers_train_what_we_train(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import numpy as np
    from benchmarks import jax_peers
    from benchmarks.cases import CASES

    experiment = CASES["quadratic-31"].experiment
    with jax.numpy_dtype_promotion("standard"):
        jax_peers.write_check(experiment, str(tmp_path / "check.npz"))
        check = np.load(tmp_path / "check.npz")
        losses = jax_peers.plain(experiment, check)(len(check["losses"]))
    np.testing.assert_allclose(losses, check["losses"], rtol=2e-4)
    assert losses[-1] < 0.9 * losses[0]
