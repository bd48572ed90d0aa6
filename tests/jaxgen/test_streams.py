"""Tasks that draw fresh rows at each step."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
from examples import example
from jaxgen import training
from jaxgen.training.run import forward
from sweeps.execution import rehearsal


@flax.struct.dataclass
class Passed(jg.tasks.ModularAddition):
    """Rows of the table in order: those of step t follow those of step t - 1, from the first again after the last."""

    def draw(self, key, step, rows):
        table = jnp.asarray(self.table())
        picked = table[(step * rows + jnp.arange(rows, dtype=jnp.int32)) % self.size()]
        return jg.Examples(picked[:, :2], picked[:, 2])


def test_a_streams_run_is_that_of_the_same_rows_from_a_table(toy):
    run = toy.override({"task": Passed(p=7), "training.batch_size": 10, "training.dtype": "float64"})
    with training.numerics(run):
        found = jg.train(run)
        values = training.numbers(run)
        data = training.load(values, training.Rows.of(run))
        state = training.init(values, data)
        made, params = training.optimizer(values), state.params
        opt_state, table = made.init(params), run.task.table()

        @jax.jit
        def step(params, opt_state, inputs, labels):
            mean = lambda p: jnp.mean(run.loss(training.apply(values, p, inputs), labels))  # noqa: E731
            updates, opt_state = made.update(jax.grad(mean)(params), opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        for t in range(run.training.steps):
            rows = table[np.arange(10 * t, 10 * t + 10) % 49]
            params, opt_state = step(params, opt_state, rows[:, :2], rows[:, 2])
        norm = optax.tree_utils.tree_norm(params)
    np.testing.assert_allclose(found["weight_norm"][-1], norm, rtol=1e-9)
    assert found["weight_norm"][0] != found["weight_norm"][-1]


def test_no_row_comes_twice_and_seeds_draw_their_own():
    run = example("stream").base.override({"task.bits": 60, "training.batch_size": 16})

    def drawn(seed, split_seed, step):
        values = training.numbers(run.override({"seed": seed, "split_seed": split_seed}))
        data = training.load(values, training.Rows.of(run))
        return {tuple(row) for row in np.asarray(training.buckets(values, data, jnp.int32(step))[0][0])}

    first = drawn(0, 0, 0)
    assert len(first) == 16
    assert drawn(0, 5, 0) == first  # the split seed draws the tables only
    assert not first & drawn(0, 0, 1)
    assert not first & drawn(1, 0, 0)


def test_a_stream_needs_a_number_of_rows(toy):
    with pytest.raises(jg.FieldError, match=r"training.batch_size = None: must be given"):
        toy.override({"task": Passed(p=7)})
    with pytest.raises(jg.FieldError, match=r"task.task = 'Passed': draws fresh rows"):
        toy.override({"task": jg.tasks.CorruptedLabels(task=Passed(p=7)), "training.batch_size": 5})
    toy.override({"task": Passed(p=7, train_fraction=0.1), "training.batch_size": 100})  # more than the table has


@flax.struct.dataclass
class Padded(jg.tasks.CopyString):
    """What the buckets hold, all padded to the longest and in one."""

    def draw(self, key, step, rows):
        parts = super().draw(key, step, rows)
        padding, longest = self.symbols + 3, max(part.inputs.shape[1] for part in parts)
        wide = lambda a, value: jnp.pad(a, ((0, 0), (0, longest - a.shape[1])), constant_values=value)  # noqa: E731
        joined = {"inputs": padding, "labels": padding, "weights": 0}
        return jg.Examples(**{n: jnp.concatenate([wide(getattr(p, n), v) for p in parts]) for n, v in joined.items()})


def test_rows_in_buckets_are_trained_on_as_padded_ones_are():
    strings = {"alphabet": 4, "longest": 6, "furthest": 8, "rows_each": 2, "buckets": 3}
    found = []
    for kind in (jg.tasks.CopyString, Padded):
        run = jg.Experiment(
            task=kind(**strings),
            model=jg.models.Decoder(width=8, heads=2, positions=jg.positions.NoPositions()),
            loss=jg.losses.CrossEntropy(),
            optimizer=jg.optimizers.SGD(learning_rate=0.1),
            training=jg.Training(steps=4, evaluate_every=2, batch_size=12, dtype="float64", stop_metric=None),
        )
        found.append(jg.train(run)["test/loss"])
    np.testing.assert_allclose(*found, rtol=1e-12)
    assert found[0][0] != found[0][-1]


def test_noise_differs_between_the_buckets_of_a_step():
    """Two buckets of the same rows, with dropout: where their masks were the same, so would be their outputs."""

    class Twice(jg.tasks.CopyString):
        def draw(self, key, step, rows):
            one = super().draw(key, step, rows // 2)
            return one, one

    run = jg.Experiment(
        task=Twice(alphabet=4, longest=3, furthest=4, rows_each=2),
        model=jg.models.Decoder(width=8, heads=2, dropout=0.5, positions=jg.positions.NoPositions()),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.SGD(learning_rate=0.1),
        training=jg.Training(steps=2, evaluate_every=2, batch_size=8, stop_metric=None),
    )
    values = training.numbers(run)
    data = training.load(values, training.Rows.of(run))
    state = training.init(values, data)
    (rows, _) = training.buckets(values, data, jnp.int32(0))
    outputs = [forward(values, state.params, {}, rows.inputs, jnp.int32(0), None, bucket)[0] for bucket in (0, 1)]
    assert not np.allclose(*outputs)


def test_buckets_hold_as_many_rows_as_a_step_has(toy):
    class Few(jg.tasks.CopyString):
        def draw(self, key, step, rows):
            return super().draw(key, step, rows), super().draw(key, step, rows)

    given = {"model": jg.models.Decoder(width=8, heads=2), "training.batch_size": 6}
    with pytest.raises(jg.FieldError, match="draws 12 rows in 2 buckets where 6 are needed"):
        rehearsal.rehearse(toy.override({**given, "task": Few(alphabet=4, longest=3, furthest=4)}), False)
    with pytest.raises(jg.FieldError, match=r"buckets = 4: must divide the 6 rows of a step"):
        rehearsal.rehearse(
            toy.override({**given, "task": jg.tasks.CopyString(alphabet=4, longest=4, furthest=5, buckets=4)}), False
        )


def test_learned_positions_are_of_the_longest_rows_where_those_of_a_step_are_shorter():
    run = jg.Experiment(
        task=jg.tasks.CopyString(alphabet=4, longest=3, furthest=6, rows_each=2),
        model=jg.models.Decoder(width=8, heads=2, layers=1),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.SGD(learning_rate=0.1),
        training=jg.Training(steps=4, evaluate_every=2, batch_size=8, stop_metric=None),
    )
    found = jg.train(run)
    assert np.isfinite(found["test/loss"]).all()
    same = jg.train(run.override({"model.positions.longest": 14}))
    np.testing.assert_array_equal(found["test/loss"], same["test/loss"])  # 14 inputs in the table
