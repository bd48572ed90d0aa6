import dataclasses
import types

import flax.linen as nn
import flax.struct
import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lanes import same_bits, train_in_block

import jaxgen as jg
from jaxgen import training
from jaxgen.kernel import Block, Program

FRACTIONS = (0.01, 0.3, 0.55, 0.93, 1.0)


@pytest.fixture(scope="module")
def base(toy):
    return toy.override(
        {"task.p": 13, "task.train_fraction": 0.55, "training.steps": 40, "training.evaluate_every": 20}
    )


@flax.struct.dataclass
class Weighed(jg.tasks.ModularAddition):
    """Two positions a row, with weights that differ; some rows weigh nothing."""

    def examples(self, key):
        found = super().examples(key)
        labels = np.stack([np.arange(self.size()), np.arange(self.size()) * 5], 1).astype(np.int32) % self.p
        weights = np.arange(labels.size, dtype=np.float32).reshape(labels.shape) % 7
        return jg.Examples(found.inputs, jax.numpy.asarray(labels), weights=jax.numpy.asarray(weights))


class TwoPlaces(nn.Module):
    outputs: int | None = None
    vocabulary: int | None = None

    @nn.compact
    def __call__(self, inputs):
        hidden = nn.Embed(self.vocabulary, 6, param_dtype=jax.numpy.float64)(inputs)
        return nn.Dense(self.outputs, param_dtype=jax.numpy.float64)(nn.tanh(hidden))


class Whole(nn.Module):
    @nn.compact
    def __call__(self, inputs, mask=None):
        return nn.Dense(13)(inputs.astype(np.float32))


@flax.struct.dataclass
class Sized(jg.Task):
    train: int = jg.static(1)
    test: int = jg.static(0)
    outputs = 2

    def rows(self):
        return {"train": self.train, "test": self.test}


@given(st.integers(129, 20_000), st.data())
def test_passes_hold_the_train_rows_and_little_more(total, data):
    train, unit = data.draw(st.integers(1, total)), -(-total // 16)
    run = types.SimpleNamespace(
        task=Sized(train, total - train), model=jg.models.MLP(), start=None, training=jg.Training()
    )
    passes, units = training.passes(run), -(-train // unit)
    assert passes.sizes == (9 * unit, 4 * unit, 2 * unit, unit)
    assert set(passes.made) <= {0, 1}
    assert np.dot(passes.made, passes.sizes) == (units + (units == 8)) * unit
    assert training.computed(run) == min(total, (units + (units == 8)) * unit)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_gradient_in_passes_is_the_gradient_at_once(base, fraction, weighed):
    parts = {"task": Weighed(p=13), "model": TwoPlaces()} if weighed else {}
    loss = {"loss.dtype": "float64", "training.dtype": "float64", "training.logit_scale": 0.7}
    run = base.override(parts | loss | {"task.train_fraction": fraction})
    count = run.task.rows()["train"]
    with training.numerics(run):
        values, rows = training.numbers(run), training.Rows.of(run)
        passed, once = (jax.jit(training.load)(values, r) for r in (rows, rows.exactly(count)))
        state = training.init(values, once)
        assert passed.passes is not None
        found, expected = (jax.jit(training.gradient)(values, data, state)[0] for data in (passed, once))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-15)


def test_runs_of_all_train_fractions_have_one_program(base):
    runs = {str(f): base.override({"task.train_fraction": f}) for f in FRACTIONS}
    program = Program(base, 3)
    block, results = Block(program, jax.devices()[0]), {}
    waiting = iter(runs.items())
    while len(results) < len(runs):
        block.refill(waiting)
        block.launch(1)
        results |= {r.run_id: r for r in block.harvest()}
    assert program.traces == 1
    for name, run in runs.items():
        alone = train_in_block(program, {1: run})[1]
        assert same_bits(results[name], dataclasses.replace(alone, run_id=name)), name
        curves = training.train(run)
        np.testing.assert_allclose(alone.curves["train/loss"], curves["train/loss"], rtol=1e-4)


@pytest.mark.parametrize("fraction", [0.01, 0.4, 0.8, 1.0])
def test_a_gradient_in_slices_is_the_gradient_at_once(base, fraction):
    loss = {"loss.dtype": "float64", "training.dtype": "float64"}
    run = base.override(loss | {"task": Weighed(p=23), "model": TwoPlaces(), "task.train_fraction": fraction})
    count = run.task.rows()["train"]
    with training.numerics(run):
        values, rows = training.numbers(run), training.Rows.of(run)
        sliced, once = (jax.jit(training.load)(values, r) for r in (rows.sliced(None), rows.exactly(count)))
        assert (int(sliced.passes.made), sliced.passes.size) == (-(-count // 256), 256)
        state = training.init(values, once)
        found, expected = (jax.jit(training.gradient)(values, data, state)[0] for data in (sliced, once))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-15)


@flax.struct.dataclass
class Endless(jg.tasks.ModularAddition):
    """Its numbers are not finite from the second slice on."""

    def examples(self, key):
        found = super().examples(key)
        inputs = found.inputs.astype(np.float32) / np.float32(self.p)
        late = np.arange(len(inputs))[:, None] >= 256
        return jg.Examples(jax.numpy.where(late, np.float32(np.inf), inputs), found.labels)


@pytest.mark.parametrize("task", [jg.tasks.ModularAddition(p=17), Endless(p=17)])
def test_slices_that_a_run_does_not_need_change_no_bit_of_it(base, task):
    runs = {i: base.override({"task": task, "task.train_fraction": f}) for i, f in enumerate((0.1, 1.0, 0.6))}
    program = Program(runs[0], 3, platform="tpu")
    together = train_in_block(program, runs)
    assert program.traces == 1
    for lane, run in runs.items():
        alone = train_in_block(program, {1: run})[1]
        assert same_bits(together[lane], dataclasses.replace(alone, run_id=str(lane))), lane
        if lane != 1:
            curves, single = training.train(run), train_in_block(Program(run, 1, platform="tpu"), {0: run})[0]
            for found in (alone, single):
                assert found.status == "finished"
                np.testing.assert_allclose(found.curves["weight_norm"], curves["weight_norm"], rtol=1e-4)


def test_slices_of_a_block_are_taken_at_the_same_row_in_all_lanes(base):
    """A slice at a row of each lane's own is a gather with an index of its own for each."""
    values, gathers = training.numbers(base.override({"task.p": 17})), {}
    for lanes in ("lanes", None):
        rows = training.Rows.of(base.override({"task.p": 17})).sliced(lanes)
        data = training.load(values, rows)
        state = training.init(values, data)
        both = jax.tree.map(lambda a: jax.numpy.stack([a, a]), (data, state))
        mapped = jax.vmap(lambda d, s: training.gradient(values, d, s)[0], axis_name="lanes")
        gathers[lanes] = str(jax.make_jaxpr(mapped)(*both)).count("start_indices_batching_dims=(0,)")
    assert gathers["lanes"] < gathers[None]


@pytest.mark.parametrize(
    "changes",
    [
        {"training.batch_size": 20},
        {"task.p": 11},
        {"model": Whole()},
        {"model": jg.models.TwoLayer(width=4, batch_norm=True)},
        {"model": jg.models.Transformer(width=8, heads=1, mlp_width=8, dropout=0.1)},
        {"start": jg.starts.Solve(parameters=("Linear_1",))},
    ],
    ids=["minibatches", "a small table", "told the mask", "batch norm", "random", "solved"],
)
def test_what_is_computed_at_once(base, changes):
    assert training.passes(base) is not None
    assert training.capacity(base) == 169
    assert training.passes(base.override({"model": jg.models.TwoLayer(width=4)})) is not None
    run = base.override(changes)
    rows = training.Rows.of(run)
    assert rows.passes is None
    assert rows.capacity >= min(run.task.rows()["train"], training.computed(run))


def test_how_many_rows_are_computed_follows_from_the_run(base):
    computed = {f: training.computed(base.override({"task.train_fraction": f})) for f in (*FRACTIONS, 0.5)}
    assert computed == {0.01: 11, 0.3: 55, 0.5: 99, 0.55: 99, 0.93: 165, 1.0: 169}
    assert training.computed(base.override({"training.batch_size": 20})) == 20
