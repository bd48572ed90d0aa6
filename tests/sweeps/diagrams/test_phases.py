import dataclasses
import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgen import FieldError
from sweeps.diagrams import phases as module
from sweeps.diagrams.phases import Definition, Phase, check_definition, definition, parse_metric, phases, times

D = Definition(threshold=0.9, budget=1000, gap=200)
NEVER = np.inf


@pytest.mark.parametrize(
    ("train", "test", "observed", "diverged", "phase"),
    [
        (100, 200, 1000, False, Phase.COMPREHENSION),
        (100, 300, 1000, False, Phase.GROKKING),  # a delay equal to the gap is late
        (100, 299, 1000, False, Phase.COMPREHENSION),
        (100, 1000, 1000, False, Phase.GROKKING),  # reached at the very last step
        (100, 1001, 2000, False, Phase.MEMORISATION),  # reached after the budget that is asked about
        (100, NEVER, 1000, False, Phase.MEMORISATION),
        (NEVER, NEVER, 1000, False, Phase.CONFUSION),
        (NEVER, 100, 1000, False, Phase.TEST_FIRST),
        (300, 100, 1000, False, Phase.COMPREHENSION),  # test before train, both reached
        (0, 0, 1000, False, Phase.COMPREHENSION),  # reached at step 0
        (100, NEVER, 500, False, Phase.UNDECIDED),  # shorter than the budget asked
        (NEVER, NEVER, 500, False, Phase.UNDECIDED),
        (100, 200, 500, False, Phase.COMPREHENSION),  # stopped early, but decided
        (NEVER, NEVER, 50, True, Phase.DIVERGED),
        (100, NEVER, 500, True, Phase.DIVERGED),
        (100, 400, 500, True, Phase.GROKKING),  # diverged after it had generalised
        (NEVER, NEVER, 1000, True, Phase.CONFUSION),  # diverged after the budget had ended
    ],
)
def test_labels(train, test, observed, diverged, phase):
    arrays = [np.array([v]) for v in (float(train), float(test), observed, diverged)]
    assert Phase(phases(*arrays, D)[0]) == phase


def test_times_of_first_and_sustained_crossing():
    steps = np.arange(6)[None] * 10.0
    values = np.array([[0.0, 0.95, 0.2, 0.9, 0.95, 1.0]])
    assert times(steps, values, 0.9) == 10
    held = lambda threshold, sustained: times(steps, values, threshold, sustained, every=10)  # noqa: E731
    assert held(0.9, 2) == held(0.9, 3) == 30
    assert held(0.9, 4) == NEVER
    assert held(0.0, 6) == 0
    assert held(0.0, 7) == held(0.0, 2**31) == NEVER
    assert times(steps, values, 0.9, sustained=0) == 30
    assert times(steps, values, 0.99) == 50


def test_times_end_with_the_run():
    steps = np.array([[0.0, 10.0, 20.0, np.nan], [0.0, np.nan, np.nan, np.nan], [0.0, 10.0, 20.0, 30.0]])
    values = np.array([[0.1, 0.9, 0.95, np.nan], [1.0, np.nan, np.nan, np.nan], [0.1, 0.2, np.nan, np.nan]])
    np.testing.assert_array_equal(times(steps, values, 0.9), [10, 0, NEVER])
    np.testing.assert_array_equal(times(steps, values, 0.9, sustained=0), [10, 0, NEVER])
    np.testing.assert_array_equal(times(steps, values, 0.9, sustained=2, every=10), [10, NEVER, NEVER])


def test_early_evaluations_do_not_make_three_in_a_row():
    steps = np.array([0.0, 1, 2, 4, 8, 10, 20, 30, 40])
    values = np.array([[0, 0, 1, 1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1.0]])
    steps = np.repeat(steps[None], 3, 0)
    np.testing.assert_array_equal(times(steps, values, 0.9, 3, every=10), [20, 2, 10])
    np.testing.assert_array_equal(times(steps, values, 0.9, 4, every=[10, 10, 10]), [NEVER, NEVER, 10])
    np.testing.assert_array_equal(times(steps, values, 0.9, 4, every=[10, 5, 5]), [NEVER, 2, 10])
    with pytest.raises(FieldError, match="every = None"):
        times(steps, values, 0.9, 2)


def test_accuracies_are_compared_as_they_are_stored():
    nine_of_ten = np.float32([[9 / 10]]).astype(float)
    assert nine_of_ten < 0.9
    assert times(np.array([[5.0]]), nine_of_ten, 0.9) == 5
    assert times(np.array([[5.0]]), np.nextafter(np.float32([[0.9]]), np.float32(0)), 0.9) == np.inf
    a_tenth = np.float32([[0.1]]).astype(float)
    assert a_tenth > 0.1
    assert times(np.array([[5.0]]), a_tenth, 0.1, below=True) == 5
    assert times(np.array([[5.0]]), np.nextafter(np.float32(a_tenth), np.float32(1)), 0.1, below=True) == np.inf


def test_no_runs():
    assert times(np.zeros((0, 3)), np.zeros((0, 3)), 0.9).shape == (0,)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12), st.floats(0.125, 1, width=32), st.integers(1, 14))
def test_times_agree_with_the_definition(curve, threshold, sustained):
    n = len(curve)
    want = next(
        (i * 5.0 for i in range(n - sustained + 1) if all(v >= threshold for v in curve[i : i + sustained])), NEVER
    )
    to_end = next((i * 5.0 for i in range(n) if all(v >= threshold for v in curve[i:])), NEVER)
    steps, values = np.arange(n)[None] * 5.0, np.array([curve])
    assert times(steps, values, threshold, sustained, every=5) == want
    assert times(steps, values, threshold, sustained=0) == to_end
    for often, found in ((sustained, want), (0, to_end)):
        assert times(steps, -values, -threshold, often, every=5, below=True) == found


@pytest.mark.parametrize(
    ("text", "metric", "below", "threshold", "curves", "said"),
    [
        ("loss <= 0.01", "loss", True, 0.01, ("train/loss", "test/loss"), "test loss ≤ 0.01"),
        (" test/loss≤1e-3 ", "loss", True, 0.001, ("train/loss", "test/loss"), "test loss ≤ 0.001"),
        ("r2>=-3", "r2", False, -3.0, ("train/r2", "test/r2"), "test r2 ≥ -3"),
        ("ood/accuracy ≥ .9", "ood/accuracy", False, 0.9, ("train/accuracy", "ood/accuracy"), "ood accuracy ≥ 0.9"),
        ("accuracy >= 1", "accuracy", False, 1.0, ("train/accuracy", "test/accuracy"), "accuracy ≥ 1"),
        ("accuracy <= .1", "accuracy", True, 0.1, ("train/accuracy", "test/accuracy"), "accuracy ≤ 0.1"),
    ],
)
def test_a_comparison_says_metric_direction_and_threshold(text, metric, below, threshold, curves, said):
    assert parse_metric(text) == {"metric": metric, "below": below, "threshold": threshold}
    d = definition(**parse_metric(text), budget=50, gap=0)
    assert d == Definition(threshold, 50, 0, metric=metric, below=below)
    assert d.curves == curves
    assert str(d) == f"{said} (first crossing), budget 50 steps, gap 0 steps"


@pytest.mark.parametrize(
    "text",
    ["loss", "loss < 1", "loss <= ", "<= 1", "loss <= x", "loss <= .1 .2", "a b <= 1", "a <= b <= 1", 3, None, ""],
)
def test_other_texts_are_no_comparisons(text):
    with pytest.raises(FieldError, match=r"metric = .*must (look like 'loss <= 0\.01'|be the name of a curve)"):
        parse_metric(text)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"metric": "train/loss", "threshold": 1}, "metric = 'train/loss': must be the name of a curve"),
        ({"metric": "a/b/c", "threshold": 1}, "metric = 'a/b/c': must be the name of a curve"),
        ({"metric": "2loss", "threshold": 1}, "metric = '2loss'"),
        ({"metric": "lo\nss", "threshold": 1}, "metric = "),
        ({"metric": ["loss"], "threshold": 1}, "metric = "),
        ({"metric": "loss"}, "threshold = None: must be given with the metric loss"),
        ({"metric": "loss", "threshold": float("nan")}, "threshold = nan: must be a number"),
        ({"metric": "loss", "threshold": 1e39}, "threshold = 1e\\+39: must be a number"),
        ({"metric": "loss", "threshold": True}, "threshold = True: must be a number"),
        ({"metric": "ood/accuracy", "threshold": 1.5}, r"threshold = 1.5: must be a number in \[0, 1\]"),
        ({"threshold": -0.1}, r"threshold = -0.1: must be a number in \[0, 1\]"),
        ({"below": 1}, "below = 1: must be true or false"),
    ],
)
def test_definitions_that_are_not_allowed(wrong, said):
    with pytest.raises(FieldError, match=said):
        check_definition(wrong)


def test_the_threshold_of_an_accuracy_can_be_left_out():
    assert definition(budget=5, gap=0) == Definition(0.9, 5, 0)
    assert definition(metric="test/accuracy", budget=5, gap=0) == Definition(0.9, 5, 0)
    check_definition({"metric": "ood/accuracy"})
    assert dataclasses.replace(D, metric="ood/accuracy").tested == "ood accuracy"


def test_examples():
    assert doctest.testmod(module).failed == 0
