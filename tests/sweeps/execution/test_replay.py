"""A stored run trained again: every difference is seen, in any bit."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

import jaxgen as jg
import sweeps
from sweeps.execution import replay as replaying
from sweeps.execution.replay import replay
from sweeps.storage import store
from sweeps.storage.workdir import Workdir

BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=5, train_fraction=0.6),
    model=jg.models.QuadraticMLP(width=4),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.SGD(learning_rate=0.1),
    training=jg.Training(steps=20, evaluate_every=10),
)
DIVERGES = BASE.override({"optimizer.learning_rate": 1e30})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained")
    rates = sweeps.sweep("optimizer.learning_rate", [0.1, 1e30])
    sweeps.run(BASE, rates, workdir, width=2, devices=1, quiet=True)
    return workdir


@pytest.fixture(autouse=True)
def one_program(monkeypatch):
    """All replays share what is compiled; `made` lists the widths that were asked for."""
    made, make = [], {}

    def program(experiment, width):
        made.append(width)
        if width not in make:
            make[width] = PROGRAMS.setdefault(width, Program(experiment, width))
        return make[width]

    monkeypatch.setattr(replaying, "Program", program)
    return made


PROGRAMS: dict = {}
Program = replaying.Program


def tampered(workdir, copy, run_id, column, change):
    """A copy of a workdir in which one value of one run is another."""
    shutil.copytree(workdir, copy)
    rows = store.read(workdir).to_pylist()
    for row in rows:
        if row["run_id"] == run_id:
            row[column] = change(row.get(column))
    for shard in store.shards(copy):
        shard.unlink()
    table = pa.table({name: store._column(name, [row.get(name) for row in rows]) for name in rows[0] | {column: None}})
    store.write(Workdir.at(copy).runs, table, 0)
    return copy


def nudged(value, at=-1):
    """A float32 in the next place, in a list or alone."""
    values = np.atleast_1d(np.array(value, np.float32))
    values.view(np.uint32)[at] ^= 1
    return values.tolist() if isinstance(value, list) else float(values[0])


CHANGES = [
    ("curve/train/loss", nudged),
    ("curve/test/accuracy", lambda v: nudged(v, 0)),
    ("curve/weight_norm", lambda v: [*v[:-1], float("nan")]),
    ("curve/train/accuracy", lambda v: v[:-1]),
    ("curve/step", lambda v: [*v[:-1], v[-1] + 1]),
    ("curve/train/loss", lambda v: None),
    ("curve/sharpness", lambda v: [0.0, 0.0, 0.0]),
    ("final/weight_norm", nudged),
    ("checksum", lambda v: v ^ 1),
    ("status", lambda v: "stopped"),
    ("steps", lambda v: v - 10),
    ("seed", lambda v: v + 1),
    ("optimizer.weight_decay", lambda v: -v),
]


def test_the_same_run_has_no_differences(trained, one_program):
    for run in (BASE, DIVERGES):  # whose curves end with NaN
        assert replay(trained, run.run_id) == ([], [])
    assert one_program == [2, 2]  # lanes, as when it was trained


def test_of_other_runs_than_the_one_that_is_replayed_nothing_is_asked_for(trained, monkeypatch):
    read, asked = store.read, []
    monkeypatch.setattr(store, "read", lambda *a, run_ids=None: (asked.append(run_ids), read(*a, run_ids=run_ids))[1])
    replay(trained, BASE.run_id)
    assert asked == [{BASE.run_id}]


@pytest.mark.parametrize(("column", "change"), CHANGES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(CHANGES)])
def test_a_difference_in_any_bit_is_named(trained, tmp_path, column, change):
    workdir = tampered(trained, tmp_path / "copy", BASE.run_id, column, change)
    assert replay(workdir, BASE.run_id) == ([column], [])
    assert replay(workdir, DIVERGES.run_id) == ([], [])


def test_a_number_where_the_run_has_none_is_named(trained, tmp_path):
    finite = lambda v: np.nan_to_num(np.array(v, np.float32)).tolist()  # noqa: E731
    workdir = tampered(trained, tmp_path / "copy", DIVERGES.run_id, "curve/train/loss", finite)
    assert replay(workdir, DIVERGES.run_id) == (["curve/train/loss"], [])


def test_what_was_otherwise_then_is_noted(trained, tmp_path):
    older = lambda v: json.dumps(json.loads(v) | {"jax": "0.1", "device_kind": "abacus"})  # noqa: E731
    workdir = tampered(trained, tmp_path / "copy", BASE.run_id, "provenance", older)
    differences, notes = replay(workdir, BASE.run_id)
    assert differences == []
    assert [note.partition(",")[0] for note in notes] == ["jax was 0.1", "device_kind was abacus"]
