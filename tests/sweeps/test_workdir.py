import dataclasses
import importlib
import json
import subprocess
import sys

import pytest

import sweeps
from jaxgen import Experiment, FieldError, component
from sweeps import workdir

SWEEP = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(2))


def test_a_directory_is_held_by_one_process(tmp_path):
    code = f"from pathlib import Path; from sweeps import workdir; workdir.locked(Path({str(tmp_path)!r})).__enter__()"
    with workdir.locked(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is in use by process" in other.stderr
    with workdir.locked(tmp_path):
        pass


def test_the_same_sweep_may_grow(toy, tmp_path):
    workdir.write_specification(tmp_path, "mine", toy, SWEEP, {})
    finer = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 0.5, 1.0]), sweeps.seeds(5))
    workdir.check_same(tmp_path, "mine", toy, finer)
    workdir.check_same(tmp_path, "mine", toy.override({"optimizer.weight_decay": 7}), SWEEP)
    wider = sweeps.product(SWEEP, sweeps.sweep("model.width", [12, 24]))
    workdir.check_same(tmp_path, "mine", toy.override({"model.width": 24}), wider)
    workdir.write_specification(tmp_path, "mine", toy, finer, {})
    held = workdir.read_specification(tmp_path)
    assert held["axes"]["optimizer.weight_decay"] == [0.1, 0.5, 1.0]
    assert len(held["launches"]) == 2
    assert held["launches"][0]["jax"]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("other", {}, "holds the sweep 'mine', not 'other'"),
        ("mine", {"model.width": 24}, "model.width = 12, not 24"),
        ("mine", {"training.steps": 200}, "training.steps = 100, not 200"),
    ],
)
def test_another_sweep_is_refused(toy, tmp_path, name, changes, said):
    workdir.write_specification(tmp_path, "mine", toy, SWEEP, {})
    with pytest.raises(FieldError, match=said):
        workdir.check_same(tmp_path, name, toy.override(changes), SWEEP)


@pytest.mark.parametrize(
    ("text", "said"),
    [(json.dumps({"schema": 99}), "schema 99"), ("{", "cannot be read"), ("[]", "damaged"), ("{}", "damaged")],
)
def test_newer_or_broken_specifications_are_refused(toy, tmp_path, text, said):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(FieldError, match=said):
        workdir.check_same(tmp_path, "mine", toy, SWEEP)


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
    workdir.write_specification(tmp_path, "mine", toy, SWEEP, {})
    assert workdir.read_specification(tmp_path)["sources"] == []
    axis = sweeps.product(sweeps.sweep("model", [toy.model, model]), sweeps.seeds(2))
    workdir.write_specification(tmp_path, "mine", toy, axis, {})
    assert workdir.read_specification(tmp_path)["sources"] == [str(tmp_path / "own_parts.py")]
    own = dataclasses.replace(toy, model=model)
    monkeypatch.setattr(component, "_SEEN", {})
    assert Experiment.from_json(own.to_json()) == own
    monkeypatch.setattr(component, "_SEEN", {})
    monkeypatch.delitem(sys.modules, "own_parts")
    with pytest.raises(FieldError, match=r"import the file that defines it first .*--sweep=FILE"):
        Experiment.from_json(own.to_json())


def test_a_file_is_no_workdir(toy, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(FieldError, match="is a file"):
        workdir.check_same(tmp_path / "x", "mine", toy, SWEEP)
