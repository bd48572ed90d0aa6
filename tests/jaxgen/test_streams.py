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
        return {tuple(row) for row in np.asarray(training.batch(values, data, jnp.int32(step))[0])}

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
