"""Programs are compiled for a TPU that is not there, where libtpu is installed."""

import importlib.util

import pytest

import sweeps
from jaxgen import FieldError
from sweeps.execution import preflight
from sweeps.execution.chips import CHIPS, Chip, tpu
from sweeps.execution.plan import make_plan

needs_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu: .[tpu]")


def test_the_bound_is_the_slower_of_products_and_memory():
    target = Chip("tpu", {"bfloat16": 6e12}, bandwidth=1e9, memory=16e9)
    found = preflight.Found(seconds=1, memory=1, flops=2e6, main=1e3, on_chip=9e9, padding=0.0)
    one = preflight.Checked(1, 8, target, "highest", found, False, ())
    assert one.by_products == pytest.approx(2e-6)  # six bfloat16 products make one of float32
    assert one.by_memory == pytest.approx(1e-6)
    assert preflight.Checked(1, 8, target, "default", found, False, ()).by_products == pytest.approx(2e-6 / 6)


def test_a_v5e_allows_a_fortieth_of_a_byte_for_each_float32_flop():
    v5e = CHIPS["v5e"]
    assert v5e.bandwidth / v5e.rate("float32", "highest") == pytest.approx(0.025, abs=1e-4)
    with pytest.raises(FieldError, match=r"chip = 'v9': must be one of v4, v5e, v5p, v6e"):
        tpu("v9")


def test_what_is_missing_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(preflight, "_libtpu", lambda: "")
    with pytest.raises(FieldError, match=r"preflight = 'v5e:2x2': needs libtpu: pip install -e \.\[tpu\]"):
        preflight.device_of("v5e:2x2")
    with pytest.raises(FieldError, match="must be one of"):
        preflight.device_of("h100")


@pytest.mark.slow  # 30 s of a core
@needs_libtpu
def test_programs_are_compiled_for_a_tpu_and_kept(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    base = toy.override({"task.p": 17, "loss.dtype": "float16"})
    plan = make_plan(base, sweeps.seeds(3))
    (first,) = preflight.check(plan, "v5e:2x2", {}, width=2)
    assert (first.runs, first.lanes, first.kept, first.target) == (3, 2, False, CHIPS["v5e"])
    assert first.found.memory > 0
    assert first.found.main + first.found.on_chip > 4 * 289  # at least the rows' outputs
    assert 0 < first.found.padding < 1
    products = 6 * 289 * (34 * 12 + 12 * 17)  # forward, and twice that backward; look-ups are products
    assert 0.5 * products < first.found.flops < 3 * products
    assert first.notes == (preflight.NOT_THERE["float16"],)
    (again,) = preflight.check(plan, "v5e:2x2", {}, width=2)
    assert again.kept
    assert again.found == first.found
    with pytest.raises(FieldError, match="is no topology"):
        preflight.device_of("v5e:7x9")
