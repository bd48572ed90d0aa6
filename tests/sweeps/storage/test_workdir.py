import ast
import contextlib
import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sweeps
from jaxgen import Experiment, FieldError, components
from sweeps.execution import engine
from sweeps.report import caption
from sweeps.storage import launches
from sweeps.storage.errors import TryAgain
from sweeps.storage.workdir import Workdir
from sweeps.studies import refine

SWEEP = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(2))


def test_a_directory_is_held_by_one_process(tmp_path):
    held = f"Workdir.at({str(tmp_path)!r}).locked().__enter__()"
    code = f"from sweeps.storage.workdir import Workdir; {held}"
    with Workdir.at(tmp_path).locked():
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is in use by process" in other.stderr
    with Workdir.at(tmp_path).locked():
        pass


def test_the_same_sweep_may_grow(toy, tmp_path):
    Workdir.at(tmp_path).write_specification("mine", toy, SWEEP, {})
    finer = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 0.5, 1.0]), sweeps.seeds(5))
    Workdir.at(tmp_path).check_same("mine", toy, finer)
    Workdir.at(tmp_path).check_same("mine", toy.override({"optimizer.weight_decay": 7}), SWEEP)
    wider = sweeps.product(SWEEP, sweeps.sweep("model.width", [12, 24]))
    Workdir.at(tmp_path).check_same("mine", toy.override({"model.width": 24}), wider)
    Workdir.at(tmp_path).write_specification("mine", toy, finer, {})
    held = Workdir.at(tmp_path).read_specification()
    assert held["axes"]["optimizer.weight_decay"] == [0.1, 0.5, 1.0]
    assert held["changed"] == []
    for changed in (["task.p", "model.width"], ["task.p"], ["loss.dtype"]):
        Workdir.at(tmp_path).write_specification("mine", toy, finer, {}, "", changed)
    assert Workdir.at(tmp_path).read_specification()["changed"] == ["task.p", "model.width", "loss.dtype"]


def test_launches_are_told_in_their_order_and_workers_of_one_as_one(toy, tmp_path):
    finer = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 0.5, 1.0]), sweeps.seeds(5))
    for sweep in (SWEEP, finer):
        launches.Launch(Workdir.at(tmp_path), sweep, len(sweep), 0)
    for share in (0, 1, 1):
        worker = launches.Launch(Workdir.at(tmp_path).owned((share, 2)), finer, 7, 0)
        worker.write(lane_steps=10, seconds=1.5 + share)
    for content in ("{", "[]", "3", '{"command": 3}', ""):
        (tmp_path / "launches" / f"{len(content)}.json").write_text(content)
    found = launches.told(launches.read(Workdir.at(tmp_path)))
    assert [launch["runs"] for launch in found] == [len(SWEEP), 15, 15]
    assert (found[1]["seeds"], found[1]["splits"]) == (5, 1)
    assert found[0]["jax"]
    assert [launch.get("workers") for launch in found] == [None, None, 3]
    assert (found[2]["lane_steps"], found[2]["seconds"]) == (30, 2.5)


def test_who_trains_a_share_is_alone_with_it_and_nobody_trains_all(tmp_path):
    first, second = (Workdir.at(tmp_path).owned((i, 2)) for i in range(2))
    with first.locked(), second.locked():
        assert first.holders() == {"0of2", "1of2"}
        with pytest.raises(TryAgain, match=rf"share 1/2 is trained by process {os.getpid()}"), second.locked():
            pass
        with (
            pytest.raises(TryAgain, match="is in use by workers with the shares 0/2, 1/2"),
            Workdir(tmp_path).locked(),
        ):
            pass
    with Workdir(tmp_path).locked():
        assert first.holders() == {"all"}
        with pytest.raises(TryAgain, match=rf"is in use by process {os.getpid()}"), first.locked():
            pass
    assert first.holders() == set()


def test_the_specification_is_written_once_by_workers_of_one_call(toy, tmp_path):
    workers = [Workdir.at(tmp_path).owned((i, 2)) for i in range(2)]
    workers[0].write_specification("mine", toy, SWEEP, {})
    before = (tmp_path / "sweep.json").stat()
    workers[1].write_specification("mine", toy, SWEEP, {})
    assert (tmp_path / "sweep.json").stat().st_ino == before.st_ino
    workers[1].write_specification("mine", toy, sweeps.product(SWEEP), {"threshold": 0.5})
    assert Workdir(tmp_path).read_specification()["definition"] == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("other", {}, "holds the sweep 'mine', not 'other'"),
        ("mine", {"model.width": 24}, "model.width = 12, not 24"),
        ("mine", {"training.steps": 200}, "training.steps = 100, not 200"),
    ],
)
def test_another_sweep_is_refused(toy, tmp_path, name, changes, said):
    Workdir.at(tmp_path).write_specification("mine", toy, SWEEP, {})
    with pytest.raises(FieldError, match=said):
        Workdir.at(tmp_path).check_same(name, toy.override(changes), SWEEP)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"schema": 99}), "schema 99"),
        (
            json.dumps({"schema": 1}),
            "has schema 1, this version reads 3: use the jaxgen that wrote it, or another workdir",
        ),
        ("{", "cannot be read"),
        ("[]", "damaged"),
        ("{}", "damaged"),
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"schema": ' + "9" * 5000, "cannot be read"),
    ],
)
def test_newer_or_broken_specifications_are_refused(toy, tmp_path, text, said):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(FieldError, match=said):
        Workdir.at(tmp_path).check_same("mine", toy, SWEEP)


PARTS = """
import flax.linen as nn

class Line(nn.Module):
    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(x.reshape(x.shape[0], -1))
"""


def test_files_of_own_components_are_recorded_and_importing_them_is_enough(toy, tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    model = importlib.import_module("own_parts").Line()
    Workdir.at(tmp_path).write_specification("mine", toy, SWEEP, {})
    assert Workdir.at(tmp_path).read_specification()["sources"] == []
    axis = sweeps.product(sweeps.sweep("model", [toy.model, model]), sweeps.seeds(2))
    Workdir.at(tmp_path).write_specification("mine", toy, axis, {})
    assert Workdir.at(tmp_path).read_specification()["sources"] == [str(tmp_path / "own_parts.py")]
    own = dataclasses.replace(toy, model=model)
    monkeypatch.setattr(components.names, "_SEEN", {})
    assert Experiment.from_json(own.to_json()) == own
    monkeypatch.setattr(components.names, "_SEEN", {})
    monkeypatch.delitem(sys.modules, "own_parts")
    with pytest.raises(FieldError, match=r"import the file that defines it first .*--sweep=FILE"):
        Experiment.from_json(own.to_json())


def test_a_file_is_no_workdir(toy, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(FieldError, match="is a file"):
        Workdir.at(tmp_path / "x").check_same("mine", toy, SWEEP)


def held_by(toy, workdir_path):
    Workdir.at(workdir_path).write_specification("mine", toy, SWEEP, {"threshold": 0.9, "budget": 100}, "one line")
    return json.loads((workdir_path / "sweep.json").read_text())


DAMAGE = {
    "schema": [None, 0, "1", 10**400, 1.5],
    "name": [None, 3, "", "\ud800", []],
    "description": [3, [], "\ud800"],
    "changed": [None, 5, "task.p", [3]],
    "fields": [None, [], "x"],
    "axes": [None, [], {"seed": 3}, {"seed": []}, {"seed": [[]]}, {"seed": [10**30]}, {"seed": [1e999]},
             {"seed": {"first": {}, "last": 1}}],
    "sources": [None, 5, True, "x", {}, [None], [3], ["x", []]],
    "runs": [None, "4", -1, 10**30, []],
    "definition": [None, []],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in DAMAGE.items() for v in values])
def test_a_damaged_part_is_refused_with_what_to_do(toy, tmp_path, key, value):
    held = held_by(toy, tmp_path)
    (tmp_path / "sweep.json").write_text(json.dumps(held | {key: value}))
    with pytest.raises(FieldError, match=r"the stored runs do not need it, move .*sweep.json away and launch again"):
        Workdir.at(tmp_path).check_same("mine", toy, SWEEP)


def test_any_bytes_are_a_specification_or_refused(toy, tmp_path):
    path = tmp_path / "sweep.json"
    held = held_by(toy, tmp_path)
    content = path.read_bytes()
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    values = st.recursive(
        plain, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
    )

    def look():
        with contextlib.suppress(FieldError):
            Workdir.at(tmp_path).check_same("mine", toy, SWEEP)
            Workdir.at(tmp_path).write_specification("mine", toy, SWEEP, {})

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 8 * len(content) - 1), st.sampled_from(sorted(held)), values, st.binary(max_size=20))
    def check(bit, key, value, tail):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        for damaged in (flipped, content[: bit // 8] + tail, tail, json.dumps(held | {key: value}).encode()):
            path.write_bytes(damaged)
            look()

    check()
    path.unlink()
    path.mkdir()
    look()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "axes": {"task.train_fraction": ["a", True, None, 0.4], "x": {"values": 3, "first": 0, "last": "z"}},
            "fields": {"a": [[]], "b": {"c": None}},
            "name": "$x_{$ \\frac{ <script>",
            "runs": 10**18,
        },
        {
            "axes": {},
            "fields": {"task.p": 10**300},
            "definition": {"budget": 10, "gap": 0},
            "name": "%s" * 50,
        },
    ],
)
def test_what_a_specification_may_say_can_be_drawn(synthetic_results, tmp_path, changes):
    axes = {"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]}
    results = synthetic_results(axes)
    (results.workdir / "sweep.json").write_text(json.dumps(results.specification | changes))
    (results.workdir / "launches").mkdir()
    for number, launch in enumerate(
        [{}, {"command": [3, None, []], "jax": {}, "devices": []}, {"share": [], "time": 3}]
    ):
        (results.workdir / "launches" / f"{number}.json").write_text(json.dumps(launch))
    diagram = results.phase_diagram(*axes, unfinished=True)
    diagram.plot(tmp_path / "diagram.svg")
    diagram.page(tmp_path / "report.html")


def test_a_diagram_of_a_sweep_stopped_before_its_first_run_says_so(synthetic_results):
    axes = {"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]}
    results = synthetic_results(axes, kind=lambda *_: None)
    for definition in (results.specification["definition"], {}):
        (results.workdir / "sweep.json").write_text(json.dumps(results.specification | {"definition": definition}))
        with pytest.raises(FieldError, match="holds no finished runs yet"):
            results.phase_diagram(*axes)


def test_the_caption_of_an_unfinished_sweep_says_so(synthetic_results):
    axes = {"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]}
    results = synthetic_results(axes, seeds=2)
    for runs, said in ((9, True), (8, False)):
        (results.workdir / "sweep.json").write_text(json.dumps(results.specification | {"runs": runs}))
        text = caption.caption(results.phase_diagram(*axes))
        assert ("Not finished: 8 of the sweep's 9 runs are stored." in text) == said


def test_the_caption_says_why_it_does_not_know_versions(synthetic_results):
    axes = {"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]}
    results = synthetic_results(axes)
    assert "Trained with unknown versions.\n" in caption.caption(results.phase_diagram(*axes))
    (results.workdir / "launches").mkdir()
    (results.workdir / "launches" / "all-1.json").write_text('{"jax": "0.')
    said = "Trained with unknown versions (all-1.json of its launches cannot be read).\n"
    assert said in caption.caption(results.phase_diagram(*axes))


def test_the_remedy_for_a_damaged_specification_works(toy, tmp_path, monkeypatch):
    fast = {"width": 2, "intervals": 5, "devices": 1, "quiet": True}
    sweeps.run(toy, SWEEP, tmp_path, **fast)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(FieldError, match=r"move .* away and launch again"):
        sweeps.run(toy, SWEEP, tmp_path, **fast)
    (tmp_path / "sweep.json").rename(tmp_path / "away.json")
    monkeypatch.setattr(engine, "Engine", None)  # nothing is trained
    results = sweeps.run(toy, SWEEP, tmp_path, **fast)
    assert len(results.runs) == 4
    assert results.specification["axes"]["optimizer.weight_decay"] == [0.1, 1.0]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"[]", b"3", b"null", b"[" * 10**5, b'{"axes": [1], "rounds": 3}'),
        b'{"axes": {"a": 1}, "rounds": [[[1, 1, 1e999]]]}',
        b'{"axes": {"a": {"low": 1, "high": 1e999}}, "rounds": [[[1, 1]]]}',
        b'{"axes": {"a": {"low": 1' + b"0" * 400 + b', "high": 2}}, "rounds": [[[1' + b"0" * 400 + b", 1, 1]]]}",
    ],
)
def test_rounds_that_cannot_be_read_are_refused(toy, tmp_path, content):
    Workdir.at(tmp_path).write_specification("mine", toy, SWEEP, {})
    (tmp_path / "refine.json").write_bytes(content)
    with pytest.raises(FieldError, match=r"refine\.json"):
        sweeps.Results(tmp_path).refined  # noqa: B018
    with pytest.raises(FieldError, match=r"refine\.json"):
        refine._stored(Workdir.at(tmp_path), {})


ROOT = Path(__file__).parents[3]
NAMES = {"runs", "inflight", "weights", "parents", "damaged", "apart", "lock", "locks", "launches", "widths"}
NAMES |= {"sweep.json", "refine.json"}
PLAIN = {"inflight", "sweep.json", "refine.json"}  # words that mean nothing else


def spelled(text: str) -> list[str]:
    """The names of what lies in a workdir that a module joins, or that stand in any of its texts but docstrings."""
    tree, found = ast.parse(text), []
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    found += [name for node in texts if id(node) not in documents for name in PLAIN if name in node.value]
    found += [name for node in texts if id(node) not in documents for name in NAMES if f"{name}/" in node.value]
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
            parts = [node.left, node.right]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("Path", "join", "joinpath"):
            parts = node.args
        else:
            continue
        found += [part.value for part in parts if isinstance(part, ast.Constant) and part.value in NAMES]
    return found


def test_no_other_module_spells_what_lies_in_a_workdir():
    modules = {file for top in ("sweeps", "scripts") for file in (ROOT / top).rglob("*.py")}
    own = ROOT / "sweeps" / "storage" / "workdir.py"
    assert {*spelled(own.read_text())} >= {"lock", "runs", "sweep.json", "refine.json"}
    assert {str(file): names for file in modules - {own} if (names := spelled(file.read_text()))} == {}


@pytest.mark.parametrize("text", ["x / 'runs'", "Path(x, 'weights')", "f'{x}/runs/y'", "y = 'its sweep.json'"])
def test_a_name_that_is_spelled_is_found(text):
    assert spelled(text)
    assert not spelled(f'"""{text}"""')


def test_a_workdir_is_a_path_or_a_uri(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for where in (tmp_path, str(tmp_path), tmp_path.as_uri(), Workdir.at(tmp_path), "."):
        workdir = Workdir.at(where)
        assert Path(workdir.absolute()) == tmp_path
        assert isinstance(workdir.root, Path)
    assert Workdir.at("a/b") == Workdir(Path("a/b"))
    assert str(Workdir.at("a/b").parents) == "a/b/parents"
    assert Path(Workdir.at("a/b")) == Path("a/b")
    assert Workdir.at("a/b") / "x.png" == Path("a/b/x.png")
