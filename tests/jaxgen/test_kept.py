"""Networks that keep something beside their parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from lanes import same_bits

import jaxgen as jg
from examples import example
from jaxgen import training
from jaxgen.kernel import Block, Program

NET = example("batch_norm").Normalised(width=8)


def test_batch_norm_is_that_of_flax_alone(toy):
    """Full batches, padded: the statistics are of the train rows, and of those only."""
    run = toy.override({"model": NET, "training.dtype": "float64", "task.train_fraction": 0.55})
    with training.numerics(run), jax.numpy_dtype_promotion("standard"):  # flax promotes float64 itself
        values = training.numbers(run)
        data = jax.jit(training.load)(values, training.Rows.of(run))
        assert (data.capacity, run.task.rows()["train"]) == (28, 26)
        state = jax.jit(training.init)(values, data)
        step, ours = jax.jit(training.step), state
        network = NET.clone(vocabulary=7, outputs=7, momentum=0.9)
        params, stats = state.params, state.kept["batch_stats"]
        made = training.optimizer(values)
        opt_state = made.init(params)

        @jax.jit
        def flax_step(params, stats, opt_state):
            def mean(params):
                given = {"params": params, "batch_stats": stats}
                outputs, new = network.apply(given, data.inputs[:26], True, None, mutable=["batch_stats"])
                return jnp.mean(run.loss(outputs, data.labels[:26])), new["batch_stats"]

            gradients, stats_after = jax.grad(mean, has_aux=True)(params)
            updates, opt_state_after = made.update(gradients, opt_state, params)
            return optax.apply_updates(params, updates), stats_after, opt_state_after

        for _ in range(20):
            ours = step(values, data, ours)
            params, stats, opt_state = flax_step(params, stats, opt_state)
        for a, b in zip(jax.tree.leaves((ours.params, ours.kept)), jax.tree.leaves((params, {"batch_stats": stats}))):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)  # gradients before the norm are 0 but for rounding
        measured, _ = training.evaluate(values, data, ours)
        outputs = network.apply({"params": params, "batch_stats": stats}, data.inputs[26:], False, None)
        np.testing.assert_allclose(measured["test/loss"], jnp.mean(run.loss(outputs, data.labels[26:])), rtol=1e-7)


@pytest.mark.parametrize("probe", ["kept", "memory"])
def test_what_is_kept_goes_on_after_a_stop(toy, probe):
    changes = {"model": NET} if probe == "kept" else {}
    training_ = jg.Training(steps=12, evaluate_every=3, probes=("loss", "metrics", example("own_probe").Highest()))
    run = toy.override({**changes, "training": training_})
    program, device = Program(run, 2), jax.devices()[0]
    blocks = [Block(program, device), Block(program, device)]
    for block in blocks:
        block.assign(1, "x", run)
        block.launch(2)
        assert not block.harvest()
    carry, lanes = blocks[0].snapshot()
    assert jax.tree.leaves(carry.state.kept if probe == "kept" else carry.state.memory)
    there = Block(program, device)
    there.assign(1, "x", run, step=lanes[1].step, pieces=lanes[1].pieces)
    there.restore(carry)
    ends = []
    for block in (there, blocks[1]):
        block.launch(9)
        ends += block.harvest()
    assert same_bits(*ends)
    assert ends[0].curves["highest"][-1] == ends[0].curves["test/accuracy"].max()
