"""Result sets put together, looked at and examined: nothing is lost, doubled or decided in silence."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import Program
from pyarrow import fs

import sweeps
from jaxgen import FieldError
from jaxgen.kernel import Result
from sweeps.storage import files, launches, merge, status, store, weights
from sweeps.storage.errors import TryAgain
from sweeps.storage.workdir import Workdir

AXES = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1]), sweeps.seeds(6))


def result(toy, seed, ends=0):
    run = toy.override({"seed": seed})
    curves = {"step": np.arange(3, dtype=np.int32), "test/accuracy": np.array([np.nan, -0.0, seed], np.float32)}
    return Result(run.run_id, run, "finished", 2, seed + 100 * ends, curves)


def put(workdir, *results):
    workdir.runs.mkdir(parents=True, exist_ok=True)
    return store.write(workdir.runs, store.table((one, '{"w": 1}') for one in results), 0, workdir.owner)


@pytest.fixture
def sweep(toy, tmp_path):
    def make(name="sweep", axes=AXES):
        held = Workdir.at(tmp_path / name)
        (tmp_path / name).mkdir(exist_ok=True)
        held.write_specification("mine", toy, axes, {})
        return held

    return make


def rows(workdir):
    return {row["run_id"]: merge.bits(row) for row in store.read(workdir).to_pylist()}


def test_small_shards_become_one_and_those_of_workers_stay(toy, sweep):
    held = sweep()
    workers = [held.owned((i, 3)) for i in range(3)]
    for seed, worker in enumerate((*workers, *workers)):
        put(worker, result(toy, seed))
    before = rows(held)
    with workers[1].locked():
        done = merge.compact(held)
    assert (done.read, done.written, done.runs, done.apart, done.aside) == (4, 1, 4, (), ())
    names = sorted(path.name for path in store.shards(held))
    assert len(names) == 3
    assert sum("1of3" in name for name in names) == 2
    assert rows(held) == before
    assert merge.compact(held).written == 1
    assert len(store.shards(held)) == 1
    assert rows(held) == before
    assert merge.compact(held).written == 0
    with held.locked(), pytest.raises(TryAgain, match="in use by a launch of the whole sweep"):
        merge.compact(held)


def test_a_merge_that_dies_before_it_removes_what_it_merged_doubles_nothing(toy, sweep, monkeypatch):
    held = sweep()
    for seed in range(3):
        put(held.owned((seed, 3)), result(toy, seed))
    before = rows(held)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            merge.compact(held)
    assert len(store.shards(held)) == 4
    assert rows(held) == before
    merge.compact(held)
    assert len(store.shards(held)) == 1
    assert rows(held) == before


def test_a_run_with_other_bits_is_named_and_lies_apart(toy, sweep):
    held = sweep()
    first = put(held, result(toy, 0), result(toy, 1))
    same, other = put(held.owned((0, 2)), result(toy, 0)), put(held.owned((1, 2)), result(toy, 1, ends=1))
    found = status.examine(held)
    assert (found.repeated, found.sound) == (1, False)
    assert found.differing == {result(toy, 1).run_id: sorted([first, other])}
    taken = rows(held)
    done = merge.compact(held)
    assert done.apart == (result(toy, 1).run_id,)
    assert rows(held) == taken
    (apart,) = (held.root / "apart").iterdir()
    table = pq.read_table(apart)
    assert table["run_id"].to_pylist() == [result(toy, 1).run_id]
    kept = store.read(held, ["checksum"], {result(toy, 1).run_id})["checksum"].to_pylist()
    assert sorted(kept + table["checksum"].to_pylist()) == [1, 101]
    assert status.examine(held).sound
    assert not same.exists()


sets = st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=3)


def test_a_union_is_of_sets(toy, tmp_path_factory):
    @settings(max_examples=15, deadline=None)
    @given(sets)
    def check(parts):
        folder = tmp_path_factory.mktemp("sets")
        held = [Workdir(folder / f"{i}") for i in range(len(parts))]
        for workdir, seeds in zip(held, parts):
            workdir.root.mkdir()
            workdir.write_specification("mine", toy, sweeps.sweep("seed", sorted(seeds)), {})
            for seed in seeds:
                put(workdir, result(toy, seed))
        done = merge.unite(held, Workdir(folder / "out"))
        whole = {result(toy, seed).run_id for seeds in parts for seed in seeds}
        assert store.stored_ids(folder / "out") == whole
        assert done.runs == len(whole) == sum(map(len, map(pq.read_table, store.shards(folder / "out"))))
        assert done.apart == ()
        specification = sweeps.Results(folder / "out").specification
        assert set(specification["axes"]["seed"]) == set().union(*parts)

    check()


def test_what_is_united_comes_with_its_weights_widths_launches_and_parents(toy, sweep, tmp_path):
    held = [sweep("a"), sweep("b", sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.5]), sweeps.seeds(2)))]
    for number, workdir in enumerate(held):
        put(workdir, result(toy, number), result(toy, 5, ends=number))
        workdir.write_widths({"p": {"lanes": 3, "by": "asked"}})
        launches.Launch(workdir, AXES, 2, 0)
        weights.save(workdir, f"{number}", {"w": np.ones(2)})
    (tmp_path / "b" / "parents").mkdir()
    held[1].parents.write_specification("mine", toy, AXES, {})
    put(held[1].parents, result(toy, 9))
    out = Workdir(tmp_path / "out")
    done = merge.unite(held, out)
    assert (done.runs, done.apart) == (3, (result(toy, 5).run_id,))
    assert store.read(out, ["checksum"], {result(toy, 5).run_id})["checksum"].to_pylist() == [5]
    assert weights.run_ids(out) == {"0", "1"}
    assert out.written_widths() == {"p": {"lanes": 3, "by": "asked"}}
    found = out.read_specification()
    assert (found["axes"]["optimizer.weight_decay"], found["runs"], "sweep" in found) == ([0.1, 0.5], 3, False)
    assert len(launches.read(out)) == 2
    assert store.stored_ids(out.parents) == {result(toy, 9).run_id}
    with pytest.raises(FieldError, match="holds a sweep already"):
        merge.unite(held, out)


def test_other_sweeps_are_not_united(toy, sweep, tmp_path):
    other = Workdir(tmp_path / "other")
    other.root.mkdir()
    with pytest.raises(FieldError, match="holds no sweep"):
        merge.unite([sweep(), other], Workdir(tmp_path / "out"))
    other.write_specification("mine", toy.override({"model.width": 24}), AXES, {})
    with pytest.raises(FieldError, match=r"model.width = 24, not 12, in .*sweep"):
        merge.unite([sweep(), other], Workdir(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_doctor_finds_what_is_damaged_and_who_has_to_be_trained_again(toy, sweep, capfd):
    held = sweep()
    bad, gone = put(held, result(toy, 0), result(toy, 1)), put(held, result(toy, 2))
    put(held.owned((0, 2)), result(toy, 1))
    content = bytearray(bad.read_bytes())
    content[-1:] = b"\n"  # of the magic at its end: unreadable
    bad.write_bytes(content)
    renamed = gone.with_name(gone.name.replace("L0-", "L0-0"))
    gone.rename(renamed)  # readable, and not what its name says
    (held.root / "inflight").mkdir()
    (held.root / "inflight" / "x.block").write_bytes(b"x")
    (held.root / "runs" / "notes.txt").write_text("mine")
    (held.root / "runs" / f".x.{'0' * 8}.tmp").write_text("left over")
    found = status.examine(held)
    assert found.damaged == {bad: None, renamed: [result(toy, 2).run_id]}
    assert (found.runs, found.shards, found.sound) == (1, 1, False)
    assert [path.name for path in (*found.lanes, *found.strangers, *found.leftovers)] == [
        "x.block", "notes.txt", ".x.00000000.tmp"
    ]  # fmt: skip
    assert Program("doctor")(str(held)) == 1
    said = capfd.readouterr().out
    assert f"{renamed} is damaged: 1 run ({result(toy, 2).run_id}) is to be trained again" in said
    assert f"{bad} is damaged: unknown runs are to be trained again" in said
    assert Program("merge")(str(held)) == 0
    assert "set aside" in capfd.readouterr().out
    assert store.stored_ids(held) == {result(toy, 1).run_id}


def test_status_counts_runs_and_tells_of_workers(toy, sweep, capfd, monkeypatch):
    held = sweep()
    put(held, result(toy, 0), result(toy, 1))
    workers = [held.owned((i, 3)) for i in range(2)]
    launches.Launch(workers[0], AXES, 2, 1).write(trained=1, left_seconds=90, ended="all stored")
    launches.Launch(workers[1], AXES, 2, 0).write(trained=1, left_seconds=200)
    with workers[1].locked():
        found = status.look(held)
        assert Program("status")(str(held)) == 75
    assert (found.runs, found.stored, found.running, found.waiting) == (6, {"finished": 2}, 0, 4)
    assert [(w.share, w.at_work, w.own_runs, w.done, w.ended) for w in found.workers] == [
        ("0of3", False, 2, 2, "all stored"),
        ("1of3", True, 2, 1, ""),
    ]
    assert found.left_seconds == 200
    said = capfd.readouterr().out
    assert said.startswith("mine: 2 of 6 runs are stored (2 finished), 0 in training when lanes were last saved")
    assert ", 4 wait; about 3 min 20 s left" in said
    assert "1/3" in said
    put(held, *(result(toy, seed) for seed in range(6)))
    assert Program("status")(str(held)) == 0


def test_runs_are_counted_once_where_a_launch_has_told_how_many_there_are(toy, sweep):
    held = sweep()  # six points
    launches.Launch(held, AXES, 5, 0).write(ended="all stored")
    put(held, *(result(toy, seed) for seed in range(5)))
    assert (status.look(held).runs, status.look(held).waiting) == (5, 0)
    launches.Launch(held, AXES, 2, 2).write(ended="all stored")  # of one claim
    assert (status.look(held).runs, status.look(held).waiting) == (5, 0)
    assert Program("status")(str(held)) == 0
    other = sweep()
    for i, own in ((0, 2), (1, 3)):
        launches.Launch(other.owned((i, 2)), AXES, own, 0)
    launches.Launch(other.owned((0, 4)), AXES, 1, 0)
    assert status.look(other).runs == 5


def test_a_damaged_shard_counts_as_not_stored_and_is_told(toy, sweep, capfd):
    held = sweep()
    put(held, result(toy, 0), result(toy, 1))
    put(held, result(toy, 2))
    largest = max(store.shards(held), key=lambda path: store.ids_of(path) != [result(toy, 2).run_id])
    largest.write_bytes(largest.read_bytes()[:-100])
    found = status.look(held)
    assert (found.stored, found.waiting, found.damaged) == ({"finished": 1}, 5, 1)
    assert Program("status")(str(held)) == 75
    assert "1 shards cannot be read" in capfd.readouterr().out


def test_on_an_object_store_a_worker_is_at_work_while_it_writes(toy):
    held = Workdir.on(fs._MockFileSystem(), "bucket/sweep")
    with held.locked():
        pass
    held.write_specification("mine", toy, AXES, {})
    workers = [held.owned((i, 3)) for i in range(3)]
    for worker in workers:
        told = launches.Launch(worker, AXES, 2, 0)
    told.write(ended="all stored")
    path = files.listed(held.launches, "0of3-*")[0]
    long_ago = json.loads(path.read_text()) | {"updated": "2020-01-01T00:00:00+00:00"}
    path.write_bytes(json.dumps(long_ago).encode())
    assert launches.holders(held) == {"1of3"}
    for worker in (workers[0], workers[0], workers[1], workers[2]):
        put(worker, result(toy, len(store.shards(held))))
    before = rows(held)
    assert merge.compact(held).written == 1
    assert sorted(path.name[:7] for path in store.shards(held))[0] == "L0-1of3"
    assert len(store.shards(held)) == 2
    assert rows(held) == before


def test_programs_say_what_they_are_given_wrong(tmp_path, capfd):
    for name, arguments, said in (
        ("status", [], "give WORKDIR"),
        ("status", ["a", "b"], "unexpected argument 'b'"),
        ("status", [str(tmp_path)], "holds no sweep"),
        ("doctor", [str(tmp_path)], "holds no sweep"),
        ("merge", [], "give WORKDIR"),
        ("merge", ["a", "b"], "--out=NEW"),
        ("merge", ["a", "b", f"--out={tmp_path / 'c'}"], "holds no sweep"),
    ):
        assert Program(name)(*arguments) == 2
        assert said in capfd.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_launch_that_cannot_be_read_is_named(toy, sweep, capfd):
    held = sweep()
    put(held, result(toy, 0))
    held.launches.mkdir()
    (held.launches / "all-1.json").write_text('{"broken')
    assert status.examine(held).launches == [held.launches / "all-1.json"]
    assert Program("doctor")(str(held)) == 1
    assert f"{held.launches / 'all-1.json'} is damaged" in capfd.readouterr().out


def test_in_what_united_sweeps_differ_is_said(toy, sweep, tmp_path, capfd):
    finer = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 0.5]), sweeps.seeds(6))
    held = [sweep("a"), sweep("b", finer), sweep("c", sweeps.product(AXES, sweeps.sweep("task.p", [5, 7])))]
    held[2].write_specification("mine", toy, AXES, {"threshold": 0.5})
    for number, workdir in enumerate(held):
        put(workdir, result(toy, number))
    assert Program("merge")(*map(str, held), f"--out={tmp_path / 'all'}") == 0
    assert capfd.readouterr().out.splitlines() == [
        f"{held[1]}: has optimizer.weight_decay = 0.1, 0.5, not 0.1: the union has both",
        f"{held[2]}: has the definition {{'threshold': 0.5}}, not {{}}: the first is kept",
        f"{tmp_path / 'all'}: 3 runs of 3 shards are in 1 now",
    ]
    assert merge.unite([held[0], held[0]], Workdir(tmp_path / "same")).unlike == ()


@pytest.mark.parametrize("name", ["status", "doctor"])
def test_a_workdir_is_an_argument_or_a_flag(name, toy, sweep, capfd):
    held = sweep()
    put(held, *(result(toy, seed) for seed in range(6)))
    for arguments in ([f"--workdir={held}"], ["--workdir", str(held)], [str(held)]):
        assert Program(name)(*arguments) == 0
    capfd.readouterr()
    assert Program(name)(str(held), f"--workdir={held}") == 2
    assert "one WORKDIR is looked at" in capfd.readouterr().err
