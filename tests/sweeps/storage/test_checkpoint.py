import hashlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sweeps
from jaxgen import kernel
from sweeps.execution import engine
from sweeps.storage import checkpoint, store
from sweeps.storage.workdir import Workdir

SEEDS = sweeps.product(sweeps.fixed("training.steps", 40), sweeps.seeds(3))
FAST = {"width": 2, "intervals": 2, "devices": 1}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two of the runs of `SEEDS` after 20 of their steps: the bytes of their file, and their program."""
    import jaxgen as jg

    toy = jg.Experiment(
        jg.tasks.ModularAddition(p=7, train_fraction=0.6),
        jg.models.QuadraticMLP(width=12),
        jg.losses.CrossEntropy(),
        jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1),
        jg.Training(steps=100, evaluate_every=10),
    )
    program = kernel.Program(toy, 2)
    block = kernel.Block(program, jax.local_devices()[0])
    block.refill(iter([(run.run_id, run) for run in map(toy.override, list(SEEDS)[:2])]))
    block.launch(2)
    block.harvest()
    path = tmp_path_factory.mktemp("saved") / "x.block"
    checkpoint.save(path, block, engine.program_name(toy, 2))
    return path.read_bytes(), program


def folder_with(content, name="x.block", root=None):
    workdir = Path(tempfile.mkdtemp(prefix="jaxgen-test-", dir=root))
    (workdir / "inflight").mkdir()
    (workdir / "inflight" / name).write_bytes(content)
    return workdir


def is_set_aside(workdir):
    """Whether all readers pass over the only file there, and a launch moves it away."""
    inflight = workdir / "inflight"
    assert checkpoint.load(Workdir.at(workdir)) == []
    assert checkpoint.running(Workdir.at(workdir)) == []
    (path,) = inflight.iterdir()
    assert checkpoint.set_damaged_aside(Workdir.at(workdir)) == [path]
    assert list(inflight.iterdir()) == []
    (moved,) = (workdir / "damaged").iterdir()
    shutil.rmtree(workdir)
    return moved.name.endswith(path.name)


def test_what_is_saved_is_read_back(saved, tmp_path):
    content, program = saved
    workdir = folder_with(content, root=tmp_path)
    (found,) = checkpoint.load(Workdir.at(workdir))
    assert [lane["step"] for lane in found.lanes] == [20, 20]
    assert checkpoint.fits(found, program)
    assert [lane["fields"]["seed"] for lane in checkpoint.running(Workdir.at(workdir))] == [0, 1]
    assert checkpoint.set_damaged_aside(Workdir.at(workdir)) == []


def test_every_flipped_bit_is_noticed(saved):
    content, _ = saved

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 8 * len(content) - 1))
    def check(bit):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        assert is_set_aside(folder_with(flipped))

    check()


def test_truncated_and_foreign_files_are_noticed(saved):
    content, _ = saved

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, len(content) - 1), st.binary(max_size=60))
    def check(length, tail):
        if content[:length] + tail != content:
            assert is_set_aside(folder_with(content[:length] + tail))
        assert is_set_aside(folder_with(checkpoint.MAGIC + hashlib.sha256(tail).digest() + tail))
        assert is_set_aside(folder_with(tail))

    check()
    assert is_set_aside(folder_with(content, "old.npz"))


def test_directories_and_what_never_ends_are_set_aside(tmp_path):
    (tmp_path / "inflight" / "x.npz").mkdir(parents=True)
    (tmp_path / "inflight" / "x.block").mkdir()
    os.mkfifo(tmp_path / "inflight" / "y.block")
    (tmp_path / "inflight" / "z.block").symlink_to("nowhere")
    assert checkpoint.load(Workdir.at(tmp_path)) == []
    assert len(checkpoint.set_damaged_aside(Workdir.at(tmp_path))) == 4
    (tmp_path / "inflight").rmdir()
    (tmp_path / "inflight").write_text("a file")
    assert checkpoint.set_damaged_aside(Workdir.at(tmp_path)) == [tmp_path / "inflight"]


def sealed(content, change):
    """The file with other arrays, and a header that is changed too: whole, but not what this version writes."""
    with np.load(io.BytesIO(content[len(checkpoint.MAGIC) + 32 :])) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes())
    header = change(header, arrays)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return checkpoint.MAGIC + hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


HEADERS = {
    "a list": lambda header, _: [header],
    "no program": lambda header, _: {"lanes": header["lanes"]},
    "no lanes": lambda header, _: {"program": header["program"]},
    "lanes are a number": lambda header, _: header | {"lanes": 3},
    "lanes are texts": lambda header, _: header | {"lanes": ["a", "b"]},
    "a lane without step": lambda header, _: header | {"lanes": [{"run_id": "a", "fields": {}}, None]},
    "a step that is text": lambda header, _: header | {"lanes": [{"run_id": "a", "fields": {}, "step": "1"}, None]},
    "a run that is a list": lambda header, _: header | {"lanes": [{"run_id": [], "fields": {}, "step": 1}, None]},
    "fields that are a list": lambda header, _: header | {"lanes": [{"run_id": "a", "fields": [], "step": 1}, None]},
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_whole_files_with_other_headers_are_set_aside(saved, change):
    assert is_set_aside(folder_with(sealed(saved[0], change)))


def without(start):
    def change(header, arrays):
        for name in [name for name in arrays if name.startswith(start)]:
            del arrays[name]
        return header

    return change


def with_array(name, of, other):
    return lambda header, arrays: arrays.update({name: other(arrays[of])}) or header


ARRAYS = {
    "another lane": lambda header, _: header | {"lanes": [*header["lanes"], None]},
    "lanes are empty": lambda header, _: header | {"lanes": []},
    "an array is missing": without("carry/0"),
    "an array too many": with_array("carry/99", "carry/0", np.array),
    "an array is short": with_array("carry/0", "carry/0", lambda a: a[:-1]),
    "an array is long": with_array("carry/1", "carry/1", lambda _: np.zeros(10**5)),
    "a curve is missing": without("curve/0/train/loss"),
    "a curve is short": with_array("curve/1/train/loss", "curve/1/train/loss", lambda a: a[:-1]),
    "a curve is a number": with_array("curve/1/step", "curve/1/step", lambda a: a[-1]),
    "a curve of texts": with_array("curve/1/train/loss", "curve/1/step", lambda a: np.array(["x"] * len(a))),
    "curves are empty": lambda header, arrays: (
        arrays.update({k: a[:0] for k, a in arrays.items() if k.startswith("curve/0/")}) or header
    ),
    "curves are missing": without("curve/0/"),
    "another step": lambda header, _: header | {"lanes": [lane | {"step": 30} for lane in header["lanes"]]},
}


@pytest.mark.parametrize("change", ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_not_the_programs_do_not_fit(saved, tmp_path, change):
    content, program = saved
    (found,) = checkpoint.load(Workdir.at(folder_with(sealed(content, change), root=tmp_path)))
    assert not checkpoint.fits(found, program)


def bits(workdir):
    return {row["run_id"]: {**row, "provenance": ""} for row in store.read(workdir).to_pylist()}


def test_damage_of_all_kinds_costs_time_only_and_a_finished_sweep_leaves_nothing(saved, toy, tmp_path, capfd):
    content, _ = saved
    whole, workdir = tmp_path / "whole", tmp_path / "damaged"
    sweeps.run(toy, SEEDS, whole, quiet=True, **FAST)
    inflight = workdir / "inflight"
    (inflight / "d.npz").mkdir(parents=True)
    (inflight / "a.block").write_bytes(content[:-1])
    (inflight / "b.npz").write_bytes(b"PK nonsense")
    (inflight / os.fsdecode(b"c\xff.block")).write_bytes(b"")
    for name, change in ARRAYS.items():
        (inflight / f"{name}.block").write_bytes(sealed(content, change))
    sound = lambda header, _: header  # noqa: E731
    (inflight / "good.block").write_bytes(sealed(content, sound))
    (inflight / "copy.block").write_bytes(content)
    (inflight / "wider.block").write_bytes(sealed(content, lambda header, _: header | {"program": "other-w4"}))
    for place in (workdir, inflight, workdir / "runs"):
        place.mkdir(exist_ok=True)
        (place / ".x.0123abcd.tmp").write_text("half")
    (workdir / ".mine.tmp").write_text("the user's")
    capfd.readouterr()
    sweeps.run(toy, SEEDS, workdir, **FAST)
    said = [line for line in capfd.readouterr().err.splitlines() if "set aside" in line]
    assert len(said) == len(set(said)) == len(list((workdir / "damaged").iterdir())) == 4 + len(ARRAYS)
    assert all("its runs start anew" in line for line in said)
    assert bits(workdir) == bits(whole)
    assert list(inflight.iterdir()) == []
    assert [path.name for path in workdir.rglob("*.tmp")] == [".mine.tmp"]


def test_blocks_stay_until_all_runs_are_stored(saved, toy, tmp_path):
    content, _ = saved
    (tmp_path / "inflight").mkdir()
    other = tmp_path / "inflight" / "wider.block"
    other.write_bytes(sealed(content, lambda header, _: header | {"program": "other-w4"}))
    endless = sweeps.product(sweeps.fixed("training.steps", 10**6), sweeps.seeds(2))
    sweeps.run(toy, endless, tmp_path, quiet=True, stop_after_hours=1e-6, **FAST)
    assert other.exists()
    assert checkpoint.running(Workdir.at(tmp_path))


@pytest.mark.slow
def test_3000_flipped_bits(saved):
    rng = np.random.default_rng(0)
    for bit in rng.integers(8 * len(saved[0]), size=3000):
        flipped = bytearray(saved[0])
        flipped[bit // 8] ^= 1 << bit % 8
        assert is_set_aside(folder_with(flipped))


def test_a_flipped_bit_of_the_digest_itself_is_noticed(saved):
    content, _ = saved
    for place in (0, 13, 31):
        flipped = bytearray(content)
        flipped[len(checkpoint.MAGIC) + place] ^= 1
        assert is_set_aside(folder_with(flipped))
