"""A sweep at a server that speaks S3: trained, stopped, continued, killed, looked at, merged and drawn."""

import random
import re
import signal
import time

import children
import pyarrow.parquet as pq
import pytest
import s3
from programs import Program
from trials import MANY, Tally, all_rows, continued, train

import sweeps
from jaxgen import FieldError
from sweeps.report.provenance import replay_command
from sweeps.storage import checkpoint, files, status, store
from sweeps.storage.workdir import Workdir

THREADS = 4
AXES = "optimizer.weight_decay", "training.steps"


@pytest.fixture(scope="module")
def environment():
    with s3.served() as environment:
        yield environment


def test_a_sweep_is_stopped_continued_looked_at_and_drawn(environment, whole, capfd, tmp_path):
    where = "s3://bucket/one/sweep"
    train(where, stop_after_hours=1e-9)
    assert checkpoint.running(Workdir.at(where))
    assert Program("status")(where) == 75
    results = train(where)
    assert all_rows(where) == all_rows(whole)
    assert files.listed(Workdir.at(where).inflight, "*.block") == []
    assert Program("status")(where) == 0
    assert Program("doctor")(where) == 0
    assert Program("merge")(where) == 0
    assert "6 runs of" in capfd.readouterr().out
    assert len(store.shards(where)) == 1
    assert all_rows(where) == all_rows(whole)
    local = sweeps.Results(whole).phase_diagram(*AXES)
    assert results.phase_diagram(*AXES).cell_table().equals(local.cell_table())
    flags = [f"--workdir={where}", f"--out={tmp_path}", f"--x={AXES[0]}", f"--y={AXES[1]}"]
    assert Program("phase_diagram")(*flags) == 0
    assert (tmp_path / "report.html").exists()
    run_id = results.runs["run_id"][0]
    assert Program("replay")(f"--workdir={where}", f"--run_id={run_id}") == 0


def test_two_shares_in_two_processes_are_united_with_a_workdir_on_disk(environment, whole, context, tmp_path):
    where = "s3://bucket/two/sweep"
    workers = [context.Process(target=children.train_share, args=(where, (i, 2), environment)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert all_rows(where) == all_rows(whole)
    assert {store.share_of(path) for path in store.shards(where)} == {"0of2", "1of2"}
    assert Program("merge")(where, str(whole), f"--out={tmp_path / 'both'}") == 0
    assert all_rows(tmp_path / "both") == all_rows(whole)
    assert Program("merge")(where, str(whole), "--out=s3://bucket/two/both") == 0
    assert all_rows("s3://bucket/two/both") == all_rows(whole)


def test_an_endpoint_in_the_uri_stays_in_every_command(environment, whole, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    where = f"s3://bucket/three/sweep?endpoint_override={environment['AWS_ENDPOINT_URL']}"
    results = train(where)
    assert all_rows(where) == all_rows(whole)
    assert str(results.workdir) == where
    (said,) = re.findall(r"--workdir='(.*?)'", replay_command(results, ""))
    assert sweeps.Results(said).run_ids == sweeps.Results(where).run_ids
    assert str(Workdir.at(where).runs) == where.replace("sweep?", "sweep/runs?")
    assert str(Workdir.at(where).parents.runs.parent) == where.replace("sweep?", "sweep/parents?")


def test_a_password_in_a_uri_is_refused_and_not_said(environment):
    where = f"s3://me:hidden@bucket/four?endpoint_override={environment['AWS_ENDPOINT_URL']}"
    with pytest.raises(FieldError, match=r"s3://…@bucket/four.*has a password in it") as caught:
        train(where)
    assert "hidden" not in str(caught.value)


def test_what_the_server_refuses_is_one_line(environment, monkeypatch):
    with pytest.raises(FieldError, match=r"nobucket/sweep cannot be written .*use another directory"):
        train("s3://nobucket/sweep")
    with pytest.raises(FieldError, match=r"cannot be reached \(Unexpected query parameter in S3 URI: 'nonsense'\)"):
        train("s3://bucket/sweep?nonsense=3")


def test_a_damaged_object_is_noticed_and_trained_again(environment, whole):
    where = Workdir.at("s3://bucket/five/sweep")
    train(where)
    path = store.shards(where)[0]
    path.write_bytes(path.read_bytes()[:-9])
    assert not status.examine(Workdir.at(where)).sound
    continued(where)
    assert status.examine(where).sound
    assert all_rows(where) == all_rows(whole)
    for path in store.shards(where):
        assert len(pq.read_table(store.source(path)))


@pytest.mark.parametrize("count", [1, pytest.param(MANY, marks=pytest.mark.faults)])
def test_a_worker_that_is_killed(count, trials, context, environment):
    kind = "kill -9 of a worker at an S3 server"
    tally, seed, middle, begun = Tally(kind, ""), 0, 0, time.monotonic()
    while tally.trials < count:
        folder, rng = f"s3://bucket/killed/{seed}", random.Random(seed)
        left, code = children.killed(context, rng, folder, THREADS, (0, 2), environment=environment)
        assert code == -signal.SIGKILL
        seed += 1
        for place in left:
            held = Workdir.at(place)
            if held.read_specification() is None:  # it was about to be made
                continue
            middle += bool(checkpoint.running(held))
            continued(place, share=(0, 2))
            continued(place)
            assert files.listed(held.inflight, "*") == []
            tally.add(held, trials.wholes)
    tally.how = f"real: {seed} processes, {THREADS} sweeps each; {middle} sweeps in mid-training; moto's server"
    tally.seconds = time.monotonic() - begun
    trials.told(tally, count)
