"""Files that were damaged, removed or swapped between two launches: the next one ends as if nothing had happened."""

import shutil

import pytest
from trials import BASE, COUNTS, FAST, SWEEP, all_rows, continued, pick

import sweeps
from jaxgen import FieldError
from sweeps.storage import checkpoint, status, store
from sweeps.storage.store import StoreError
from sweeps.storage.workdir import Workdir


def truncate(rng, path):
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def flip(rng, path):
    content, bit = bytearray(path.read_bytes()), rng.randrange(8 * path.stat().st_size)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def delete(rng, path):
    path.unlink()


def swap(other):
    """The content of another file takes the place of one's own."""
    return lambda rng, path: path.write_bytes(pick(rng, other).read_bytes())


@pytest.fixture(scope="session")
def others(tmp_path_factory, whole):
    """Shards and lanes of another sweep, which the same program trains, and of another program."""
    folder = tmp_path_factory.mktemp("others")
    for name, base in (("same", BASE), ("other", BASE.override({"model.width": 6}))):
        other = sweeps.sweep("optimizer.weight_decay", [0.3, 0.4, 0.5])
        sweeps.run(base, other, folder / name, **FAST)
        endless = sweeps.product(sweeps.fixed("training.steps", 10**6), sweeps.seeds(2))
        sweeps.run(base, endless, folder / f"{name}-running", **FAST, stop_after_hours=1e-9)
    return {
        "shards": sorted(folder.glob("*/runs/*.parquet")),
        "blocks": sorted(folder.glob("*/inflight/*.block")),
        "specifications": sorted(folder.glob("*/sweep.json")),
    }


SHARDS = {"truncated": truncate, "with a flipped bit": flip, "deleted": delete, "of another sweep": None}


@COUNTS
@pytest.mark.parametrize("harm", SHARDS)
def test_a_shard(harm, count, trials, whole, stopped, others):
    def trial(rng, place):
        shutil.copytree(pick(rng, [whole, *stopped]), place)
        path = pick(rng, store.shards(place))
        before = path.read_bytes()
        (SHARDS[harm] or swap(others["shards"]))(rng, path)
        if path.exists() and path.read_bytes() != before:
            with pytest.raises(StoreError, match=path.name):
                store.read(place)
            assert not status.examine(Workdir.at(place)).sound
        continued(place)
        assert status.examine(Workdir.at(place)).sound

    trials.tallied(f"shard {harm}", "a file of the store, between two launches", count, trial)


@COUNTS
def test_a_whole_shard_of_another_sweep(count, trials, whole, stopped, others):
    def trial(rng, place):
        shutil.copytree(pick(rng, [whole, *stopped]), place)
        foreign = shutil.copy(pick(rng, others["shards"]), place / "runs")
        results = continued(place)
        assert len(results.runs) == len(SWEEP)
        (place / "runs" / foreign.rpartition("/")[2]).unlink()

    trials.tallied("shard of another sweep added, whole", "a file of the store, between two launches", count, trial)


BLOCKS = {"truncated": truncate, "with a flipped bit": flip, "deleted": delete, "of another sweep": None}


@COUNTS
@pytest.mark.parametrize("harm", BLOCKS)
def test_lanes_in_mid_training(harm, count, trials, stopped, others):
    def trial(rng, place):
        shutil.copytree(pick(rng, stopped), place)
        (BLOCKS[harm] or swap(others["blocks"]))(rng, pick(rng, checkpoint.files(Workdir.at(place))))
        continued(place)
        assert not list((place / "inflight").iterdir())

    trials.tallied(f"checkpoint {harm}", "a file of the store, between two launches", count, trial)


@COUNTS
def test_a_specification(count, trials, whole, stopped):
    def trial(rng, place):
        shutil.copytree(pick(rng, [whole, *stopped]), place)
        before = all_rows(place)
        truncate(rng, place / "sweep.json")
        for look in (continued, sweeps.Results, lambda place: status.look(Workdir.at(place))):
            with pytest.raises(FieldError, match=r"move .*sweep.json away and launch again"):
                look(place)
        assert all_rows(place) == before
        (place / "sweep.json").rename(place / "away.json")
        continued(place)

    trials.tallied("specification truncated", "refused; moved away as the line says, launched again", count, trial)


@COUNTS
def test_of_another_sweep_a_specification_is_refused(count, trials, whole, stopped, others):
    def trial(rng, place):
        shutil.copytree(pick(rng, [whole, *stopped]), place)
        held = (place / "sweep.json").read_bytes()
        foreign = [path for path in others["specifications"] if path.parent.name.startswith("other")]
        swap(foreign)(rng, place / "sweep.json")
        with pytest.raises(FieldError, match=r"holds a sweep with model.width = 6, not 8"):
            continued(place)
        (place / "sweep.json").write_bytes(held)
        continued(place)

    trials.tallied("specification of another sweep", "refused; put back, launched again", count, trial)


@COUNTS
def test_a_launch_and_a_width(count, trials, stopped):
    def trial(rng, place):
        shutil.copytree(pick(rng, stopped), place)
        truncate(rng, pick(rng, [*(place / "launches").iterdir()]))
        width = pick(rng, [*(place / "widths").iterdir()])
        if rng.random() < 0.5:
            truncate(rng, width)
            with pytest.raises(FieldError, match=r"its widths are damaged: move .*\.json away and launch again"):
                continued(place)
            width.unlink()
        continued(place)

    trials.tallied("launch and width truncated", "a file of the store, between two launches", count, trial)
