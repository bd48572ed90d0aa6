import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lanes import train_in_block

import jaxgen as jg
import sweeps
from examples import example
from jaxgen import probes, training
from jaxgen.kernel import Program
from jaxgen.probes import Evaluation


def seen(experiment, outputs, labels, params=None, gradient=None, update=None, initial=None):
    outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels, jnp.int32)
    split = {"train": jnp.arange(len(labels)) < 2, "test": jnp.arange(len(labels)) >= 2}
    given = (lambda: gradient, lambda: update, lambda: initial, None)
    step = jnp.int32(0)
    return Evaluation(experiment, params, outputs, labels, split, None, step, None, lambda inputs: inputs, *given)


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


def test_a_lane_alone_computes_a_seldom_probe_seldom(toy):
    def branches(run, width):
        program = Program(run, width)
        with training.numerics(run):
            return program._jitted.lower(*program.shapes()).as_text().count("stablehlo.case")

    seldom = toy.override({"training.probes": ("loss", "metrics", probes.Every("alignment", 20))})
    assert branches(seldom, 1) > branches(seldom, 2)


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
