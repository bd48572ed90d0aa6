import itertools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lanes import same_bits, train_in_block

import jaxgen as jg
from jaxgen import kernel, training
from jaxgen.kernel import Block, Program, Status, mappings


def drain(block: Block, runs, intervals: int = 3):
    results = []
    block.refill(runs)
    while block.free < len(block.lanes):
        block.launch(intervals)
        results += block.harvest()
        block.refill(runs)
    return {r.run_id: r for r in results}


@pytest.fixture(scope="module")
def base():
    return jg.Experiment(
        task=jg.tasks.ModularAddition(p=7, train_fraction=0.6),
        model=jg.models.QuadraticMLP(width=12),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1),
        training=jg.Training(steps=100, evaluate_every=10, stop_splits=("train",)),
    )


@pytest.fixture(scope="module")
def mixed(base):
    """Runs of one program that end at different times and in every way."""
    ends = itertools.cycle([{"training.steps": s} for s in (20, 100, 50)])
    runs = {f"plain {i}": base.override({"seed": i, **next(ends)}) for i in range(6)}
    runs["diverges"] = base.override({"optimizer.learning_rate": 1e30})
    stop = {
        "training.stop_patience": 20,
        "training.stop_threshold": 0.9,
        "training.steps": 1000,
        "task.train_fraction": 0.7,
    }
    runs["stops"] = base.override({**stop, "optimizer.weight_decay": 2.0, "optimizer.learning_rate": 0.03})
    return runs


@pytest.mark.optimized
@pytest.mark.parametrize("width", [2, *(pytest.param(w, marks=pytest.mark.slow) for w in (1, 5))])
def test_bits_do_not_depend_on_order_refill_chunks_or_device(mixed, width):
    program = Program(mixed["plain 0"], width)
    forwards = drain(Block(program, jax.devices()[0]), iter(mixed.items()))
    backwards = drain(Block(program, jax.devices()[1]), iter(reversed(mixed.items())), intervals=1)
    assert forwards.keys() == backwards.keys() == mixed.keys()
    for name, result in forwards.items():
        assert same_bits(result, backwards[name]), name
    assert program.traces == 1


@pytest.mark.parametrize("width", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_early_evaluations_add_points_and_change_nothing_else(mixed, width):
    early = {name: run.override({"training.evaluate_early": True}) for name, run in mixed.items()}
    late = drain(Block(Program(mixed["plain 0"], width), jax.devices()[0]), iter(mixed.items()))
    block = Block(Program(early["plain 0"], width), jax.devices()[0])
    found = drain(block, iter(early.items()), intervals=1)
    for name, result in found.items():
        np.testing.assert_array_equal(result.curves["step"][:6], [0, 1, 2, 4, 8, 10])
        assert (result.status, result.steps) == (late[name].status, late[name].steps)
        rest = np.r_[0, 5 : len(result.curves["step"])]
        for probe, curve in late[name].curves.items():
            np.testing.assert_allclose(result.curves[probe][rest], curve, rtol=1e-4, atol=1e-6)
    assert block.useful_steps == sum(r.steps for r in found.values()) <= block.computed_steps


def test_one_plain_run_has_the_same_early_evaluations(base):
    run = base.override({"training.evaluate_early": True, "training.steps": 30})
    curves = jg.train(run)
    np.testing.assert_array_equal(curves["step"], [0, 1, 2, 4, 8, 10, 20, 30])
    result = train_in_block(Program(run, 1), {0: run})[0]
    np.testing.assert_allclose(curves["train/loss"], result.curves["train/loss"], rtol=1e-4)


def test_a_chunk_ends_early_once_too_few_lanes_run(base):
    block = Block(Program(base, 3), jax.devices()[0])
    for lane, steps in enumerate((20, 50, 100)):
        block.assign(lane, str(lane), base.override({"training.steps": steps}))
    for least, ended in ((3, "0"), (2, "1"), (1, "2")):
        block.launch(100, least)
        assert [r.run_id for r in block.harvest()] == [ended]
    assert (block.useful_steps, block.computed_steps) == (170, 300)


def test_each_way_to_end_is_recorded(mixed):
    results = drain(Block(Program(mixed["plain 0"], 3), jax.devices()[0]), iter(mixed.items()))
    assert results["plain 0"].status == "finished"
    assert results["plain 0"].steps == 20
    np.testing.assert_array_equal(results["plain 0"].curves["step"], [0, 10, 20])
    assert results["diverges"].status == "diverged"
    assert results["diverges"].steps < 100
    assert not np.isfinite(results["diverges"].curves["train/loss"][-1])
    stopped = results["stops"]
    assert stopped.status == "stopped"
    assert stopped.steps == stopped.curves["step"][-1] < 1000
    assert (stopped.curves["train/accuracy"][-3:] >= 0.9).all()
    assert stopped.curves["train/accuracy"][-4] < 0.9


def test_a_stopped_run_is_the_beginning_of_the_run_without_a_stop_rule(mixed):
    run = mixed["stops"]
    program = Program(run, 1)
    stopped = train_in_block(program, {0: run})[0]
    whole = train_in_block(program, {0: run.override({"training.stop_patience": 0})})[0]
    assert whole.steps == 1000
    assert stopped.status == "stopped"
    for name, curve in stopped.curves.items():
        np.testing.assert_array_equal(curve, whole.curves[name][: len(curve)])


def test_snapshot_and_restore_continue_to_the_same_bits(mixed):
    run = mixed["plain 1"]
    program = Program(run, 2)
    whole = train_in_block(program, {1: run})[1]
    first = Block(program, jax.devices()[0])
    first.assign(1, "1", run)
    first.launch(3)
    assert first.harvest() == []
    carry, lanes = first.snapshot()
    second = Block(program, jax.devices()[1])
    second.assign(1, "1", run, step=lanes[1].step, pieces=lanes[1].pieces)
    second.restore(carry)
    second.launch(100)
    (continued,) = second.harvest()
    assert same_bits(continued, whole)


def test_another_structure_is_refused_with_the_field(base):
    block = Block(Program(base, 1), jax.devices()[0])
    with pytest.raises(ValueError, match=r"model.width is 13, not 12"):
        block.assign(0, "x", base.override({"model.width": 13}))


def test_capacity_follows_from_the_run_alone(base):
    fractions = [base.override({"task.train_fraction": f}) for f in (0.1, 0.14, 0.5, 1.0)]
    assert [training.capacity(run) for run in fractions] == [4, 8, 24, 49]
    assert training.capacity(base.override({"training.batch_size": 5})) == 49


def test_one_trace_for_many_values_and_devices(base):
    program = Program(base, 2)
    for device in jax.devices():
        block = Block(program, device)
        runs = [(str(i), base.override({"seed": i, "optimizer.weight_decay": 0.1 * i})) for i in range(4)]
        assert len(drain(block, iter(runs))) == 4
        assert program.compiled(device) is program.compiled(device)
    assert program.traces == 1


def test_checksum_changes_with_any_bit():
    params = {"a": np.ones((3, 2), np.float32), "b": np.zeros(4, np.float32)}
    before = int(kernel.checksum(params))
    for name, tensor in params.items():
        for place, bit in itertools.product(np.ndindex(tensor.shape), (0, 23, 31)):
            flipped = {**params, name: tensor.copy()}
            flipped[name].view(np.uint32)[place] ^= np.uint32(1 << bit)
            assert int(kernel.checksum(flipped)) != before
    assert int(kernel.checksum({"a": params["b"], "b": params["a"]})) != before


def test_occupancy_counts_idle_lanes(base):
    block = Block(Program(base, 4), jax.devices()[0])
    drain(block, iter([("0", base)]))
    assert block.useful_steps == 100
    assert block.computed_steps == 400


FROZEN = {
    # float16 losses are exactly 0, with exactly zero gradients, once the logits are far enough apart
    "adam": {
        "optimizer": jg.optimizers.Adam(learning_rate=0.05, b1=0.5),
        "loss": jg.losses.CrossEntropy(dtype="float16"),
        "training.logit_scale": 50.0,
    },
    # the decay takes all weights to exactly 0, where the quadratic network has no gradient
    "sgd": {"optimizer": jg.optimizers.SGD(learning_rate=1.0, weight_decay=0.5)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_run_would_never_have_changed_again(base, name):
    settings = {"training.steps": 4000, "training.evaluate_every": 20, **FROZEN[name]}
    run = base.override({**settings, "training.stop_frozen": True})
    frozen = train_in_block(Program(run, 2), {0: run})[0]
    assert frozen.status == "frozen"
    assert frozen.steps < 3500
    whole = train_in_block(Program(base.override(settings), 2), {0: base.override(settings)})[0]
    assert whole.steps == 4000
    assert whole.checksum == frozen.checksum
    for curve, longer in ((frozen.curves[k], whole.curves[k]) for k in frozen.curves if k != "step"):
        np.testing.assert_array_equal(curve, longer[: len(curve)])
        assert (longer[len(curve) :] == curve[-1]).all()


def test_runs_that_still_move_are_not_frozen(base):
    run = base.override({"training.stop_frozen": True, "loss.dtype": "float16"})
    assert train_in_block(Program(run, 1), {0: run})[0].status == "finished"


@pytest.mark.parametrize(
    "changes",
    [
        {"training.batch_size": 5},
        {"optimizer": jg.optimizers.Muon()},
        {"optimizer": jg.optimizers.SGD(schedule=jg.schedules.Warmup(steps=3))},
        {"optimizer": jg.optimizers.Adam(filter=jg.filters.GrokfastEMA())},
    ],
)
def test_what_cannot_be_proved_is_refused(base, changes):
    with pytest.raises(jg.FieldError, match="stop_frozen"):
        base.override({"training.stop_frozen": True, **changes})


def test_a_run_that_stands_still_while_its_momentum_grows_is_not_frozen(base):
    """The first steps are below half a unit in the last place of every weight; the velocity then grows tenfold."""
    slow = jg.optimizers.SGD(learning_rate=1e-9, momentum=0.9)
    run = base.override({"optimizer": slow, "training.stop_frozen": True, "training.evaluate_every": 1})
    program = Program(run, 1)
    early, late = (train_in_block(program, {0: run.override({"training.steps": steps})})[0] for steps in (1, 50))
    assert early.status == late.status == "finished"
    values, rows = training.numbers(run), training.Rows.of(run)
    start = jax.jit(lambda e, r: kernel.checksum(training.init(e, training.load(e, r)).params))(values, rows)
    assert early.checksum == int(start) != late.checksum


def test_a_chunk_goes_on_where_the_last_one_ended(base):
    block = Block(Program(base, 1), jax.devices()[0])
    block.assign(0, "0", base)
    for steps in (10, 20, 30):
        block.launch(1)
        assert block.harvest() == []
        assert block.snapshot()[0].state.step.tolist() == [steps]


def test_a_run_may_end_with_its_opening(base):
    run = base.override({"training.evaluate_early": True, "training.steps": 10})
    result = train_in_block(Program(run, 1), {0: run})[0]
    assert (result.status, result.steps) == ("finished", 10)
    np.testing.assert_array_equal(result.curves["step"], [0, 1, 2, 4, 8, 10])


def judged(run, *measured, every=10):
    """The status of a run after evaluations at which this was measured."""
    lane = kernel.Lane(training.State(None, None, jnp.int32(0)), jnp.int32(Status.RUNNING), jnp.int32(-1))
    for index, values in enumerate(measured, 1):
        usual = {"train/accuracy": 1.0, "test/accuracy": 1.0, "train/loss": 1.0, "weight_norm": 1.0}
        seen = {name: jnp.float32(value) for name, value in {**usual, **values}.items()}
        state = training.State(None, None, jnp.int32(every * index))
        lane = kernel.after_evaluation(training.numbers(run), seen, lane, state)
    return Status(int(lane.status))


def test_the_stop_rule_needs_all_its_splits_without_a_break(base):
    rule = {"training.stop_splits": ("train", "test"), "training.stop_patience": 20, "training.stop_threshold": 0.9}
    run, low = base.override(rule), ({"train/accuracy": 0.8}, {"test/accuracy": 0.8})
    assert judged(run, {}, {}) == Status.RUNNING
    assert judged(run, {}, {}, {}) == Status.STOPPED
    for split in low:
        assert judged(run, {}, split, {}) == Status.RUNNING
        assert judged(run, split, split, split) == Status.RUNNING
        assert judged(run, split, {}, {}, {}) == Status.STOPPED


@pytest.mark.parametrize("watched", ["train/loss", "weight_norm"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_or_norm_that_is_not_finite_is_divergence(base, watched, value):
    for evaluations, healthy in ((1, Status.RUNNING), (10, Status.FINISHED)):  # in the last interval too
        before = [{}] * (evaluations - 1)
        assert judged(base, *before, {watched: value}) == Status.DIVERGED
        assert judged(base, *before, {}) == healthy


def test_a_launch_of_too_many_intervals_keeps_every_evaluation(base):
    steps = kernel.MAX_INTERVALS + 20
    run = base.override({"training.evaluate_every": 1, "training.steps": steps})
    program = Program(run, 1)
    block = Block(program, jax.devices()[0])
    block.assign(0, "0", run)
    found = []
    while not found:
        block.launch(10 * steps)
        found = block.harvest()
    np.testing.assert_array_equal(found[0].curves["step"], np.arange(steps + 1))
    assert same_bits(found[0], train_in_block(program, {0: run})[0])


def test_a_run_without_steps_is_evaluated_once_and_is_exact(base):
    exact, trained = base.override({"training.steps": 0}), base.override({"training.steps": 20})
    program = Program(base, 3)
    found = train_in_block(program, {0: exact, 1: trained, 2: base.override({"training.steps": 0, "seed": 1})})
    assert [found[i].status for i in range(3)] == ["exact", "finished", "exact"]
    assert [found[i].steps for i in range(3)] == [0, 20, 0]
    assert found[0].curves["step"].tolist() == [0]
    for name, values in found[0].curves.items():
        assert values == found[1].curves[name][:1]
    assert found[2].checksum != found[0].checksum
    plain = jg.train(exact)
    assert {name: len(values) for name, values in plain.items()} == dict.fromkeys(plain, 1)
    broken = exact.override({"model.init_scale": 1e30})
    assert train_in_block(program, {1: broken})[1].status == "diverged"


def test_the_stop_rule_takes_a_metric_and_its_direction(base):
    rule = {"training.stop_metric": "loss", "training.stop_below": True, "training.stop_splits": ("train",)}
    whole = train_in_block(Program(base, 1), {0: base})[0]
    losses = whole.curves["train/loss"]
    threshold = float(losses[-4])
    rule |= {"training.stop_threshold": threshold, "training.stop_patience": 1}
    stopping = base.override(rule)
    found = train_in_block(Program(stopping, 1), {0: stopping})[0]
    first = np.flatnonzero(losses <= np.float32(threshold))[0]
    assert (found.status, found.steps) == ("stopped", whole.curves["step"][first + 1])
    never = stopping.override({"training.stop_metric": None})
    assert train_in_block(Program(never, 1), {0: never})[0].status == "finished"


@flax.struct.dataclass
class Fixed(jg.Task):
    """A table that no number of a run goes into, but for its labels."""

    rank: int = jg.leaf(0, "[0, 9]")
    outputs: int = jg.static(2)

    def rows(self):
        return {"train": 2000, "test": 500}

    def examples(self, key):
        x = jax.random.normal(jax.random.key(1, impl="threefry2x32"), (2500, 100), jnp.float32)
        return jg.Examples(x, (jnp.take(x, self.rank, axis=1) > 0).astype(jnp.int32))


def test_a_table_that_all_runs_have_lies_there_once(base):
    training_ = jg.Training(steps=6, evaluate_every=2, batch_size=20, evaluation_rows=50)
    run = base.override({"task": Fixed(), "model": jg.models.MLP(width=4, depth=1), "training": training_})
    few, many = Program(run, 2), Program(run, 18)
    table = 4 * 2500 * 100
    assert many.memory(jax.devices()[0]) - few.memory(jax.devices()[0]) < 2 * table < 16 * table
    runs = {i: run.override({"seed": i, "task.rank": i}) for i in range(2)}
    together = train_in_block(few, runs)
    for i, one in runs.items():
        assert same_bits(together[i], train_in_block(few, {1 - i: one})[1 - i])
        np.testing.assert_allclose(together[i].curves["train/loss"], jg.train(one)["train/loss"], rtol=1e-5)


@pytest.mark.parametrize(("count", "limit", "wanted"), [(34, "100", True), (33, "100", False), (34, None, False)])
def test_a_process_is_crowded_from_a_third_of_its_mappings_on(count, limit, wanted, tmp_path, monkeypatch):
    for name, text in (("MAPS", "a mapping\n" * count), ("LIMIT", limit)):
        monkeypatch.setattr(mappings, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    assert mappings.crowded() == wanted
