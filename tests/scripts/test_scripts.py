"""The programs as people run them."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from compiling import as_people_have_it
from programs import Program, refused

import sweeps
from sweeps import recipes
from sweeps.execution import pilot
from sweeps.storage import store

ROOT = Path(__file__).parents[2]
RECIPE = "--recipe=quickstart"


def script(name, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=as_people_have_it())


@pytest.fixture(scope="module")
def program():
    return functools.cache(Program)


def test_places_that_cannot_be_written_are_one_line(program, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    refused(program("launch_sweep"), RECIPE, "--scale=smoke", f"--workdir={tmp_path / 'file' / 'x'}", capfd=capfd)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("smoke")
    fast = "--width=1", "--devices=1"  # compiles and measures less
    done = script("launch_sweep", "--recipe=quickstart", "--scale=smoke", f"--workdir={workdir}", *fast)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.slow
def test_a_dry_run_names_what_a_launch_will_set_aside(smoke, program, tmp_path, capfd):
    copy = tmp_path / "copy"
    shutil.copytree(smoke, copy)
    shard = store.shards(copy)[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    (copy / "runs" / "notes.txt").write_text("mine")
    assert program("launch_sweep")(RECIPE, "--scale=smoke", f"--workdir={copy}", "--dry_run") == 0
    told = capfd.readouterr().out
    assert f"{shard} cannot be read: a launch sets it aside" in told
    assert "left alone and not read: notes.txt" in told
    assert shard.exists()


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


def test_launching_again_trains_nothing(program, smoke):
    before = sorted((smoke / "runs").iterdir())
    assert program("launch_sweep")("--recipe=quickstart", "--scale=smoke", f"--workdir={smoke}") == 0
    assert sorted((smoke / "runs").iterdir()) == before


def test_dry_run_prints_the_cost_and_writes_nothing(program, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.1)
    workdir = tmp_path / "none"
    axes = "--seeds=1", "--set=task.train_fraction=.3,.5"
    assert program("launch_sweep")(RECIPE, f"--workdir={workdir}", "--dry_run", *axes) == 0
    said = capfd.readouterr().out
    assert "24 runs, 0 stored, 24 to train: 72,000 lane-steps at most" in said
    assert "nothing was trained" in said
    assert "MiB" in said
    assert not workdir.exists()


OWN = '''
import flax.struct, jaxgen as jg, sweeps, jax.numpy as jnp

@flax.struct.dataclass
class Margin:
    """Squared hinge."""
    margin: float = jg.leaf(1.0)
    def __call__(self, outputs, labels):
        return jnp.mean(jnp.square(jnp.maximum(self.margin - outputs * (2.0 * labels[:, None] - 1.0), 0.0)), axis=1)

base = jg.Experiment(
    jg.tasks.SparseParity(bits=8, relevant=2, samples=64), jg.models.MLP(width=8, use_bias=True), Margin(),
    jg.optimizers.SGD(), jg.Training(steps=40, evaluate_every=20),
)
recipe = sweeps.Recipe(base, sweeps.product(sweeps.sweep("loss.margin", [0.5, 1.0]), sweeps.seeds(2)))
'''
STUDY = """
def margins_differ(evidence):
    narrow, wide = (evidence.arm(sweeps.sweep("loss.margin", [m])) for m in (0.5, 1.0))
    return [sweeps.Effect("train loss, margin 1 - margin 0.5", wide.final("train/loss") - narrow.final("train/loss"))]

recipe = sweeps.Recipe(
    base, sweeps.product(sweeps.sweep("loss.margin", [0.5, 1.0]), sweeps.sweep("seed", [0, 1, 2]),
                         sweeps.sweep("optimizer.learning_rate", [0.01, 0.1])),
    drawings=[sweeps.Drawing("rates", "loss.margin", "optimizer.learning_rate")],
    claims=[sweeps.Claim("1", "A wide margin costs more", margins_differ)],
)
"""


def test_reproduce_judges_draws_and_writes_a_page(program, tmp_path, capfd):
    (tmp_path / "hinge.py").write_text(OWN + STUDY)
    fast = f"--workdir={tmp_path / 'out'}", "--width=1", "--devices=1"
    assert program("reproduce")(f"--sweep={tmp_path / 'hinge.py'}", *fast) == 0
    assert "(1) PASS" in capfd.readouterr().out
    files = {"claims.json", "claims.md", "report.html", *(f"rates.{ending}" for ending in ("png", "svg", "csv"))}
    assert files <= {p.name for p in (tmp_path / "out").iterdir()}
    found = json.loads((tmp_path / "out" / "claims.json").read_text())
    (trained,) = found["trained"]
    assert trained["time"] <= trained["updated"]
    assert found["runs"] == len(sweeps.Results(tmp_path / "out").runs) == 12
    (effect,) = found["claims"][0]["effects"]
    assert effect["seeds"] == 3
    assert 0 < effect["low"] < effect["mean"] < effect["high"]
    assert (found["passes_by_chance"], found["changed"]) == (0.025, False)
    assert found["launches"] == [{"seeds": 3, "splits": 1, "runs": 12}]
    assert "No seeds were added" in (tmp_path / "out" / "claims.md").read_text()

    (launch,) = (tmp_path / "out" / "launches").iterdir()
    said = json.loads(launch.read_text())
    killed = {name: said[name] for name in ("time", "command", "stored", "own_runs")} | {"jax": "0.9.9"}
    launch.write_text(json.dumps(killed))  # trained elsewhere, by a process that was killed
    assert program("reproduce")(f"--sweep={tmp_path / 'hinge.py'}", *fast) == 0
    (trained,) = json.loads((tmp_path / "out" / "claims.json").read_text())["trained"]
    assert (trained["jax"], trained["updated"]) == ("0.9.9", None)
    launch.write_text(json.dumps(killed | {"stored": None}))  # damaged: it may have trained
    assert program("reproduce")(f"--sweep={tmp_path / 'hinge.py'}", *fast) == 0
    assert json.loads((tmp_path / "out" / "claims.json").read_text())["trained"] == [trained]


def test_a_claim_whose_code_fails_is_an_error_and_the_others_are_judged(program, tmp_path, capfd):
    broken = STUDY.replace("claims=[", 'claims=[sweeps.Claim("2", "broken", lambda e: 1 / 0), ')
    (tmp_path / "hinge.py").write_text(OWN + broken)
    arguments = f"--sweep={tmp_path / 'hinge.py'}", f"--workdir={tmp_path / 'out'}", "--width=1", "--devices=1"
    assert program("reproduce")(*arguments) == 1
    said = capfd.readouterr()
    assert "(1) PASS" in said.out
    assert "claims.json has its traceback" in said.err
    found = json.loads((tmp_path / "out" / "claims.json").read_text())["claims"]
    assert [c["verdict"] for c in found] == ["ERROR", "PASS"]
    assert "ZeroDivisionError" in found[0]["traceback"]
    assert (tmp_path / "out" / "report.html").exists()
    assert program("reproduce")(*arguments, "--claims=1") == 0
    found = {
        name: json.loads((tmp_path / "out" / name).read_text())["claims"] for name in ("claims.json", "claims-1.json")
    }
    assert [len(some) for some in found.values()] == [2, 1]
    assert program("reproduce")(*arguments, "--claims=3") == 2


def test_studies_are_listed_and_the_dry_run_tells_what_each_claim_needs(program, tmp_path, capfd):
    assert program("reproduce")("--list") == 0
    said = capfd.readouterr().out
    assert all(text in said for text in ("edge_of_stability", "arXiv 2501.04697", "30,960,000"))
    arguments = ["--recipe=edge_of_stability", "--scale=smoke", "--dry_run", f"--workdir={tmp_path / 'none'}"]
    assert program("reproduce")(*arguments, "--width=1", "--devices=1", "--claims=3,5") == 0
    rows = [line for line in capfd.readouterr().out.splitlines() if "claim (" in line]
    assert [[int(word) for word in row.split() if word.isdigit()][:2] for row in rows] == [[3, 3], [9, 9]]
    assert not (tmp_path / "none").exists()


def test_curves_are_drawn_with_their_caption_and_table_and_shown_on_the_page(program, smoke, tmp_path):
    recipe = recipes.load("quickstart").at("smoke")
    arms = {"<b>all</b>": sweeps.fixed("task.train_fraction", recipe.sweep.axes["task.train_fraction"][-1])}
    points = {path: values[0] for path, values in recipe.sweep.axes.items()}
    decay = sweeps.fixed("optimizer.weight_decay", points["optimizer.weight_decay"])
    groups = {"train": "train/accuracy", "test": "test/accuracy"}
    curves = sweeps.Curves(
        "both", {name: sweeps.product(arm, decay) for name, arm in arms.items()}, groups, levels={"chance": 1 / 31}
    )
    evidence = sweeps.Evidence(sweeps.Results(smoke), recipe.base)
    shown = program("reproduce").module.draw_curves(curves, evidence, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"both.{ending}" for ending in ("png", "svg", "txt", "csv")}
    assert "<b>" not in shown.replace("<details>", "")
    assert "data:image/png;base64," in shown
    table = pd.read_csv(tmp_path / "both.csv")
    assert {*table["group"]} == {"train", "test"}
    assert (tmp_path / "both.txt").read_text().startswith("Curves of <b>all</b> (1 seed): over steps")


def test_limits_of_all_studies_are_of_their_sum(program, tmp_path, capfd, monkeypatch):
    reproduce = program("reproduce")
    module = reproduce.module
    monkeypatch.setattr(module.recipes, "names", lambda: ["quickstart", "xor_clusters"])
    monkeypatch.setattr(module, "foresee", lambda *_, **__: (None, SimpleNamespace(low=1800.0, high=2700.0)))
    trained = []
    monkeypatch.setattr(module, "reproduced", lambda recipe, place, **other: trained.append((recipe.name, other)))
    monkeypatch.setattr(module, "write_gallery", lambda *_: None)
    asked = ["--all", "--scale=smoke", f"--workdir={tmp_path}"]
    assert reproduce(*asked, "--max_hours=1.4") == 2
    assert "max_hours = 1.4: all 2 studies take 1 to 1.5 h on this machine" in capfd.readouterr().err
    assert trained == []
    assert reproduce(*asked, "--max_hours=1.6") == 0
    assert trained == [("quickstart", {"max_hours": None}), ("xor_clusters", {"max_hours": None})]


@pytest.mark.slow
def test_all_studies_have_one_page(tmp_path):
    done = script("reproduce", "--all", "--scale=smoke", f"--workdir={tmp_path}", "--width=1", "--devices=1")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "gallery.html").read_text()
    for link in (
        "edge_of_stability-smoke/report.html",
        "edge_of_stability-smoke/decay.png",
        "quickstart-smoke/diagram.png",
    ):
        assert f'"{link}"' in page
        assert (tmp_path / link).exists()


@pytest.mark.slow
def test_the_study_writes_claims_figures_and_a_page(tmp_path):
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


@pytest.mark.slow
def test_the_captions_command_replays_a_run_of_own_components(program, tmp_path):
    folder = tmp_path / """it's a "place" $HOME;"""
    folder.mkdir()
    own = shutil.copy(ROOT / "examples" / "own_task.py", folder / "own task.py")
    axes = "--set=task.noise=0,.2", "--set=loss.smoothing=0,.2", "--set=training.steps=50", "--seeds=1"
    fast = "--width=1", "--devices=1"
    assert program("launch_sweep")(f"--sweep={own}", f"--workdir={folder / 'out'}", *axes, *fast) == 0
    assert sweeps.Results(folder / "out").specification["sources"] == [str(own)]
    assert program("phase_diagram")(f"--workdir={folder / 'out'}") == 0
    *_, command = (folder / "out" / "diagram.txt").read_text().partition("Any run again, e.g.: ")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    again = subprocess.run(
        ["sh", "-c", command], env=os.environ | {"PATH": path}, cwd=tmp_path, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "the same, bit for bit" in again.stdout


@pytest.mark.slow
def test_the_example_of_corrupted_labels(program, tmp_path):
    axes = "--set=task.share=0,.5", "--set=task.task.train_fraction=.5,.8", "--set=training.steps=50", "--seeds=1"
    where = f"--workdir={tmp_path}"
    assert (
        program("launch_sweep")("--sweep=examples/corrupted_labels.py", where, *axes, "--width=1", "--devices=1") == 0
    )
    shown = "--x=task.task.train_fraction", "--y=task.share", "--budget=50", "--gap=50"
    assert program("phase_diagram")(where, *shown, "--labels=corrupted_labels") == 0
    runs = sweeps.Results(tmp_path).runs
    both = runs["final/corrupted/accuracy"] * runs["task.share"] + runs["final/clean/accuracy"] * (
        1 - runs["task.share"]
    )
    noisy = runs["task.share"] == 0.5
    np.testing.assert_allclose(both[noisy], runs["final/train/accuracy"][noisy], atol=2e-3)  # of 480 and 768 rows
    assert runs["final/corrupted/accuracy"][~noisy].isna().all()


def test_a_users_file(program, tmp_path, capfd):
    launch, diagram = program("launch_sweep"), program("phase_diagram")
    file = tmp_path / "hinge.py"
    file.write_text(OWN)
    workdir = tmp_path / "out"
    own = (f"--sweep={file}", f"--workdir={workdir}", "--width=1", "--devices=1")
    assert launch(*own, "--set=optimizer.learning_rate=.01,.1") == 0
    results = sweeps.Results(workdir)
    assert results.specification["name"] == "hinge"
    assert len(results.runs) == 8
    assert sorted(set(results.runs["loss.margin"])) == [0.5, 1.0]
    assert diagram(f"--workdir={workdir}", "--x=optimizer.learning_rate", "--y=loss.margin") == 0
    run_id = results.runs["run_id"][0]
    line = (f"--sweep={file}", f"--workdir={tmp_path / 'line'}", "--width=1", "--devices=1")
    axes = "--set=optimizer.learning_rate=.01,.1", "--refine=loss.margin,optimizer.learning_rate", "--budget=70"
    capfd.readouterr()
    assert launch(*line, *axes, "--dry_run") == 0
    assert "70 runs, 0 stored, 70 to train" in capfd.readouterr().out
    assert launch(*line, *axes) == 0
    runs = sweeps.Results(tmp_path / "line").runs
    assert len(runs) == 70
    assert runs["loss.margin"].between(0.5, 1).all()
    assert runs["loss.margin"].nunique() > 50
    assert diagram(f"--workdir={tmp_path / 'line'}") == 0
    cells = pd.read_csv(tmp_path / "line" / "diagram.csv")
    assert (len(cells), cells["seeds"].sum()) == (16 * 16, 70)
    unknown = script("replay", f"--workdir={workdir}", f"--run_id={run_id}")
    assert unknown.returncode == 2
    assert "--sweep=FILE" in unknown.stderr
    assert "import the file that defines it" in unknown.stderr
    file.write_text(OWN.replace("jnp.square(", "jnp.abs("))
    capfd.readouterr()
    assert launch(f"--sweep={file}", f"--workdir={workdir}", "--dry_run") == 0
    assert "4 runs, 0 stored, 4 to train" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("launch_sweep", ["--recipe=quikstart"], "must be one of chain_of_thought, corrupted_labels, "),
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
        ("launch_sweep", [RECIPE, "--stop_after_hours=soon"], "stop_after_hours"),
        ("launch_sweep", [RECIPE, "extra"], "unexpected argument"),
        ("launch_sweep", ["--sweep=none.py"], "must be a Python file"),
        ("launch_sweep", [RECIPE, "--set=task.p=logspace(1,400,3)"], "logspace exponent = 400"),
        ("launch_sweep", [RECIPE, "--set=model.outputs=7"], "must be at least the task's 31"),
        ("launch_sweep", [RECIPE, "--set=optimizer.learning_rate=1e39"], "at most 3.4e+38"),
        ("launch_sweep", [RECIPE, "--devices=0"], "devices"),
        ("phase_diagram", [], "holds no sweep"),
        ("replay", ["--run_id=x"], "holds no sweep"),
        ("reproduce", ["--recipe=edge_of_stabilty"], "must be one of chain_of_thought, corrupted_labels, "),
        ("reproduce", ["--recipe=edge_of_stability", "--scale=medium"], "quick, smoke, paper"),
        ("reproduce", ["--sweep=examples/own_task.py"], "neither drawings nor claims"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(program, name, arguments, said, tmp_path, capfd):
    workdir = tmp_path / "none"
    assert said in refused(program(name), *arguments, f"--workdir={workdir}", capfd=capfd)
    assert not workdir.exists()


def test_an_axis_given_twice_is_refused(program, tmp_path, capfd):
    axes = "--set=task.p=5", "--set=task.p=7"
    said = refused(program("launch_sweep"), RECIPE, *axes, f"--workdir={tmp_path}", capfd=capfd)
    assert "is an axis already: give each axis once" in said


def test_another_recipe_in_the_same_directory_is_refused(program, smoke, tmp_path, capfd):
    held = json.loads((smoke / "sweep.json").read_text())
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "sweep.json").write_text(json.dumps(held | {"name": "another"}))
    said = refused(program("launch_sweep"), RECIPE, f"--workdir={copy}", capfd=capfd)
    assert "holds the sweep 'another'" in said


def test_help_explains(tmp_path):
    done = script("launch_sweep", "--help")
    assert "The same command again continues it" in done.stdout
    assert "--[no]dry_run" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_each_study_is_made_and_judged_at_smoke_scale(program, tmp_path, name):
    program("reproduce")(f"--recipe={name}", "--scale=smoke", f"--workdir={tmp_path}")
    claims = (tmp_path / "claims.md").read_text()
    assert "UNDECIDED" in claims or "PASS" in claims
    assert "ERROR" not in claims
    assert (tmp_path / "report.html").stat().st_size > 10_000
