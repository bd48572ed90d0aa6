"""A number with its interval: what it can be, and how it is shown."""

import doctest

import numpy as np
import pytest

from jaxgen import FieldError
from sweeps.statistics import estimate
from sweeps.statistics.estimate import Estimate


def made(value=0.5, low=0.25, high=0.75, confidence=0.95, units=8, resampled="seeds"):
    return Estimate(value, low, high, confidence, units, resampled)


def test_doctests():
    assert doctest.testmod(estimate).failed == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"low": 0.8}, "estimate.low"),
        ({"low": np.inf}, "estimate.low"),
        ({"confidence": 95}, "estimate.confidence"),
        ({"confidence": np.nan}, "estimate.confidence"),
        ({"value": "a half"}, "estimate.value"),
        ({"value": None}, "estimate.value"),
        ({"high": 1j}, "estimate.high"),
        ({"high": np.ones(2)}, "estimate.high"),
        ({"value": np.ones(2), "low": np.array([0, 2]), "high": np.ones(2)}, "estimate.low"),
    ],
)
def test_what_is_no_interval_is_refused(given, field):
    with pytest.raises(FieldError) as refused:
        made(**given)
    assert refused.value.field == field


def test_what_is_not_known_is_infinite_or_nan():
    assert made(low=-np.inf, high=np.inf).holds(1e300)
    assert not made(np.nan, np.nan, np.nan).holds(0)
    assert made(np.inf, 3.0, np.inf).holds(np.inf)
    assert (made().holds(0.25), made().holds(0.75), made().holds(0.76)) == (True, True, False)


def test_it_is_shown_with_its_interval():
    assert f"{made():.2f}" == "0.50 [0.25, 0.75]"
    assert str(made(1 / 3)) == "0.333 [0.25, 0.75]"


def test_of_many_cells_there_is_one_of_each():
    value, units = np.arange(6.0), np.arange(6)
    cells = made(value, value - 1, value + 1, units=units).reshape((2, 3))
    assert cells[1, 0] == made(3.0, 2.0, 4.0, units=3)
    assert made(value, value - 1, value + 1)[4] == made(4.0, 3.0, 5.0)
    np.testing.assert_array_equal(cells.holds(3.5), [[False] * 3, [True, True, False]])


def test_an_interval_that_reaches_so_far_at_least():
    assert made().at_least(0.1) == made()
    assert made().at_least(0.3) == made(low=0.2, high=0.8)


def test_it_is_no_triple():
    with pytest.raises(TypeError):
        tuple(made())
