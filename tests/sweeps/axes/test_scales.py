"""How axes run: 0 beside a logarithmic sweep stands one step below it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.axes import scales


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 0.01, 0.1, 1.0], "symlog"),
        ([0.0, 0.1, 1.0], "symlog"),
        ([0.0, 1e-6, 1.0], "symlog"),
        ([0.0, 1.0, 2.0], "linear"),
        ([0.0, 0.1], "linear"),
        ([-1.0, 0.0, 10.0], "linear"),
        ([0.0, 1e-200, 1.0], "categorical"),  # there is no number one step below
        ([False, 0.1, 1.0], "categorical"),
    ],
)
def test_0_beside_a_logarithmic_sweep_is_symmetric_log(values, kind):
    assert scales.kind(values) == kind


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e3), st.integers(3, 8))
def test_0_stands_one_step_of_the_ratio_below_the_smallest(low, ratio, count):
    values = [0.0, *(low * ratio**i for i in range(count))]
    assert scales.kind(values) == "symlog"
    at = scales.positions(values, "symlog")
    np.testing.assert_allclose(at[1:], values[1:])
    np.testing.assert_allclose(at[1:] / at[:-1], ratio, rtol=1e-6)
    borders = scales.edges(values, "symlog")
    np.testing.assert_allclose(borders[1:] / borders[:-1], ratio, rtol=1e-6)
    assert (borders[:-1] < at).all()
    assert (at < borders[1:]).all()
