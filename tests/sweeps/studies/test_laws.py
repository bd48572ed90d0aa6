"""Claims of exponents, critical values, areas, ratios and collapses, against closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from jaxgen import Experiment, FieldError, Training, losses, models, optimizers, tasks
from sweeps.statistics import fits
from sweeps.statistics.estimate import Estimate
from sweeps.studies import claims, effects, laws
from sweeps.studies.effects import Effect, Verdict

SIZES = (1.0, 2.0, 4.0, 8.0)


def powers(exponents, sizes=SIZES):
    return {size: pd.Series(3 * size ** np.asarray(exponents)) for size in sizes}


def rises(places):
    """A seed succeeds from its place on."""
    return {number: pd.Series(number > np.asarray(places)) for number in np.linspace(0, 1, 11)}


def numbers(estimate):
    return estimate.value, estimate.low, estimate.high


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_an_exponent_has_the_interval_of_its_seeds_slopes(confidence):
    own = np.array([-1.4, -1.6, -1.55, -1.3])
    found = laws.exponent("steps", powers(own), below=-1.0).at(confidence)
    want = stats.t.interval(confidence, 3, own.mean(), stats.sem(own))
    assert numbers(found) == pytest.approx((own.mean(), *want))
    assert (found.confidence, found.units, found.resampled) == (confidence, 4, "seeds")


def test_an_exponent_is_claimed_like_any_effect():
    arms = powers([-1.4, -1.6, -1.55, -1.3])
    verdict = lambda **claimed: laws.exponent("steps", arms, **claimed).verdict  # noqa: E731
    assert verdict() is None
    assert verdict(below=-1.0) == verdict(above=-2.0, below=-1.0, published=-1.5) == Verdict.PASS
    assert verdict(above=-1.0) == Verdict.FAIL
    assert verdict(above=-1.5) == Verdict.UNDECIDED


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_of_times_that_are_missing_there_is_no_exponent(missing):
    arms = powers([-1.4, -1.6, -1.55, -1.3])
    arms[8.0] = arms[8.0].where(arms[8.0].index < 3, missing)
    found = laws.exponent("steps", arms, below=-1.0)
    assert (found.estimate.low, found.estimate.high, found.verdict) == (-np.inf, np.inf, Verdict.UNDECIDED)


@pytest.mark.parametrize(("seeds", "verdict"), [(2, "UNDECIDED"), (5, "UNDECIDED"), (6, "PASS")])
def test_few_seeds_that_agree_say_as_little_as_equal_values(seeds, verdict):
    assert laws.exponent("steps", powers([-1.5] * seeds), below=-1.0).verdict == verdict
    assert Effect("slope", pd.Series([-1.5] * seeds), None, below=-1.0).verdict == verdict


def test_six_seeds_that_agree_are_too_few_where_more_is_asked():
    found = laws.exponent("steps", powers([-1.5] * 6), above=-1.0)
    assert (found.verdict_at(0.95), found.verdict_at(0.975)) == (Verdict.FAIL, Verdict.UNDECIDED)


def test_a_critical_value_is_that_of_the_fit():
    places = [0.42, 0.55, 0.48, 0.61]
    found = laws.critical("fraction", rises(places), above=0.3, below=0.8)
    x, seeds = np.tile(np.linspace(0, 1, 11), 4), np.repeat(range(4), 11)
    want = fits.critical_value(x, x > np.array(places)[seeds], seeds)
    assert numbers(found.estimate) == pytest.approx(numbers(want))
    assert found.verdict == Verdict.PASS
    logarithmic = laws.critical("rate", {10**x: arm for x, arm in rises(places).items()}, log=True)
    assert numbers(logarithmic.estimate) == pytest.approx([10**number for number in numbers(want)])


def test_a_run_that_is_not_known_may_have_failed_or_succeeded():
    arms, number = rises([0.42, 0.55, 0.48, 0.61]), np.linspace(0, 1, 11)[2]
    either = [laws.critical("x", {**arms, number: pd.Series([end, 0, 0, 0])}).estimate for end in (0.0, 1.0)]
    found = laws.critical("x", {**arms, number: pd.Series([np.nan, 0, 0, 0])}).estimate
    assert found.low == min(one.low for one in either) < max(one.low for one in either)
    assert found.high == max(one.high for one in either)


def test_an_area_is_an_integral():
    side = np.array([0.0, 0.1, 0.5, 1.0])
    bilinear = {(x, y): pd.Series([x * y, 1 - x, 1.0]) for x in side for y in side}
    np.testing.assert_allclose(laws.area(bilinear), [1 / 4, 1 / 2, 1])
    decades = {(x, 10.0**y): pd.Series([y / 2]) for x in side for y in (0, 0.3, 2)}
    np.testing.assert_allclose(laws.area(decades, (False, True)), [1 / 2])
    assert laws.area({**bilinear, (0.5, 0.5): pd.Series([1.0, np.nan, 1.0])}).isna().tolist() == [False, True, False]


def test_a_ratio_of_means_that_hardly_vary_is_a_difference():
    one, other = np.random.default_rng(0).normal(0, 1e-4, (2, 5))
    found = laws.ratio("areas", pd.Series(2 + 2 * one), pd.Series(1 + other), above=0.3, below=0.302).estimate
    low, high = stats.t.interval(0.95, 4, (one - other).mean(), stats.sem(one - other))
    assert (found.low, found.high) == pytest.approx([np.log10(2) + end / np.log(10) for end in (low, high)], abs=1e-8)
    assert high - low > 1e-5


def test_a_ratio_turned_round_is_its_negative():
    one, other = pd.Series([0.2, 0.5, 0.3]), pd.Series([0.1, 0.3, 0.1])
    found, turned = laws.ratio("areas", one, other).estimate, laws.ratio("areas", other, one).estimate
    assert numbers(found) == pytest.approx((-turned.value, -turned.high, -turned.low))
    assert found.value == pytest.approx(np.log10(1.0 / 0.5))


@pytest.mark.parametrize("other", [[0.1, 0.3, np.nan], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.3]])
def test_of_a_ratio_to_nothing_nothing_is_known(other):
    found = laws.ratio("areas", pd.Series([0.2, 0.5, 0.3]), pd.Series(other), above=0.0)
    assert (found.estimate.low, found.estimate.high, found.verdict) == (-np.inf, np.inf, Verdict.UNDECIDED)


def curves(seeds=4):
    rng = np.random.default_rng(0)
    places = [(size, x) for size in (20, 50, 100, 200) for x in np.linspace(0, 1, 21)]
    right = lambda size, x: (x - 0.4) * size**0.5  # noqa: E731
    return {
        (n, x): pd.Series(1 / (1 + np.exp(-3 * right(n, x))) + 0.05 * rng.normal(size=seeds)) for n, x in places
    }, right


def test_that_a_scaling_collapses_curves_better_is_told_apart():
    arms, right = curves()
    wrong = lambda size, x: x  # noqa: E731
    found = laws.collapses("accuracy", arms, right, wrong)
    points = np.array([*arms]).repeat(4, axis=0)
    y, seeds = np.concatenate([*arms.values()]), np.tile(range(4), len(arms))
    both = {"right": right(*points.T), "wrong": points[:, 1]}
    want = fits.compare_collapses(both, y, points[:, 0], seeds)["wrong"].worse
    assert numbers(found.estimate) == pytest.approx(numbers(want))
    assert (found.claimed, found.verdict) == ("> 0", Verdict.PASS)
    assert laws.collapses("accuracy", arms, wrong, right).verdict == Verdict.FAIL
    same = laws.collapses("accuracy", arms, right, lambda size, x: 3 * right(size, x) - 7)
    assert same.verdict == Verdict.UNDECIDED


def test_splits_are_the_units_where_seeds_are_held_and_both_are_refused():
    index = pd.MultiIndex.from_tuples([(7, split) for split in range(4)])
    arms = {size: arm.set_axis(index) for size, arm in powers([-1.4, -1.6, -1.55, -1.3]).items()}
    assert laws.exponent("steps", arms).unit == "4 splits"
    assert laws.ratio("areas", arms[1.0] + arms[2.0], arms[2.0]).unit == "4 splits"
    index = pd.MultiIndex.from_product([range(2), range(2)])
    with pytest.raises(FieldError, match="needs independent values"):
        laws.exponent("steps", {size: arm.set_axis(index) for size, arm in arms.items()})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: laws.exponent("y", powers([1, 2, 3], (1.0,))), "x.*two different values"),
        (lambda: laws.exponent("y", {1.0: pd.Series([0.0]), 2.0: pd.Series([1.0])}), "y.*above 0"),
        (lambda: laws.critical("x", {1.0: pd.Series([0.5]), 2.0: pd.Series([1.0])}), "success.*true or false"),
        (lambda: laws.area({(0, 0): pd.Series([1.0]), (1, 1): pd.Series([1.0])}), "area.*every pair"),
        (lambda: laws.area({(x, y): pd.Series([1.0]) for x in (0, 1) for y in (0, 1)}, (True, False)), "above 0"),
        (lambda: laws.exponent("y", powers([1, 2, 3]), above=1.0, below=0.0), "effect.below"),
        (lambda: Effect("y", Estimate(1.0, 0.5, 1.5, 0.95, 6, "seeds")), "effect.values.*the function that gives it"),
        (lambda: Effect("y", (1.0, 0.5, 1.5)), "effect.values.*a number for each seed"),
        (lambda: Effect("y", lambda *, confidence: 1.0), "effect.values.*gives an Estimate"),
        (lambda: Effect("y", lambda *, confidence: 1.0, within=(0, 1)), "effect.within.*by seed"),
    ],
)
def test_what_is_no_law_is_refused(make, said):
    with pytest.raises(FieldError, match=said):
        make()


def test_a_law_is_printed_with_the_others():
    measured = [
        laws.exponent("steps", powers([-1.4, -1.6, -1.55, -1.3]), below=-1.0, published=-1.5, note="all reached"),
        effects.near("critical fraction", _critical, published=0.5, tolerance=0.2),
    ]
    claim = claims.Claim("1", "times follow a law", lambda evidence: measured)
    (judgement,) = claims.judge([claim], None)
    assert judgement.verdict == Verdict.PASS
    rows = claims.table([judgement]).splitlines()
    assert rows[3].startswith("|  | exponent of steps (all reached) | -1.46 [")
    assert rows[3].endswith("] | < -1; published -1.5 | 4 seeds | PASS |")
    assert "critical fraction" in claims.html([judgement])
    first = judgement.to_dict()["effects"][0]
    assert first["mean"] == pytest.approx(-1.4625)
    assert (first["interval"], first["seeds"], first["by_seed"]) == ("resampling of seeds", 4, {})


def _critical(*, confidence):
    return laws.critical("fraction", rises([0.42, 0.55, 0.48, 0.61])).at(confidence)


def test_an_estimator_that_fails_fails_its_claim():
    claim = claims.Claim("1", "times follow a law", lambda evidence: [laws.exponent("y", {1.0: pd.Series([1.0] * 3)})])
    (judgement,) = claims.judge([claim], None)
    assert judgement.verdict == Verdict.ERROR


def test_arms_along_axes():
    parts = tasks.ModularAddition(p=7), models.QuadraticMLP(width=4), losses.CrossEntropy(), optimizers.AdamW()
    base = Experiment(*parts, Training(steps=10, evaluate_every=5))
    widths, fractions = [8, 16, 8, 16], [0.4, 0.4, 0.6, 0.6]
    runs = [base.override({"model.width": w, "task.train_fraction": f}) for w, f in zip(widths, fractions)]
    arm = claims.Arm(pd.Index([3, 5]), np.zeros((2, 4, 1)), lambda name: np.zeros((2, 4, 1)), experiments=runs)
    values = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    along = arm.along(values, "model.width")
    assert {width: found.to_dict() for width, found in along.items()} == {8: {3: 2, 5: 6}, 16: {3: 3, 5: 7}}
    both = arm.along(values, "model.width", "task.train_fraction")
    assert {place: found.tolist() for place, found in both.items()} == {
        place: values[:, i].tolist() for i, place in enumerate(zip(widths, fractions))
    }


def test_a_crossing_is_the_first_in_the_logarithm_between_numbers():
    arms = {1.0: pd.Series([0.0, 0.6, 0.0, np.nan]), 10.0: pd.Series([0.4, 0.9, 0.1, 0.9])}
    arms[100.0] = pd.Series([0.6, 0.0, 0.2, 0.9])
    found = laws.crossing(arms)
    assert found.tolist()[:3] == [pytest.approx(10**1.5), 1.0, np.inf]
    assert np.isnan(found[3])
    assert laws.crossing({4.0: arms[1.0], 2.0: arms[100.0]})[0] == 2.0
    with pytest.raises(FieldError, match="above 0"):
        laws.crossing({0.0: arms[1.0]})
