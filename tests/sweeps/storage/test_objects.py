"""A sweep on a file system that is not this machine's: in memory here, as `gs://` and `s3://` are."""

from types import SimpleNamespace

import numpy as np
import pytest
from pyarrow import fs

import sweeps
from jaxgen import FieldError
from jaxgen.kernel import Result
from sweeps.execution.replay import replay
from sweeps.report.provenance import replay_command
from sweeps.storage import checkpoint, files, store, weights
from sweeps.storage.objects import Object
from sweeps.storage.workdir import Workdir
from sweeps.studies.refine import Rounds, refine

FAST = {"width": 2, "intervals": 2, "devices": 1, "quiet": True}
DECAY = sweeps.sweep("optimizer.weight_decay", [0.1, 1.0])
SWEEP = sweeps.product(DECAY, sweeps.sweep("optimizer.learning_rate", [0.01, 0.02]), sweeps.seeds(2))


def mock():
    return fs._MockFileSystem()


def memory():
    return fs.PyFileSystem(fs.FSSpecHandler(pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem()))


@pytest.fixture(params=[mock, memory])
def remote(request):
    filesystem = request.param()
    yield Workdir.on(filesystem, "bucket/sweep")
    filesystem.delete_dir_contents("bucket", missing_dir_ok=True)


def write(workdir, toy, seeds):
    with store.Writer(workdir) as writer:
        for seed in seeds:
            run = toy.override({"seed": seed})
            curves = {"step": np.arange(3, dtype=np.int32), "test/accuracy": np.random.default_rng(seed).random(3, "f")}
            writer.put(Result(run.run_id, run, "finished", 2, seed, curves), "{}")


def bits(workdir):
    """The stored table, but for what trained it when."""
    return store.read(workdir).sort_by("run_id").drop_columns("provenance").to_pylist()


def test_what_is_written_is_read_back_and_has_the_names_and_bytes_of_a_local_one(toy, tmp_path, remote):
    for workdir in (tmp_path, remote):
        write(workdir, toy, [0])
        write(workdir, toy, [1])
    shards = store.shards(remote)
    assert {path.name: path.read_bytes() for path in shards} == {p.name: p.read_bytes() for p in store.shards(tmp_path)}
    assert store.read(remote).equals(store.read(tmp_path))
    assert store.read(remote, ["steps", "absent"]).schema.names == ["run_id", "steps"]
    assert store.stored_ids(remote) == store.stored_ids(tmp_path)
    assert store.columns(remote) == store.columns(tmp_path)
    assert store.strangers(remote) == []
    files.write_text(remote.runs / "notes.txt", "mine")
    assert list(map(str, store.strangers(remote))) == [f"{remote}/runs/notes.txt"]


def test_many_small_shards_become_few(toy, remote, monkeypatch):
    monkeypatch.setattr(store, "MERGE", 4)
    for seed in range(6):
        write(remote, toy, [seed])
    assert len(store.shards(remote)) == 3
    assert len(store.read(remote)) == 6


def test_damaged_shards_are_not_read_and_set_aside(toy, remote):
    write(remote, toy, [0])
    write(remote, toy, [1])
    bad = store.shards(remote)[0]
    content = bytearray(bad.read_bytes())
    content[len(content) // 3] ^= 1
    bad.write_bytes(content + b" ")
    for look in (store.read, store.columns):
        with pytest.raises(store.StoreError, match=bad.name):
            look(remote)
    assert len(store.stored_ids(remote)) == 1
    assert store.set_damaged_aside(remote) == [bad]
    assert len(store.read(remote)) == 1
    assert len(files.listed(remote.damaged, "*")) == 1


def test_what_another_process_removes_meanwhile_is_no_error(remote):
    remote.set_aside(remote.inflight / "gone.block")
    (remote.inflight / "gone.block").unlink(missing_ok=True)
    assert files.listed(remote.damaged, "*") == []


def test_weights_are_read_back(remote):
    arrays = {"a": np.arange(3.0), "b": np.ones((2, 2), np.float32)}
    assert weights.load(remote, "0123") is None
    weights.save(remote, "0123", arrays)
    assert weights.run_ids(remote) == {"0123"}
    found = weights.load(remote, "0123")
    assert all(np.array_equal(found[name], a) and found[name].dtype == a.dtype for name, a in arrays.items())


def test_a_sweep_is_stopped_continued_and_drawn_and_equals_a_local_one(toy, tmp_path, remote):
    axes = "optimizer.weight_decay", "optimizer.learning_rate"
    local = sweeps.run(toy, SWEEP, tmp_path, **FAST)
    stopped = sweeps.run(toy, SWEEP, remote, stop_after_hours=1e-9, **FAST)
    assert len(stopped.runs) < len(SWEEP)
    assert checkpoint.running(remote)
    results = sweeps.run(toy, SWEEP, remote, **FAST)
    assert checkpoint.files(remote) == []
    assert files.listed(remote.root, "*lock*") == []
    assert bits(remote) == bits(tmp_path)
    assert [launch["workers"] for launch in results.specification["launches"]] == [2]
    assert results.phase_diagram(*axes).cell_table().equals(local.phase_diagram(*axes).cell_table())
    run_id = results.runs["run_id"][0]
    assert replay(remote, run_id) == ([], [])
    assert f"--workdir={remote} " in replay_command(results, run_id)


def test_rounds_are_kept_and_another_sweep_is_refused(toy, remote):
    assert not remote.is_refined
    line = {"rounds": Rounds(budget=4, batch=4, seeds=2), **FAST}
    sides = {"optimizer.weight_decay": [0.1, 1.0], "optimizer.learning_rate": [0.01, 0.02]}
    results = refine(toy, sides, remote, **line)
    assert remote.is_refined
    assert results.refined.keys() == sides.keys()
    with pytest.raises(FieldError, match="holds the sweep 'refinement'"):
        sweeps.run(toy, SWEEP, remote, **FAST)


def test_a_file_of_the_users_own_cannot_lie_there(toy, remote):
    with pytest.raises(FieldError, match=r"bucket/sweep.*is not on this machine's disk"):
        remote / "diagram.png"
    with pytest.raises(FieldError, match="is not on this machine's disk"):
        open(remote)  # noqa: SIM115


def test_what_an_object_store_refuses_is_told_before_anything_is_trained(toy, monkeypatch):
    def denied(*_, **__):
        raise OSError("AWS Error ACCESS_DENIED\nduring PutObject")

    workdir = Workdir.on(mock(), "bucket/sweep")
    monkeypatch.setattr(Object, "mkdir", denied)
    with pytest.raises(FieldError, match=r"cannot be written .*ACCESS_DENIED during PutObject.*use another directory"):
        sweeps.run(toy, SWEEP, workdir, **FAST)
    monkeypatch.setattr(Object, "is_file", denied)
    with pytest.raises(FieldError, match=r"cannot be reached .*ACCESS_DENIED"):
        sweeps.run(toy, SWEEP, workdir, **FAST)


def test_a_bucket_and_a_file_are_no_workdir(toy):
    filesystem = mock()
    filesystem.create_dir("bucket")
    files.write_text(Workdir.on(filesystem, "bucket/file").root, "text")
    for path, said in (("bucket", "a folder in a bucket"), ("bucket/file", "is a file")):
        with pytest.raises(FieldError, match=said):
            sweeps.run(toy, SWEEP, Workdir.on(filesystem, path), **FAST)


def test_a_put_that_fails_is_not_completed():
    class Stream:
        closed = False

        def write(self, _):
            raise OSError("no route to host")

        def close(self):
            self.closed = True

    stream = Stream()
    place = Object(SimpleNamespace(open_output_stream=lambda _: stream), "bucket/x", "gs")
    with pytest.raises(OSError, match="no route"):
        place.write_bytes(b"new")
    assert not stream.closed  # closed, a part of it would have the name


@pytest.mark.parametrize("where", ["nowhere://bucket/x", "gs://bucket/a b", "file://host/x", 3, None])
def test_what_is_no_place_is_refused(toy, where):
    with pytest.raises(FieldError, match="workdir"):
        sweeps.run(toy, SWEEP, where, **FAST)
    with pytest.raises(FieldError, match="workdir"):
        sweeps.Results(where)
