"""The width of a block follows from the run and the kind of device."""

import types

import jax
import pytest

from jaxgen import FieldError
from jaxgen.kernel import MAX_INTERVALS
from sweeps.execution import widths
from sweeps.execution.profile import step_flops
from sweeps.recipes.quickstart import BASE

GPU = types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H100 80GB HBM3")


def test_short_steps_get_wide_blocks_on_a_cpu_and_long_ones_a_lane(toy):
    assert [widths.rule(e, jax.devices()[0]) for e in (toy, BASE)] == [8, 1]


def test_a_run_that_calls_lapack_has_one_lane_on_a_cpu(toy):
    cpu, held = jax.devices()[0], {widths.entry(toy, jax.devices()[0]): {"lanes": 8, "by": "tuned"}}
    assert [widths.chosen(toy, cpu, held, lapack=calls)["lanes"] for calls in ("", "svd of model")] == [8, 1]
    assert widths.chosen(toy, cpu, {}, 1, lapack="svd of model") == {"lanes": 1, "by": "rule"}
    assert widths.chosen(toy, GPU, {}, lapack="svd of model")["lanes"] == widths.LANES
    with pytest.raises(FieldError, match=r"width = 2: must be 1 on a CPU where svd of model.*one_by_one"):
        widths.chosen(toy, cpu, {}, 2, lapack="svd of model")


def test_elsewhere_a_block_is_as_wide_as_memory_holds(toy):
    assert widths.rule(toy, GPU) == widths.LANES
    large = BASE.override({"task.p": 113, "model.width": 4096})
    lanes = widths.rule(large, GPU)
    assert 1 < lanes < widths.LANES
    assert lanes & (lanes - 1) == 0
    assert widths.OTHER_BYTES / 2 < lanes * widths.lane_bytes(large) <= widths.OTHER_BYTES
    assert widths.rule(BASE.override({"model.width": 10**6}), GPU) == 1


def test_a_block_of_a_tpu_stays_on_the_chip(toy):
    tpu = types.SimpleNamespace(platform="tpu", device_kind="TPU v5 lite")
    assert widths.rule(toy, tpu) == widths.LANES
    assert widths.rule(BASE, GPU) == widths.LANES
    assert widths.rule(BASE, tpu) == 128
    assert 128 * widths.lane_bytes(BASE) <= 2**26 < 256 * widths.lane_bytes(BASE)  # half of a v5e's 128 MiB


def test_numbers_of_a_run_do_not_change_its_width(toy):
    for changes in ({"seed": 3}, {"optimizer.weight_decay": 9.0}, {"training.steps": 2 * 10**9}):
        other = toy.override(changes)
        assert widths.entry(other, GPU) == widths.entry(toy, GPU)
        assert widths.rule(other, jax.devices()[0]) == widths.rule(toy, jax.devices()[0])
    assert widths.entry(toy.override({"model.width": 13}), GPU) != widths.entry(toy, GPU)


def test_runs_of_one_program_have_one_width_whatever_they_compute(toy):
    few, many = (toy.override({"task.p": 31, "model.width": 24, "task.train_fraction": f}) for f in (0.1, 1.0))
    assert widths.entry(few, GPU) == widths.entry(many, GPU)
    assert step_flops(few) < widths.SHORT_STEP < step_flops(many)
    assert widths.rule(few, jax.devices()[0]) == widths.rule(many, jax.devices()[0]) == 1


@pytest.mark.parametrize("lanes", [1, 64])
def test_a_first_chunk_has_a_length_that_a_program_can_have(toy, lanes):
    assert 1 <= widths.first_intervals(toy, lanes) <= MAX_INTERVALS
    assert widths.first_intervals(BASE.override({"task.p": 113, "model.width": 5000}), lanes) == 1
