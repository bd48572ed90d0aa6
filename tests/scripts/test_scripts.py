"""The programs as people run them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import sweeps

ROOT = Path(__file__).parents[2]
RECIPE = "--recipe=quickstart"


def script(name, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_places_that_cannot_be_written_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = script("launch_sweep", RECIPE, "--scale=smoke", f"--workdir={tmp_path / 'file' / 'x'}")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("smoke")
    fast = "--width=1", "--devices=1"  # compiles and measures less
    done = script("launch_sweep", "--recipe=quickstart", "--scale=smoke", f"--workdir={workdir}", *fast)
    assert done.returncode == 0, done.stderr
    return workdir


def test_launch_diagram_replay(smoke, tmp_path):
    results = sweeps.Results(smoke)
    assert len(results.runs) == 9
    drawn = script(
        "phase_diagram",
        f"--workdir={smoke}",
        "--x=task.train_fraction",
        "--y=optimizer.weight_decay",
        f"--out={tmp_path}",
    )
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "diagram.csv",
        "diagram.png",
        "diagram.svg",
        "diagram.txt",
        "report.html",
    ]
    again = script("replay", f"--workdir={smoke}", f"--run_id={results.runs['run_id'][0]}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "the same, bit for bit" in again.stdout


def test_launching_again_trains_nothing(smoke):
    before = sorted((smoke / "runs").iterdir())
    done = script("launch_sweep", "--recipe=quickstart", "--scale=smoke", f"--workdir={smoke}")
    assert done.returncode == 0
    assert sorted((smoke / "runs").iterdir()) == before


def test_dry_run_prints_the_cost_and_writes_nothing(tmp_path):
    workdir = tmp_path / "none"
    done = script(
        "launch_sweep",
        "--recipe=quickstart",
        f"--workdir={workdir}",
        "--dry_run",
        "--seeds=1",
        "--set=task.train_fraction=.3,.5",
    )
    assert done.returncode == 0, done.stderr
    assert "24 runs, 0 stored, 24 to train: 72,000 lane-steps at most" in done.stdout
    assert "nothing was trained" in done.stdout
    assert "MiB" in done.stdout
    assert not workdir.exists()


def test_reproduce_writes_claims_figures_and_a_page(tmp_path):
    arguments = ["--recipe=edge_of_stability", "--scale=smoke", f"--workdir={tmp_path}", "--width=1", "--devices=1"]
    done = script("reproduce", *arguments)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("(")] == [
        f"({i})" for i in range(1, 6)
    ]
    files = {"claims.json", "claims.md", "report.html"}
    files |= {f"{name}.{ending}" for name in ("precision", "decay") for ending in ("png", "svg", "csv")}
    assert files <= {p.name for p in tmp_path.iterdir()}
    found = json.loads((tmp_path / "claims.json").read_text())
    assert found["runs"] == len(sweeps.Results(tmp_path).runs)
    assert [c["name"] for c in found["claims"]] == ["1", "2", "3", "4", "5"]
    effects = [e for c in found["claims"] for e in c["effects"]]
    assert {e["seeds"] for e in effects if e["name"].startswith("final test accuracy")} == {3, 5}
    assert {c["verdict"] for c in found["claims"]} <= {"PASS", "FAIL", "UNDECIDED"}


OWN = '''
import flax.struct, jaxgen as jg, sweeps, jax.numpy as jnp

@flax.struct.dataclass
class Margin:
    """Squared hinge."""
    margin: float = 1.0
    def __call__(self, outputs, labels):
        return jnp.mean(jnp.square(jnp.maximum(self.margin - outputs * (2.0 * labels[:, None] - 1.0), 0.0)), axis=1)

base = jg.Experiment(
    jg.tasks.SparseParity(bits=8, relevant=2, samples=64), jg.models.MLP(width=8, use_bias=True), Margin(),
    jg.optimizers.SGD(), jg.Training(steps=40, evaluate_every=20),
)
recipe = sweeps.Recipe(base, sweeps.product(sweeps.sweep("loss.margin", [0.5, 1.0]), sweeps.seeds(2)))
'''


def test_the_captions_command_replays_a_run_of_own_components(tmp_path):
    folder = tmp_path / """it's a "place" $HOME;"""
    folder.mkdir()
    own = shutil.copy(ROOT / "examples" / "own_task.py", folder / "own task.py")
    axes = "--set=task.noise=0,.2", "--set=loss.smoothing=0,.2", "--set=training.steps=50", "--seeds=1"
    fast = "--width=1", "--devices=1"
    done = script("launch_sweep", f"--sweep={own}", f"--workdir={folder / 'out'}", *axes, *fast)
    assert done.returncode == 0, done.stderr
    assert sweeps.Results(folder / "out").specification["sources"] == [str(own)]
    drawn = script("phase_diagram", f"--workdir={folder / 'out'}")
    assert drawn.returncode == 0, drawn.stderr
    *_, command = (folder / "out" / "diagram.txt").read_text().partition("Any run again, e.g.: ")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    again = subprocess.run(
        ["sh", "-c", command], env=os.environ | {"PATH": path}, cwd=tmp_path, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "the same, bit for bit" in again.stdout


def test_a_users_file(tmp_path):
    file = tmp_path / "hinge.py"
    file.write_text(OWN)
    workdir = tmp_path / "out"
    own = ("launch_sweep", f"--sweep={file}", f"--workdir={workdir}", "--width=1", "--devices=1")
    done = script(*own, "--set=optimizer.learning_rate=.01,.1")
    assert done.returncode == 0, done.stderr
    results = sweeps.Results(workdir)
    assert results.specification["name"] == "hinge"
    assert len(results.runs) == 8
    assert sorted(set(results.runs["loss.margin"])) == [0.5, 1.0]
    drawn = script("phase_diagram", f"--workdir={workdir}", "--x=optimizer.learning_rate", "--y=loss.margin")
    assert drawn.returncode == 0, drawn.stderr
    run_id = results.runs["run_id"][0]
    line = ("launch_sweep", f"--sweep={file}", f"--workdir={tmp_path / 'line'}", "--width=1", "--devices=1")
    axes = "--set=optimizer.learning_rate=.01,.1", "--refine=loss.margin,optimizer.learning_rate", "--budget=70"
    foreseen = script(*line, *axes, "--dry_run")
    assert "70 runs, 0 stored, 70 to train" in foreseen.stdout, foreseen.stderr
    refined = script(*line, *axes)
    assert refined.returncode == 0, refined.stderr
    runs = sweeps.Results(tmp_path / "line").runs
    assert len(runs) == 70
    assert runs["loss.margin"].between(0.5, 1).all()
    assert runs["loss.margin"].nunique() > 50
    assert script("phase_diagram", f"--workdir={tmp_path / 'line'}").returncode == 0
    cells = pd.read_csv(tmp_path / "line" / "diagram.csv")
    assert (len(cells), cells["seeds"].sum()) == (16 * 16, 70)
    unknown = script("replay", f"--workdir={workdir}", f"--run_id={run_id}")
    assert unknown.returncode == 2
    assert "--sweep=FILE" in unknown.stderr
    assert "import the file that defines it" in unknown.stderr
    file.write_text(OWN.replace("jnp.square(", "jnp.abs("))
    edited = script("launch_sweep", f"--sweep={file}", f"--workdir={workdir}", "--dry_run")
    assert "4 runs, 0 stored, 4 to train" in edited.stdout, edited.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("launch_sweep", ["--recipe=quikstart"], "must be one of quickstart"),
        ("launch_sweep", [], "give --recipe=NAME"),
        ("launch_sweep", [RECIPE, "--scale=huge"], "quick, smoke, paper"),
        ("launch_sweep", [RECIPE, "--seeds=0"], "seeds = 0"),
        ("launch_sweep", [RECIPE, "--set=task.train_fraction=0.5,1.5"], "task.train_fraction = 1.5: must be in (0, 1]"),
        ("launch_sweep", [RECIPE, "--set=task.train_fractoin=0.5"], "did you mean task.train_fraction"),
        (
            "launch_sweep",
            [RECIPE, "--set=optimizer.weight_decay=-1"],
            "optimizer.weight_decay = -1.0: must be in [0, inf)",
        ),
        ("launch_sweep", [RECIPE, "--set=seed=0", "--set=seed=1,1"], "twice"),
        ("launch_sweep", [RECIPE, "--set=model.width=range(1,2000)"], "--max_compiles="),
        ("launch_sweep", [RECIPE, "--set=task.p=__import__('os')"], "task.p = "),
        ("launch_sweep", [RECIPE, "--colour=blue"], "colour"),
        ("launch_sweep", [RECIPE, "--max_hours=soon"], "max_hours"),
        ("launch_sweep", [RECIPE, "extra"], "unexpected argument"),
        ("launch_sweep", ["--sweep=none.py"], "must be a Python file"),
        ("launch_sweep", [RECIPE, "--set=task.p=logspace(1,400,3)"], "logspace exponent = 400"),
        ("launch_sweep", [RECIPE, "--set=model.outputs=7"], "must be at least the task's 31"),
        ("launch_sweep", [RECIPE, "--set=optimizer.learning_rate=1e39"], "at most 3.4e+38"),
        ("launch_sweep", [RECIPE, "--devices=0"], "devices"),
        ("phase_diagram", [], "holds no sweep"),
        ("replay", ["--run_id=x"], "holds no sweep"),
        ("reproduce", ["--recipe=edge_of_stabilty"], "must be one of quickstart, edge_of_stability"),
        ("reproduce", ["--recipe=edge_of_stability", "--scale=medium"], "quick, smoke, paper"),
        ("reproduce", ["--sweep=examples/own_task.py"], "neither drawings nor claims"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(name, arguments, said, tmp_path):
    workdir = tmp_path / "none"
    done = script(name, *arguments, f"--workdir={workdir}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not workdir.exists()


def test_an_axis_given_twice_is_refused(tmp_path):
    done = script(
        "launch_sweep", RECIPE, "--set=task.p=5", "--set=task.p=7", f"--workdir={tmp_path / 'x'}", "--dry_run"
    )
    assert done.returncode == 2
    assert "given twice" in done.stderr or "axis already" in done.stderr


def test_another_recipe_in_the_same_directory_is_refused(smoke, tmp_path):
    held = json.loads((smoke / "sweep.json").read_text())
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "sweep.json").write_text(json.dumps(held | {"name": "another"}))
    done = script("launch_sweep", RECIPE, f"--workdir={copy}")
    assert done.returncode == 2
    assert "holds the sweep 'another'" in done.stderr


def test_help_explains(tmp_path):
    done = script("launch_sweep", "--help")
    assert "The same command again continues it" in done.stdout
    assert "--[no]dry_run" in done.stdout
