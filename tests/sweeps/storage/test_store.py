import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgen.kernel import Result
from sweeps.storage import files, store


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


def test_of_shards_without_the_runs_asked_for_only_their_ids_are_read(toy, tmp_path, monkeypatch):
    other = result(toy.override({"model.width": 8}), 5)
    other.curves["extra"] = other.curves["train/loss"]
    for batch in ([result(toy, 0), result(toy, 1)], [result(toy, 2), result(toy, 3)], [result(toy, 4), other]):
        write(tmp_path, batch)
    whole, wanted, decoded = store.read(tmp_path), {result(toy, 2).run_id}, []
    for name in ("read", "read_row_group", "read_row_groups"):
        monkeypatch.setattr(pq.ParquetFile, name, counting(getattr(pq.ParquetFile, name), decoded))
    found = store.read(tmp_path, run_ids=wanted)
    columns = len(whole.schema)  # of which the last shard alone has two
    assert sorted(decoded) == [(0, columns - 2), (0, columns), *[(2, 1)] * 3, (2, columns - 2)]
    expected = whole.filter(pa.compute.is_in(whole["run_id"], pa.array(wanted)))
    assert found.select(whole.schema.names).to_pylist() == expected.to_pylist()
    assert found.schema.equals(whole.schema)


def counting(read, decoded):
    """The method of a Parquet file, which notes the rows and columns that it decodes."""

    def reading(self, *arguments, **options):
        found = read(self, *arguments, **options)
        decoded.append(found.shape)
        return found

    return reading


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


@pytest.fixture(scope="module")
def shard():
    """A shard of three runs: its name, its content."""
    import jaxgen as jg

    toy = jg.Experiment(
        jg.tasks.ModularAddition(p=7), jg.models.QuadraticMLP(width=4), jg.losses.CrossEntropy(), jg.optimizers.SGD()
    )
    with tempfile.TemporaryDirectory() as folder:
        results = [(result(toy, seed), "{}") for seed in range(3)]
        path = store.write(Path(folder), store.table(results), 0)
        return path.name, path.read_bytes()


def is_noticed(name, content):
    """Whether readers name the file, raising nothing else, and a launch sets it aside."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs" / name
        path.parent.mkdir()
        path.write_bytes(content)
        said = []
        for look in (store.read, store.columns, lambda workdir: store.read(workdir, ["steps", "curve/train/loss"])):
            try:
                look(folder)
            except store.StoreError as error:
                said.append(str(error))
        assert len(said) == 3
        assert all(text.startswith(str(path.parent)) and "\n" not in text for text in said)
        assert store.stored_ids(folder) == set()
        return store.set_damaged_aside(folder) == [path] and not list(path.parent.iterdir())


def test_a_flipped_bit_of_a_shard_is_noticed(shard):
    name, content = shard
    footer = 8 + int.from_bytes(content[-8:-4], "little")

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 8 * len(content) - 1) | st.integers(8 * (len(content) - footer), 8 * len(content) - 1))
    def check(bit):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        assert is_noticed(name, flipped)

    check()


def test_truncated_and_foreign_shards_are_noticed(shard):
    name, content = shard

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(content) - 1), st.binary(max_size=60))
    def check(length, tail):
        if content[:length] + tail != content:
            assert is_noticed(name, content[:length] + tail)
        assert is_noticed("L0-foreign.parquet", tail)

    check()
    assert is_noticed("L0-foreign.parquet", content)


def test_a_shard_whose_values_were_changed_is_not_read(toy, tmp_path):
    write(tmp_path, [result(toy, 0)])
    (shard,) = store.shards(tmp_path)
    rows = pq.read_table(shard)
    changed = rows.set_column(rows.column_names.index("steps"), "steps", pa.array([7]))
    pq.write_table(changed, shard, write_page_checksum=True)
    with pytest.raises(store.StoreError, match=f"{shard.name}.*not what its name says"):
        store.read(tmp_path)


def test_directories_and_links_named_like_shards_are_set_aside(toy, tmp_path):
    write(tmp_path, [result(toy, 0)])
    folder, link = tmp_path / "runs" / "L0-x.parquet", tmp_path / "runs" / "L0-y.parquet"
    for make, path in ((folder.mkdir, folder), (lambda: link.symlink_to("nowhere"), link)):
        make()
        for look in (store.read, store.columns):
            with pytest.raises(store.StoreError, match=path.name):
                look(tmp_path)
        assert len(store.stored_ids(tmp_path)) == 1
        assert store.set_damaged_aside(tmp_path) == [path]
    assert len(store.read(tmp_path)) == 1


def test_a_table_of_something_else_is_no_result_set(tmp_path):
    (tmp_path / "runs").mkdir()
    pq.write_table(pa.table({"run_id": [1, 2], "steps": [3, 4]}), tmp_path / "runs" / "L0-x.parquet")
    with pytest.raises(store.StoreError, match="L0-x"):
        store.read(tmp_path)


@pytest.mark.parametrize("look", [store.read, store.columns])
def test_a_shard_that_is_merged_meanwhile_is_read_in_the_other(toy, tmp_path, monkeypatch, look):
    write(tmp_path, [result(toy, 0)])
    before, found = look(tmp_path), store.shards(tmp_path)
    gone = found[0].with_name("L0-gone.parquet")
    answers = iter([[gone, *found], found])
    monkeypatch.setattr(store, "shards", lambda _: next(answers))
    assert look(tmp_path) == before


@pytest.mark.slow
def test_2000_damaged_shards(shard):
    name, content = shard
    rng = np.random.default_rng(0)
    for _ in range(2000):
        start, size = rng.integers(len(content)), rng.integers(1, 50)
        damaged = content[:start] + rng.bytes(size) + content[start + size :]
        assert damaged == content or is_noticed(name, damaged)


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


def test_what_killed_writers_left_is_removed_and_what_is_being_written_stays(tmp_path):
    left = tmp_path / ".x.0123abcd.tmp"
    left.write_text("half")
    (tmp_path / ".mine.tmp").write_text("the user's")

    def write_half(temporary):
        temporary.write_text("new")
        files.clear_temporaries(tmp_path)
        assert not left.exists()

    files.write_atomically(tmp_path / "x", write_half)
    assert (tmp_path / "x").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", "x"]


def test_a_crash_while_shards_are_merged_loses_none(toy, tmp_path, monkeypatch):
    for seed in range(store.MERGE - 1):
        write(tmp_path, [result(toy, seed)])
    whole = store.write

    def crash(folder, data, level, *owner):
        if level:
            raise OSError(errno.EIO, "pulled out")
        return whole(folder, data, level, *owner)

    monkeypatch.setattr(store, "write", crash)
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
