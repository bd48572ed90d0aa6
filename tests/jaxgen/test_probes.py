import dataclasses
import itertools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from lanes import train_in_block

import jaxgen as jg
import sweeps
from examples import example
from jaxgen import probes, training
from jaxgen.kernel import Program
from jaxgen.probes import Evaluation, fourier


def seen(experiment, outputs, labels, params=None, gradient=None, update=None, initial=None):
    outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels, jnp.int32)
    split = {"train": jnp.arange(len(labels)) < 2, "test": jnp.arange(len(labels)) >= 2}
    given = (lambda: gradient, lambda: update, lambda: initial, None)
    step = jnp.int32(0)
    key = jax.random.key(0)
    return Evaluation(experiment, params, outputs, labels, split, None, key, step, None, lambda inputs: inputs, *given)


@pytest.mark.parametrize(("dtype", "gap"), [("float16", 7.6), ("bfloat16", 5.5), ("float32", 16.6)])
def test_collapse_sets_in_at_the_gap_of_the_dtype(toy, dtype, gap):
    experiment = toy.override({"loss.dtype": dtype})
    outputs = [[0.0, -gap * 0.97], [0.0, -gap * 1.03], [0.0, -gap * 1.03], [0.0, -gap * 1.03]]
    measured = probes.Collapse().measure(seen(experiment, outputs, [0, 0, 0, 0]))
    assert measured["train/collapse"] == measured["train/softmax_collapse"] == 0.5
    assert measured["test/collapse"] == 1.0


def test_stablemax_collapses_where_the_exponential_does_long_before(toy):
    experiment = toy.override({"loss": jg.losses.StableMaxCrossEntropy()})
    measured = probes.Collapse().measure(
        seen(experiment, [[40.0, -40.0], [40.0, -40.0], [1e9, -1e9], [1e9, -1e9]], [0, 0, 0, 0])
    )
    assert measured["train/softmax_collapse"] == 1.0
    assert measured["train/collapse"] == 0.0
    assert measured["test/collapse"] == 1.0


def test_zeros_are_counted_exactly(toy):
    gradient = {"a": jnp.zeros(3), "b": jnp.array([0.0, 1e-37])}
    outputs = [[200.0, 0.0], [1.0, 0.0], [0.0, 200.0], [20.0, 0.0]]
    measured = probes.Zeros().measure(seen(toy, outputs, [0, 0, 0, 0], gradient=gradient))
    assert measured["train/zero_loss"] == 0.5  # exp(-200) is absorbed and underflows
    assert measured["train/zero_gradient"] == 0.5
    assert measured["test/zero_loss"] == 0.5  # exp(-20) is absorbed beside 1
    assert measured["test/zero_gradient"] == 0.0  # but its gradient is not 0
    assert measured["zero_gradient_tensors"] == 0.5


def test_alignment_is_1_for_pure_scaling_and_0_for_perpendicular_updates(toy):
    params = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([1.0])}
    gradient = jax.tree.map(lambda w: -1e-25 * w, params)  # squares underflow
    update = {"a": jnp.array([-4.0, 3.0]), "b": jnp.array([0.0])}
    measured = probes.Alignment().measure(seen(toy, [[0.0]], [0], params, gradient, update))
    assert measured["cosine/gradient"] == pytest.approx(1.0)
    assert measured["cosine/gradient/a"] == pytest.approx(1.0)
    assert measured["cosine/update"] == pytest.approx(0.0, abs=1e-7)
    assert measured["cosine/update/b"] == 0.0
    assert measured["update_rms"] == pytest.approx(np.sqrt(25 / 3))


def test_tensors_and_logits_are_measured_by_name(toy):
    e = seen(toy, [[3.0, -3.0]] * 4, [0, 0, 0, 0], {"Linear_0": {"kernel": jnp.array([[3.0, 4.0]])}})
    assert probes.TensorNorms().measure(e) == {"norm/Linear_0.kernel": 5.0}
    assert probes.LogitRms().measure(e)["train/logit_rms"] == 3.0


def test_perpendicular_training_keeps_updates_off_the_weights(toy):
    watched = {
        "training.probes": ("loss", "metrics", "alignment"),
        "optimizer": jg.optimizers.PerpSGD(learning_rate=0.1),
    }
    curves = jg.train(toy.override(watched))
    assert np.abs(curves["cosine/update"]).max() < 1e-4
    plain = jg.train(toy.override(watched | {"optimizer": jg.optimizers.SGD(learning_rate=0.1)}))
    assert np.abs(plain["cosine/update"]).max() > 0.01


def test_logit_scale_acts_in_training_only(toy):
    scaled = jg.train(toy.override({"training.logit_scale": 8.0}))
    plain = jg.train(toy)
    assert scaled["train/loss"][0] == plain["train/loss"][0]
    assert scaled["train/loss"][-1] != plain["train/loss"][-1]


def test_distance_is_from_the_initial_parameters(toy):
    probed = toy.override({"training.probes": ("loss", "metrics", "distance"), "training.steps": 20})
    values = training.numbers(probed)
    data = training.load(values, training.Rows.of(probed))
    start = state = training.init(values, data)
    assert training.evaluate(values, data, start)[0]["distance"] == 0
    for _ in range(3):
        state = jax.jit(training.step)(values, data, state)
    moved = [np.sum((a - b) ** 2) for a, b in zip(*(jax.tree.leaves(s.params) for s in (start, state)))]
    found = training.evaluate(values, data, state)[0]["distance"]
    np.testing.assert_allclose(found, np.sqrt(sum(moved)), rtol=1e-5)


def test_vectors_and_matrices_come_out_of_a_block_with_their_shape(toy):
    probes = ("loss", "metrics", example("own_probe").Spectrum(count=3), Kernel())
    run = toy.override({"training.probes": probes, "training.steps": 20})
    found, plain = train_in_block(Program(run, 2), {1: run})[1].curves, jg.train(run)
    assert found["spectrum"].shape == (3, 3)
    assert found["kernel"].shape == (3, 14, 12)
    for name in ("spectrum", "kernel", "test/loss"):
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found["spectrum"][-1], np.linalg.svd(found["kernel"][-1], compute_uv=False)[:3], rtol=1e-5
    )


@flax.struct.dataclass
class Kernel:
    """The first layer, whole."""

    def measure(self, e):
        return {"kernel": e.params["Linear_0"]["kernel"]}


@pytest.mark.parametrize("width", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_probe_with_a_cadence_is_measured_at_its_steps_alone(toy, width):
    often = ("loss", "metrics", "weight_norm", "alignment", example("own_probe").Highest())
    seldom = (*often[:3], probes.Every("alignment", 20), probes.Every(often[4], 20))
    every, some = (toy.override({"training.probes": p, "training.steps": 60}) for p in (often, seldom))
    curves, found = (train_in_block(Program(e, width), {0: e})[0].curves for e in (every, some))
    assert curves.keys() == found.keys()
    due = curves["step"] % 20 == 0
    assert due.sum() == 4
    for name in found:
        changes = name.startswith(("cosine", "update", "highest"))
        assert np.isnan(found[name][~due]).all() == changes, name
        if not name.startswith("highest"):
            np.testing.assert_allclose(found[name][due], curves[name][due], rtol=1e-5, err_msg=name)
    best = np.maximum.accumulate(curves["test/accuracy"][due])
    np.testing.assert_array_equal(found["highest"][due], best)  # what was between is not remembered


@pytest.mark.slow
def test_a_lane_alone_computes_a_seldom_probe_seldom(toy):
    def branches(run, width):
        program = Program(run, width)
        with training.numerics(run):
            return program._jitted.lower(*program.shapes()).as_text().count("stablehlo.case")

    seldom = toy.override({"training.probes": ("loss", "metrics", probes.Every("alignment", 20))})
    assert branches(seldom, 1) > branches(seldom, 2)


def test_the_linear_fit_is_numpys_least_squares_on_rows_and_their_mirror_images():
    task = jg.tasks.XorPoints(train_rows=40, test_rows=30, dimension=6, separation=1.5)
    model = jg.models.FixedReadoutMLP(width=9, init_scale=1e-14)
    run = jg.Experiment(task, model, jg.losses.Logistic(), jg.optimizers.SGD())
    run = run.override({"training.probes": ("loss", "metrics", probes.LinearFit()), "training.steps": 0})
    values, rows = training.numbers(run), training.Rows.of(run)
    data = training.load(values, rows)
    state = training.init(values, data)
    found = training.evaluate(values, data, state)[0]
    for split in ("train", "test"):
        x = np.asarray(data.inputs, np.float64)[np.asarray(data.splits[split])]
        x = np.concatenate([x, -x])
        hidden = np.maximum(x @ np.asarray(state.params["kernel"], np.float64), 0)
        f = hidden @ (1 - 2 * (np.arange(9) % 2)) / 3
        design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        residual = f - design @ np.linalg.lstsq(design, f, rcond=None)[0]
        assert 0.1 < found[f"{split}/linear_r2"] < 0.99
        assert found[f"{split}/linear_r2"] == pytest.approx(1 - residual.var() / f.var(), rel=1e-4)


def test_tokens_have_no_linear_fit(toy):
    with pytest.raises(jg.FieldError, match="LinearFit': needs inputs that are numbers"):
        jg.train(toy.override({"training.probes": ("loss", probes.LinearFit())}))


def waves(p, turns, rng):
    """Cosines over p tokens of random phases, (p, waves)."""
    return np.cos(2 * np.pi * np.arange(p)[:, None] * turns[None] / p + rng.uniform(-np.pi, np.pi, len(turns)))


@pytest.mark.parametrize("p", [97, 10])
def test_participation_is_1_of_a_wave_and_falls_with_how_many_there_are(p):
    rng = np.random.default_rng(0)
    turns = np.arange(1, p // 2 + 1)
    first, second = waves(p, turns, rng), waves(p, np.roll(turns, 1), rng)
    cases = {1.0: first, 0.5: first / np.linalg.norm(first, axis=0) + second / np.linalg.norm(second, axis=0)}
    for expected, columns in cases.items():
        found = fourier.inverse_participation(jnp.asarray(columns, jnp.float32), axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert fourier.inverse_participation(jnp.full(p, 3e-30)) == pytest.approx(1)  # a wave too: frequency 0
    assert fourier.inverse_participation(jnp.zeros(p)) == 0
    impulse = fourier.inverse_participation(jnp.zeros(p).at[3].set(1.0))
    flat = np.full(p // 2 + 1, 2.0)  # all frequencies alike, of which 0 and p/2 are one, the others two
    flat[0] = flat[-1 if p % 2 == 0 else 0] = 1
    assert impulse == pytest.approx((flat**2).sum() / flat.sum() ** 2, rel=1e-4)


@given(npst.arrays(np.float64, st.integers(2, 40), elements=st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)))
@settings(max_examples=50, deadline=None)
def test_participation_is_of_numpys_spectrum(x):
    power = np.abs(np.fft.rfft(x)) ** 2 * np.where(2 * np.arange(len(x) // 2 + 1) % len(x), 2, 1)
    found = fourier.inverse_participation(jnp.asarray(x, jnp.float32))
    assert found == pytest.approx((power**2).sum() / power.sum() ** 2, rel=1e-3)


@pytest.mark.parametrize("task", [jg.tasks.ModularAddition, jg.tasks.ModularMultiplication])
def test_the_closed_form_has_participation_1_in_the_group_of_its_task_only(toy, task):
    p, n, group = 97, 500, {"ModularAddition": "addition"}.get(task.__name__, "multiplication")
    rng = np.random.default_rng(1)
    order = fourier.elements(p, group)
    wave, a, b = rng.integers(1, len(order) // 2 + 1, n), *rng.uniform(-np.pi, np.pi, (2, n))
    angle = 2 * np.pi * wave[:, None] * np.arange(len(order)) / len(order)
    first, second = np.zeros((2, p, n)), np.zeros((n, p))
    first[0, order], first[1, order] = np.cos(angle + a[:, None]).T, np.cos(angle + b[:, None]).T
    second[:, order] = np.cos(-angle - (a + b)[:, None])
    network = {"Linear_0": {"kernel": first.reshape(2 * p, n)}, "Linear_1": {"kernel": second}}
    network = jax.tree.map(jnp.float32, network)
    run = toy.override({"task": task(p=p), "model": jg.models.TwoLayer(width=n)})
    rows = run.task.table()
    rows = rows[(rows[:, :2] > 0).all(1)] if group == "multiplication" else rows
    outputs = training.apply(run, network, jnp.asarray(rows[:, :2]))
    assert (np.argmax(outputs, axis=1) == rows[:, 2]).all()
    e = seen(run, [[0.0]], [0], network)
    measured = {g: probes.ParticipationRatio(group=g) for g in ("addition", "multiplication")}
    measured = {g: probe.measure(e, probe.init(e))[0] for g, probe in measured.items()}
    np.testing.assert_allclose(measured[group].pop("ipr"), 1, rtol=1e-3)
    assert measured[group]["ipr/mean"] == pytest.approx(1, rel=1e-3)
    (other,) = measured.keys() - {group}
    assert measured[other]["ipr/mean"] < 0.2


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"incoming": "Linear_9.kernel"}, r"probe.incoming = 'Linear_9.kernel': must be one of Linear_0.kernel"),
        ({"outgoing": "Linear_0.kernel"}, r"probe.incoming = '.*': must be \(positions · p, units\)"),
        ({"group": "multiplication"}, "task.p = 9: must be prime"),
    ],
)
def test_what_has_no_participation_is_refused_in_a_line(toy, changes, match):
    probe = probes.ParticipationRatio(**changes)
    with pytest.raises(jg.FieldError, match=match):
        jg.train(toy.override({"task.p": 9, "training.probes": ("loss", probe)}))


@pytest.mark.parametrize(
    ("probe", "match"),
    [
        (lambda: probes.Every("alignment", 15), "steps = 15: must be a multiple of evaluate_every = 10"),
        (lambda: probes.Every("weight_norm", 20), "WeightNorm.*'weight_norm', which decides when a run ends"),
        (lambda: probes.Every("metrics", 20), "Metrics.*accuracy', which decides when a run ends"),
        (lambda: probes.Every(probes.Every("alignment", 20), 20), "must be one probe, at every evaluation"),
        (lambda: probes.Every("alignment", 0), r"steps = 0: must be in \[1"),
    ],
    ids=["no multiple", "the norm", "the stop rule's", "twice", "never"],
)
def test_a_cadence_that_cannot_be_is_refused_in_a_line(toy, probe, match):
    with pytest.raises(jg.FieldError, match=match):
        sweeps.execution.plan.make_plan(toy.override({"training.probes": ("loss", probe())}), sweeps.seeds(1))


def quality(embeddings, addition=None, **fields):
    task = addition or jg.tasks.ToyAddition(p=len(embeddings))
    run = jg.Experiment(task, jg.models.EmbeddingMLP(width=2), jg.losses.CrossEntropy(), jg.optimizers.AdamW())
    data = task.examples(jax.random.key(3))
    e = seen(run, data.inputs, data.labels, {"embedding": jnp.asarray(embeddings, jnp.float32)})
    e = dataclasses.replace(e, inputs=data.inputs)
    return float(probes.Parallelograms(**fields).measure(e)["rqi"])


def test_equally_spaced_embeddings_close_every_parallelogram_and_one_astray_opens_its_own():
    line = np.arange(10.0)[:, None]
    assert quality(line) == quality(-3e4 * line + 7e4) == quality(line @ [[1.0, -2.0]]) == 1
    astray = line.copy()
    astray[0] -= 20  # (0, j) and (m, n) with m + n = j: 0 + 1 + 1 + 2 + 2 + 3 + 3 + 4 for j = 1 … 9 of 70
    between = [(m, n) for m in range(1, 10) for n in range(m, 10) if m + n < 10]
    assert quality(astray) == pytest.approx(1 - len(between) / 70)
    assert np.isnan(quality(np.ones((10, 1))))


@settings(deadline=None, max_examples=20)
@given(
    p=st.integers(4, 8), dimensions=st.integers(1, 3), seed=st.integers(0, 10**6), tolerance=st.sampled_from([0.1, 0.7])
)
def test_quality_is_the_share_counted_one_by_one(p, dimensions, seed, tolerance):
    table = np.random.default_rng(seed).normal(size=(p, dimensions)).astype(np.float32)
    scaled = (table - table.mean(0)) / table.std(0, ddof=1)
    pairs = [(i, j) for i in range(p) for j in range(i, p)]
    gaps = [
        np.mean((scaled[[i, j]].sum(0) - scaled[[m, n]].sum(0)) ** 2)
        for (i, j), (m, n) in itertools.combinations(pairs, 2)
        if i + j == m + n
    ]
    assume(np.abs(np.array(gaps) - tolerance**2).min() > 1e-5)
    assert quality(table, tolerance=tolerance) == pytest.approx(np.mean(np.array(gaps) < tolerance**2))


def test_the_two_orders_of_a_pair_are_no_parallelogram():
    table = np.random.default_rng(0).normal(size=(5, 1))
    assert quality(table, jg.tasks.ModularAddition(p=5), tolerance=1e-6) == 0


def test_quality_needs_embeddings_of_the_tokens():
    with pytest.raises(jg.FieldError, match="must name embeddings of the task's tokens"):
        quality(np.ones((4, 1)), jg.tasks.ToyAddition(p=5))
    with pytest.raises(jg.FieldError, match="must name embeddings of the task's tokens"):
        quality(np.ones((4, 1)), parameter="none")
