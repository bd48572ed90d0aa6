"""The benchmark of how often intervals hold the truth, in small."""

import numpy as np
import pytest
from programs import Program, refused


@pytest.fixture(scope="module")
def program():
    return Program("benchmarks/coverage")


@pytest.fixture
def coverage(program):
    return program.module


def test_areas_and_lines_are_covered_where_seeds_differ(coverage):
    found = coverage.measure("shifted", 9, 3, 8)
    assert found["area"] >= 0.85  # 7 of 8; as independent runs it was .58 to .85
    assert found["points"] > 0.85
    assert 0.02 < found["width"] < 0.4  # not by saying nothing


def test_the_truth_is_that_of_the_world(coverage):
    truth, draw = coverage._known("island")
    area = np.trapezoid(np.trapezoid((truth > 0.5) * 1.0, coverage.FINE), coverage.FINE)
    assert area == pytest.approx(np.pi * 0.22**2, abs=2e-3)
    line = coverage._line(truth)
    np.testing.assert_allclose(np.hypot(*(line - 0.5).T), 0.22, atol=1e-3)
    x, y, event, seed = draw(np.random.default_rng(0), 21, 4)
    assert event[np.hypot(x - 0.5, y - 0.5) < 0.15].mean() > 0.85
    assert event[np.hypot(x - 0.5, y - 0.5) > 0.3].mean() < 0.1
    assert len(np.unique(seed)) == 4
    inside = coverage._inside(np.full((101, 101), 0.4), np.full((101, 101), 0.6), line)
    assert inside.all()
    assert not coverage._inside(np.full((101, 101), 0.51), np.ones((101, 101)), line).any()


@pytest.mark.parametrize(
    ("name", "kind", "points", "seeds", "least"),
    [
        ("critical", "shifted", 12, 5, 0.92),
        ("exponent", "shifted", 6, 3, 0.92),
        ("median", "half censored", 1, 8, 0.92),
        ("restricted mean", "half censored", 1, 5, 0.88),
    ],
)
def test_numbers_are_covered(coverage, name, kind, points, seeds, least):
    assert least <= coverage.measure_number(name, kind, points, seeds, 200) <= 1


def test_unknown_worlds_are_refused(program, capfd):
    assert "did you mean island" in refused(program, "--worlds=islnd", capfd=capfd)
