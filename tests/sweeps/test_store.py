import errno
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxgen.kernel import Result
from sweeps import files, store


def result(experiment, seed, evaluations=5):
    run = experiment.override({"seed": seed})
    rng = np.random.default_rng(seed)
    names = ("train/accuracy", "test/accuracy", "train/loss")
    curves = {name: rng.random(evaluations).astype(np.float32) for name in names}
    steps = np.arange(evaluations, dtype=np.int32) * 10
    return Result(run.run_id, run, "finished", int(steps[-1]), seed, {"step": steps, **curves})


def write(workdir, results):
    with store.Writer(workdir) as writer:
        for r in results:
            writer.put(r, '{"width": 1}')


def test_what_is_written_is_read_back(toy, tmp_path):
    results = [result(toy, s, evaluations=2 + s) for s in range(5)]
    write(tmp_path, results)
    rows = {r["run_id"]: r for r in store.read(tmp_path).to_pylist()}
    assert rows.keys() == {r.run_id for r in results}
    for r in results:
        row = rows[r.run_id]
        assert (row["status"], row["steps"], row["checksum"], row["seed"]) == (
            "finished",
            r.steps,
            r.checksum,
            r.checksum,
        )
        assert row["experiment"] == r.experiment.to_json()
        assert row["task.p"] == 7
        assert row["optimizer.weight_decay"] == 0.1
        for name, curve in r.curves.items():
            np.testing.assert_array_equal(np.array(row[f"curve/{name}"], curve.dtype), curve)
        assert row["final/train/loss"] == r.curves["train/loss"][-1]


def test_a_run_written_twice_counts_once(toy, tmp_path):
    write(tmp_path, [result(toy, 0), result(toy, 1)])
    write(tmp_path, [result(toy, 1), result(toy, 2)])
    assert len(store.read(tmp_path)) == 3
    assert len(store.stored_ids(tmp_path)) == 3


def test_many_small_shards_become_few(toy, tmp_path):
    for seed in range(store.MERGE + 3):
        write(tmp_path, [result(toy, seed)])
    assert len(store.shards(tmp_path)) < 10
    assert len(store.read(tmp_path)) == store.MERGE + 3


def test_runs_of_different_structure_share_a_table(toy, tmp_path):
    import jaxgen as jg

    other = toy.override({"optimizer": jg.optimizers.SGD(momentum=0.5)})
    write(tmp_path, [result(toy, 0), result(other, 1)])
    write(tmp_path, [result(other, 2)])
    rows = {r["seed"]: r for r in store.read(tmp_path).to_pylist()}
    assert rows[0]["optimizer.momentum"] is None
    assert rows[2]["optimizer.momentum"] == 0.5
    assert rows[2]["optimizer.b1"] is None


def test_only_the_columns_asked_for_are_read(toy, tmp_path):
    write(tmp_path, [result(toy, 0)])
    assert store.read(tmp_path, ["steps", "absent"]).schema.names == ["run_id", "steps"]


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip"])
def test_damaged_shards_are_set_aside(toy, tmp_path, damage):
    write(tmp_path, [result(toy, s) for s in range(3)])
    write(tmp_path, [result(toy, 7)])
    (bad,) = [p for p in store.shards(tmp_path) if toy.override({"seed": 7}).run_id not in _ids(p)]
    data = bytearray(bad.read_bytes())
    if damage == "flip":
        data[len(data) // 3] ^= 0xFF
    bad.write_bytes({"truncate": data[: len(data) // 2], "empty": b"", "flip": data}[damage])
    assert store.set_damaged_aside(tmp_path) == [bad]
    assert store.stored_ids(tmp_path) == {toy.override({"seed": 7}).run_id}
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def _ids(path):
    return pq.read_table(path, columns=["run_id"])["run_id"].to_pylist()


def test_reading_a_damaged_shard_names_it(toy, tmp_path):
    write(tmp_path, [result(toy, 0)])
    (shard,) = store.shards(tmp_path)
    shard.write_bytes(b"PAR1 nonsense")
    with pytest.raises(store.StoreError, match=shard.name):
        store.read(tmp_path)


def test_disk_full_is_said_and_leaves_nothing_half_written(toy, tmp_path, monkeypatch):
    write(tmp_path, [result(toy, 0)])
    before = sorted(tmp_path.rglob("*"))

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(store.StoreError, match="disk full"):
        write(tmp_path, [result(toy, 1)])
    monkeypatch.undo()
    assert sorted(tmp_path.rglob("*")) == before
    assert len(store.read(tmp_path)) == 1


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    files.write_text(path, "old")

    def crash(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, crash)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_crash_while_shards_are_merged_loses_none(toy, tmp_path, monkeypatch):
    for seed in range(store.MERGE - 1):
        write(tmp_path, [result(toy, seed)])
    whole = store.Writer._write

    def crash(self, data, level):
        if level:
            raise OSError(errno.EIO, "pulled out")
        whole(self, data, level)

    monkeypatch.setattr(store.Writer, "_write", crash)
    with pytest.raises(store.StoreError, match="pulled out"):
        write(tmp_path, [result(toy, store.MERGE)])
    assert len(store.read(tmp_path)) == store.MERGE
    monkeypatch.undo()
    write(tmp_path, [result(toy, store.MERGE + 1)])
    assert len(store.read(tmp_path)) == store.MERGE + 1
    assert len(store.shards(tmp_path)) == 1


def test_a_file_is_durable_before_it_has_its_name_and_its_name_is_then(tmp_path, monkeypatch):
    done, path = [], tmp_path / "x"
    sync, replace = os.fsync, os.replace

    def said(file):
        number = file if isinstance(file, int) else file.fileno()
        done.append(os.readlink(f"/proc/self/fd/{number}"))
        sync(file)

    monkeypatch.setattr(files.os, "fsync", said)
    monkeypatch.setattr(files.os, "replace", lambda a, b: (replace(a, b), done.append("named"))[0])
    files.write_text(path, "text")
    assert len(done) == 3
    assert done[0].startswith(str(tmp_path / ".x."))
    assert done[1:] == ["named", str(tmp_path)]
