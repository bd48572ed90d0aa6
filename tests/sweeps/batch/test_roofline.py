"""Bounds for accelerators that are not here, beside what can be worked out by hand."""

import types

import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps.batch import roofline
from sweeps.execution import profile
from sweeps.execution.plan import make_plan


@pytest.mark.parametrize(
    ("name", "kind", "count", "peak"),
    [
        ("v5e-8", "tpu", 8, 197e12),
        ("v6e-1", "tpu", 1, 918e12),
        ("v4-8", "tpu", 4, 275e12),  # Google counts TensorCores there, two per chip
        ("v5p-16", "tpu", 8, 459e12),
        ("h100", "gpu", 1, 989.4e12),
        ("h200-4", "gpu", 4, 989.4e12),
        ("a100", "gpu", 1, 312e12),
    ],
)
def test_an_accelerator_has_its_chips_and_their_published_peak(name, kind, count, peak):
    chip, chips_ = roofline.named(name)
    assert (chip.kind, chips_, chip.products["bfloat16"]) == (kind, count, peak)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v5litepod-8", "did you mean v5e-8"),
        ("h10", "did you mean h100"),
        ("v5e", "did you mean v5e-"),
        ("h100-9", "did you mean|must be a TPU slice"),
        ("abacus", "must be a TPU slice"),
        ("", "must be a TPU slice"),
    ],
)
def test_what_is_no_accelerator_is_refused(name, said):
    with pytest.raises(FieldError, match=f"for = .*{said}"):
        roofline.named(name)


@pytest.mark.parametrize(
    ("name", "dtype", "precision", "rate"),
    [
        ("v5e-1", "float32", "highest", 197e12 / 6),
        ("v5e-1", "float32", "high", 197e12 / 3),
        ("v5e-1", "float32", "default", 197e12),
        ("v5e-1", "bfloat16", "highest", 197e12),
        ("h100", "float32", "highest", 66.9e12),
        ("h100", "float32", "default", 494.7e12),
        ("h100", "float64", "highest", 33.5e12),
        ("a100", "float64", "default", 9.7e12),
    ],
)
def test_the_peak_is_that_of_the_runs_numbers(name, dtype, precision, rate):
    assert roofline.named(name)[0].rate(dtype, precision) == rate


def test_a_tpu_has_no_float64(toy):
    with pytest.raises(FieldError, match="no float64"):
        roofline.lane_step(toy.override({"training.dtype": "float64"}), roofline.named("v5e-1")[0], 1.0, 1.0)
    wide = toy.override({"training.dtype": "float64"})
    assert roofline.lane_step(wide, roofline.named("h100")[0], 33.5e12, 0) == (1, 1)


def test_a_lane_step_takes_between_its_flops_and_those_with_its_bytes(toy):
    least, most = roofline.lane_step(toy, roofline.named("v5e-1")[0], 6e6, 819e3)
    assert least == pytest.approx(6e6 * 6 / 197e12)
    assert most == pytest.approx(least + 1e-6)


def test_the_flops_and_bytes_of_a_product_are_those_on_paper():
    """A linear network on its own rows: one product forward, one backward."""
    rows, wide, out = 45, 64, 7
    task = jg.tasks.ModularAddition(p=7, train_fraction=1.0)
    run = jg.Experiment(task, jg.models.QuadraticMLP(width=wide), jg.losses.MeanSquaredError(), jg.optimizers.SGD())
    products = 3 * 2 * 49 * wide * out  # hidden to outputs: forward, to the hidden layer, to the weights
    assert products < profile.step_flops(run) < 2.0 * products
    weights = 4 * (2 * 7 * wide + wide * out)
    assert rows < 49
    assert 3 * weights < profile.step_bytes(run) < 300 * weights


def test_chip_hours_add_up_over_runs_and_do_not_depend_on_how_many_chips_share_them(toy):
    plan = make_plan(toy, sweeps.product(sweeps.sweep("model.width", [8, 12]), sweeps.seeds(3)))
    chip = roofline.named("h100")[0]
    one, eight = roofline.bounds(plan, chip, 1), roofline.bounds(plan, chip, 8)
    by_hand = sum(300 * profile.step_flops(toy.override({"model.width": w})) / 66.9e12 / 3600 for w in (8, 12))
    assert one.low == eight.low == pytest.approx(by_hand)
    assert one.hours == (one.low, one.high)
    assert eight.hours == pytest.approx((one.low / 8, one.high / 8))
    moved = sum(300 * profile.step_bytes(toy.override({"model.width": w})) / 3.35e12 / 3600 for w in (8, 12))
    assert one.high - one.low == pytest.approx(moved)
    half = roofline.bounds(plan, chip, 1, {0: 150, 1: 150})
    assert half.low == pytest.approx(by_hand / 2)
    plan.first = types.SimpleNamespace(groups=plan.groups, first=None)
    assert roofline.bounds(plan, chip, 1).low == pytest.approx(2 * by_hand)
