import json
from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
from jaxgen import training

REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "trajectories.json").read_text())


@flax.struct.dataclass
class ReferenceTask(jg.tasks.ModularAddition):
    """(a + b) mod 11 with the fixed split of the reference trajectories: rows (37 k) % 121 < 48 first."""

    def rows(self):
        return {"train": 48, "test": 73}

    def examples(self, key):
        k = np.arange(121)
        rows = self.table()[np.argsort((37 * k) % 121 >= 48, kind="stable")]
        return jg.Examples(jnp.asarray(rows[:, :2]), jnp.asarray(rows[:, 2]))


def reference_weights():
    params = {}
    for layer, (out, fan_in) in enumerate([(16, 22), (16, 16), (11, 16)], 1):
        i, j = np.arange(out)[:, None], np.arange(fan_in)[None]
        params[f"Linear_{layer - 1}"] = {
            "kernel": jnp.asarray((np.sin(0.37 * i + 1.13 * j + 0.5 * layer) / fan_in**0.5).T)
        }
    return params


CROSS_ENTROPY = jg.losses.CrossEntropy(dtype="float64")
EXACT = jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.0, b1=0.9, b2=0.999, eps=1e-25)
FILTER = {"filter": jg.filters.GrokfastEMA(decay=0.98, gain=2.0)}
CASES = {
    "A": (CROSS_ENTROPY, EXACT.replace(b2=0.99)),
    "B": (jg.losses.StableMaxCrossEntropy(dtype="float64"), EXACT),
    "D": (CROSS_ENTROPY, jg.optimizers.PerpAdamW.released(learning_rate=0.01)),
    "F": (CROSS_ENTROPY, jg.optimizers.Adam(b2=0.98, weight_decay=0.005, **FILTER)),
}


@pytest.mark.parametrize("case", CASES)
def test_float64_trajectories_match_the_reference(case):
    loss, optimizer = CASES[case]
    experiment = jg.Experiment(
        task=ReferenceTask(p=11),
        model=jg.models.MLP(width=16, depth=2),
        loss=loss,
        optimizer=optimizer,
        training=jg.Training(dtype="float64"),
    )
    with training.numerics(experiment):
        values, rows = training.numbers(experiment), training.Rows.of(experiment).replace(capacity=48)
        data = jax.jit(training.load)(values, rows)
        state = training.State(reference_weights(), None, jnp.int32(0))
        state = state.replace(opt_state=training.optimizer(values).init(state.params))
        step = jax.jit(training.step)
        evaluate = jax.jit(lambda e, d, s: training.evaluate(e, d, s)[0])
        points = {p["step"]: p for p in REFERENCE["cases"][case]["points"]}
        for t in range(201):
            if t in points:
                measured, want = evaluate(values, data, state), points[t]
                np.testing.assert_allclose(measured["train/loss"], want["train_loss"], rtol=1e-8)
                np.testing.assert_allclose(measured["weight_norm"], want["weight_norm"], rtol=1e-8)
                first = jnp.sum(state.params["Linear_0"]["kernel"])
                np.testing.assert_allclose(first, want["sum_first_layer"], rtol=1e-8)
                collapse = jg.losses.CrossEntropy().collapsed(training.apply(values, state.params, data.inputs[:48]))
                np.testing.assert_allclose(jnp.mean(collapse), want["softmax_collapse_float32"], atol=6e-4)
                np.testing.assert_allclose(measured["train/accuracy"], want["train_accuracy"], atol=6e-5)
                np.testing.assert_allclose(measured["test/accuracy"], want["test_accuracy"], atol=6e-5)
            state = step(values, data, state)


def test_a_step_on_padded_rows_is_a_step_on_the_train_rows(toy):
    values, rows = training.numbers(toy), training.Rows.of(toy)
    data = training.load(values, rows)
    state = jax.jit(training.init)(values, data)
    step = jax.jit(training.step)
    exact, padded, whole = (step(values, data.replace(capacity=rows), state) for rows in (29, 35, 49))
    for a, b, c in zip(*(jax.tree.leaves(s.params) for s in (exact, padded, whole))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-7)


def test_evaluation_measures_each_split_by_hand(toy):
    values, rows = training.numbers(toy), training.Rows.of(toy)
    data = training.load(values, rows)
    state = training.init(values, data)
    measured, _ = jax.jit(training.evaluate)(values, data, state)
    outputs = training.apply(values, state.params, data.inputs)
    for name, part in (("train", slice(0, 29)), ("test", slice(29, 49))):
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(outputs[part], data.labels[part]).mean()
        np.testing.assert_allclose(measured[f"{name}/loss"], loss, rtol=1e-6)
        correct = np.argmax(outputs[part], 1) == data.labels[part]
        np.testing.assert_allclose(measured[f"{name}/accuracy"], correct.mean(), rtol=1e-6)
    norm = np.sqrt(sum(float((w**2).sum()) for w in jax.tree.leaves(state.params)))
    np.testing.assert_allclose(measured["weight_norm"], norm, rtol=1e-6)


def test_minibatches_pass_over_the_train_rows_once_per_epoch(toy):
    experiment = toy.override({"training.batch_size": 7})
    values, rows = training.numbers(experiment), training.Rows.of(experiment)
    data = training.load(values, rows)
    draw = jax.jit(lambda step: training.buckets(values, data, step)[0][0])
    epochs = [[tuple(r) for s in range(4) for r in np.asarray(draw(4 * e + s)).tolist()] for e in range(2)]
    train = {tuple(r) for r in np.asarray(data.inputs[:29]).tolist()}
    for epoch in epochs:  # 4 batches of 7 out of 29 rows: no row twice, one left out
        assert len(set(epoch)) == 28
        assert set(epoch) <= train
    assert epochs[0] != epochs[1]


def test_split_and_initialisation_come_from_separate_streams(toy):
    def start(seed, split_seed):
        experiment = training.numbers(toy.override({"seed": seed, "split_seed": split_seed}))
        data = training.load(experiment, training.Rows.of(toy))
        return training.init(experiment, data).params["Linear_0"]["kernel"], data.inputs

    (w00, x00), (w01, x01), (w10, x10) = start(0, 0), start(0, 1), start(1, 0)
    assert np.array_equal(w00, w01)
    assert not np.array_equal(x00, x01)
    assert np.array_equal(x00, x10)
    assert not np.array_equal(w00, w10)


def test_training_learns_the_train_rows_and_curves_have_every_evaluation(toy):
    curves = jg.train(toy.override({"training.steps": 400}))
    np.testing.assert_array_equal(curves["step"], np.arange(0, 401, 10))
    assert all(len(c) == 41 for c in curves.values())
    assert curves["train/accuracy"][-1] == 1.0
    assert curves["train/loss"][-1] < 0.1 * curves["train/loss"][0]


def test_float64_is_really_float64(toy):
    experiment = toy.override({"training.dtype": "float64", "loss.dtype": "float64"})
    curves = jg.train(experiment)
    assert curves["train/loss"].dtype == np.float64
    assert np.float64(np.float32(curves["train/loss"][-1])) != curves["train/loss"][-1]
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize(("precision", "name"), [("highest", "HIGHEST"), ("default", "DEFAULT")])
def test_matrix_products_have_the_stated_precision(toy, precision, name):
    experiment = toy.override({"training.matmul_precision": precision})
    with training.numerics(experiment):
        values, rows = training.numbers(experiment), training.Rows.of(experiment)
        text = str(jax.make_jaxpr(lambda e, r: training.init(e, training.load(e, r)))(values, rows))
        data = training.load(values, rows)
        state = training.init(values, data)
        text = str(jax.make_jaxpr(training.step)(values, data, state))
    dots = [line for line in text.splitlines() if "dot_general[" in line]
    assert len(dots) >= 1
    precisions = text.count(f"Precision.{name}")
    assert precisions >= 2 * text.count("dot_general[") if name == "HIGHEST" else "Precision.HIGHEST" not in text


def test_a_seed_draws_what_it_always_drew(toy):
    # A run_id stands for these numbers: where they have to change, bump experiment.SCHEMA.
    experiment = toy.override({"training.batch_size": 7})
    values, rows = training.numbers(experiment), training.Rows.of(experiment)
    data = training.load(values, rows)
    np.testing.assert_array_equal(data.inputs[:3], [[2, 2], [1, 0], [6, 1]])
    kernel = training.init(values, data).params["Linear_0"]["kernel"]
    np.testing.assert_allclose(kernel[0, :2], [-0.018918162, -0.073179096], rtol=1e-6)
    batch = training.buckets(values, data, jnp.int32(0))[0][0]
    np.testing.assert_array_equal(batch[:4], [[2, 6], [5, 1], [6, 1], [2, 3]])
    noise = jax.random.key_data(training.stream(jnp.int32(0), training.data.NOISE))
    np.testing.assert_array_equal(noise, [2467461003, 3840466878])


def test_an_interval_trains_on_the_rows_that_its_steps_alone_would(toy):
    """The order of an epoch is found once in an interval, and again for the next: 4 steps of 7 rows are an epoch."""
    run = toy.override({"training.batch_size": 7})
    numbers, rows = training.numbers(run), training.Rows.of(run)
    data = training.load(numbers, rows)
    one = jax.jit(lambda state: training.step(numbers, data, state))
    state = begun = training.init(numbers, data)
    for _ in range(14):
        state = one(state)
    together, _ = jax.jit(lambda state: training.interval(numbers, data, state, 14))(begun)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(together.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_order_of_minibatches_is_of_the_seed_and_not_of_the_split(toy):
    def order(seed, split_seed):
        changes = {"training.batch_size": 7, "seed": seed, "split_seed": split_seed}
        experiment = training.numbers(toy.override(changes))
        data = training.load(experiment, training.Rows.of(toy))
        inputs = training.buckets(experiment, data, jnp.int32(0))[0][0]
        return [data.inputs.tolist().index(row) for row in inputs.tolist()]

    assert order(0, 3) == order(0, 4) != order(1, 3)


@pytest.mark.parametrize(
    ("every", "steps"), [(1, [0, 1]), (2, [0, 1, 2]), (8, [0, 1, 2, 4, 8]), (10, [0, 1, 2, 4, 8, 10])]
)
def test_early_evaluations_come_at_powers_of_two_each_once(toy, every, steps):
    early = {"training.evaluate_every": every, "training.steps": 40, "training.evaluate_early": True}
    assert training.opening(toy.override(early)).tolist() == steps
