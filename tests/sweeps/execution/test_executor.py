"""Shares on a cluster, without one: what is started, tried again, given up; the set is that of one process."""

import contextlib
import re
import signal
import sys

import pytest

import sweeps
from jaxgen import FieldError
from sweeps.execution import executor, task
from sweeps.execution.executor import Ended
from sweeps.execution.options import Options
from sweeps.storage import files, launches, store
from sweeps.storage.errors import StoreError
from sweeps.storage.workdir import Workdir

FAST = {"width": 2, "intervals": 3}
GRID = sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(3))
OWN = """
import flax, jax, jaxgen as jg
@flax.struct.dataclass
class Halved:
    by: float = jg.leaf(2.0, "(0, inf)")
    def __call__(self, outputs, labels):
        return jg.losses.CrossEntropy()(outputs, labels) / self.by
"""


SEEDS = sweeps.seeds(4)
DONE = "stored", ""


def bits(workdir):
    return store.read(workdir).sort_by("run_id").drop_columns("provenance").to_pylist()


class Played:
    """An executor and its cluster: one share at a time in this process, as `play` has it (None: it is trained)."""

    def __init__(self, shares=3, retries=2, play=lambda index, attempt: None, room=2):
        self.shares, self.retries, self.play, self.room = shares, retries, play, room
        self.queue, self.started, self.stopped = [], [], False

    @contextlib.contextmanager
    def cluster(self, workdir):
        yield self

    def start(self, text, index, count):
        self.text = text
        self.queue.append((index, count))
        self.started.append(index)

    def ended(self, seconds):
        if not self.queue:
            return []
        index, count = self.queue.pop(0)
        result = self.play(index, self.started.count(index) - 1)
        return [Ended(index, *(result or task.train(self.text, index, count)))]

    def stop(self):
        self.stopped, self.play = True, lambda index, attempt: ("failed", "it was told to stop")


def unmarked(text):
    """What a share is told where the workdir need not hold a mark."""
    return re.sub(r"[.]seen[.]\w+[.]tmp", "", text)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(executor, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(sys, "argv", ["sweep.py", "--executor=ray"])


def test_shares_of_a_cluster_equal_one_process_though_some_die(toy, tmp_path, capfd):
    whole = sweeps.run(toy, GRID, tmp_path / "whole", quiet=True, **FAST)
    dying = Played(play=lambda index, attempt: ("failed", "it died") if index == 1 and attempt < 2 else None)
    found = sweeps.run(toy, GRID, tmp_path / "shares", executor=dying, **FAST)
    assert (found.run_ids, found.stopped_by) == (whole.run_ids, None)
    assert bits(tmp_path / "shares") == bits(tmp_path / "whole")
    assert sorted(dying.started) == [0, 1, 1, 1, 2]
    assert not dying.stopped
    said = capfd.readouterr().err.splitlines()
    assert "share 1/3: it died; it starts again in 0 s" in said
    assert said[-1].startswith("6/6 runs  3 shares: 3 stored  ")
    told = launches.read(Workdir.at(tmp_path / "shares"))
    assert [one["command"] for one in told] == [["sweep.py", "--executor=ray", f"--share={i}/3"] for i in (0, 2, 1)]
    specifications = [(tmp_path / name / "sweep.json").read_bytes() for name in ("whole", "shares")]
    assert specifications[0] == specifications[1]
    again = Played()
    sweeps.run(toy, GRID, tmp_path / "shares", executor=again, quiet=True, **FAST)
    assert again.started == []  # what is stored needs no cluster


def test_shares_wait_for_what_others_train_and_are_not_tried_before(staged, tmp_path, capfd):
    axes = sweeps.product(sweeps.sweep("start.transforms.0.rate", [0.0, 0.9]), sweeps.seeds(3))
    sweeps.run(staged, axes, tmp_path / "whole", quiet=True, **FAST)
    played = Played(shares=3)
    sweeps.run(staged, axes, tmp_path / "shares", executor=played, **FAST)
    assert bits(tmp_path / "shares") == bits(tmp_path / "whole")
    assert bits(tmp_path / "shares" / "parents") == bits(tmp_path / "whole" / "parents")
    assert sorted(set(played.started)) == [0, 1, 2]
    assert 3 < len(played.started) <= 6  # some had to wait, each once
    assert "waiting for others" in capfd.readouterr().err


def test_what_waits_in_vain_is_not_tried_for_ever(toy, tmp_path):
    vain = Played(shares=2, play=lambda index, attempt: ("waits", "") if index else None)
    results = sweeps.run(toy, SEEDS, tmp_path, executor=vain, quiet=True, **FAST)
    assert sorted(vain.started) == [0, 1, 1]  # once more after another has stored something
    assert len(results.runs) == 2


def test_a_share_that_fails_again_and_again_is_given_up_and_the_others_are_not(toy, tmp_path, capfd):
    failing = Played(shares=2, retries=2, play=lambda index, attempt: ("failed", "it died") if index else None)
    results = sweeps.run(toy, SEEDS, tmp_path, executor=failing, **FAST)
    assert failing.started.count(1) == 3
    assert len(results.runs) == 2
    said = capfd.readouterr().err
    assert "share 1/2: it died; given up after 3 times" in said
    assert "1 given up" in said.splitlines()[-1]


def test_one_that_stores_runs_before_it_fails_is_not_given_up(toy, tmp_path):
    stored_by = {1: 2, 3: 3}  # of 4 quarters of the sweep the two that are half 1's, at which attempt

    def play(index, attempt):
        if index == 0:
            return DONE
        if attempt in stored_by:
            task.train(unstable.text, stored_by[attempt], 4)
        return DONE if attempt == 5 else ("failed", "it died")

    unstable = Played(shares=2, retries=2, play=play)
    results = sweeps.run(toy, SEEDS, tmp_path, executor=unstable, quiet=True, **FAST)
    assert unstable.started.count(1) == 6
    assert len(results.runs) == 2


def test_a_share_that_is_refused_ends_all_with_its_line(toy, tmp_path):
    refused = Played(play=lambda index, attempt: ("refused", "no such loss") if index == 1 else DONE)
    with pytest.raises(StoreError, match=r"^share 1/3: no such loss$"):
        sweeps.run(toy, GRID, tmp_path, executor=refused, quiet=True, **FAST)
    assert refused.stopped
    assert sorted(refused.started) == [0, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_shares(toy, tmp_path, number):
    def play(index, attempt):
        signal.raise_signal(number)
        return "failed", "it was told to stop"

    signalled = Played(play=play)
    results = sweeps.run(toy, GRID, tmp_path, executor=signalled, quiet=True, grace_seconds=5, **FAST)
    assert (results.stopped_by, signalled.stopped, len(results.runs)) == (number, True, 0)


def test_after_its_hours_all_shares_stop(toy, tmp_path):
    late = Played()
    results = sweeps.run(toy, GRID, tmp_path, executor=late, stop_after_hours=1e-9, quiet=True, **FAST)
    assert (results.stopped_by, late.started) == (None, [])


def test_shares_are_of_all_runs_though_what_is_left_was_foretold(toy, tmp_path, monkeypatch):
    sweeps.run(toy, sweeps.seeds(2), tmp_path, quiet=True, **FAST)
    planned = []
    monkeypatch.setattr(executor, "train", lambda work, *_, **__: planned.append(work.plan))
    sweeps.run(toy, SEEDS, tmp_path, executor=Played(), max_hours=1e6, quiet=True, **FAST)
    assert planned[0].waiting == planned[0].run_ids
    assert len(planned[0].run_ids) == 4


def test_as_many_shares_as_there_is_room_for(toy, tmp_path):
    for room, shares in ((3, 3), (0, 1), (100, 4)):
        played = Played(shares=None, room=room, play=lambda index, attempt: DONE)
        sweeps.run(toy, SEEDS, tmp_path, executor=played, quiet=True, **FAST)
        assert sorted(played.started) == [*range(shares)]
    many = Played(shares=5)
    with pytest.raises(FieldError, match=r"shares = 5: must be at most 4, the runs of the sweep"):
        sweeps.run(toy, SEEDS, tmp_path, executor=many, quiet=True, **FAST)


def test_users_components_are_read_from_their_file(toy, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    mine = toy.override({"loss": task.load_file(str(tmp_path / "own.py")).Halved()})
    played = Played(shares=2)
    axes = sweeps.product(sweeps.sweep("loss.by", [1.0, 2.0]), sweeps.seeds(1))
    found = sweeps.run(mine, axes, tmp_path / "out", executor=played, quiet=True, **FAST)
    assert len(found.runs) == 2
    assert str(tmp_path / "own.py") in played.text
    (tmp_path / "own.py").write_text(OWN.replace("/ self.by", "* self.by"))
    how, said = task.train(unmarked(played.text), 0, 2)
    assert how == "refused"
    assert "is not as its file says" in said


def test_a_process_that_sees_other_things_is_refused(toy, tmp_path, monkeypatch):
    played = Played(play=lambda index, attempt: DONE)
    sweeps.run(toy, SEEDS, tmp_path / "out", executor=played, quiet=True, **FAST)
    how, said = task.train(played.text, 0, 3)  # after the sweep the mark is gone
    assert how == "refused"
    assert "is not seen from all machines" in said
    with files.marked(tmp_path / "out") as mark:
        assert task.train(re.sub(r"[.]seen[.]\w+[.]tmp", mark, played.text), 0, 3)[0] == "stored"
    monkeypatch.setattr(task, "VERSIONS", task.VERSIONS | {"jax": "0.1"})
    how, said = task.train(unmarked(played.text), 0, 3)
    assert how == "refused"
    assert "must be those of the machine that asks" in said


def test_a_share_that_is_trained_already_is_tried_again(toy, tmp_path):
    played = Played(play=lambda index, attempt: DONE)
    sweeps.run(toy, SEEDS, tmp_path, executor=played, quiet=True, **FAST)
    with Workdir.at(tmp_path).owned((0, 3)).locked():
        how, said = task.train(unmarked(played.text), 0, 3)
    assert how == "failed"
    assert "share 0/3 is trained by process" in said


def test_what_does_not_go_with_an_executor_is_refused():
    with pytest.raises(FieldError, match=r"executor = 'ray': must be one, as sweeps.Ray\(\)"):
        Options(executor="ray")
    with pytest.raises(FieldError, match=r"share = \(0, 2\): is one of those that the executor starts"):
        Options(executor=Played(), share=(0, 2))
    with pytest.raises(FieldError, match="tune = True: measures for all shares"):
        Options(executor=Played(), tune=True)
    assert Options(executor=Played(), devices=512).devices == 512  # of machines that are not this one
