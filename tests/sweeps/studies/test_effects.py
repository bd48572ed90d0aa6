"""Quantities by seed, their intervals, and what is said of them."""

import numpy as np
import pandas as pd
import pytest
from by_seed import effect
from scipy import stats

from jaxgen import FieldError
from sweeps.statistics import units
from sweeps.studies import effects
from sweeps.studies.effects import Bounds, Effect, Verdict


def interval(effect):
    return effect.estimate.low, effect.estimate.high


def test_interval_is_students():
    values = np.random.default_rng(0).normal(1, 2, 7)
    want = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(interval(effect(*values)), [want.low, want.high])


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(3, 1, (2000, 5))
    covered = sum(low <= 3 <= high for low, high in (interval(effect(*d)) for d in draws))
    assert stats.binomtest(covered, len(draws), 0.95).pvalue > 1e-3


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.0, 1.1, 0.9], Verdict.PASS),
        ([-1.0, -1.1, -0.9], Verdict.FAIL),
        ([0.0] * 6, Verdict.FAIL),
        ([1.0] * 6, Verdict.PASS),
        ([1.0] * 5, Verdict.UNDECIDED),
        ([0.0] * 5, Verdict.UNDECIDED),
        ([1.0, -1.0, 0.5], Verdict.UNDECIDED),
        ([1.0, 1.1], Verdict.UNDECIDED),
        ([1.0, 1.1, np.nan], Verdict.UNDECIDED),
        ([1.0, 1.1, 0.9, np.nan], Verdict.UNDECIDED),
        ([], Verdict.UNDECIDED),
    ],
)
def test_verdicts(values, verdict):
    assert effect(*values).verdict == verdict


def test_a_seed_of_which_nothing_is_known_leaves_no_interval():
    assert interval(effect(1.0, 1.1, 0.9, np.nan)) == (-np.inf, np.inf)
    assert effect(1.0, 1.1, 0.9, np.nan).seeds == 3


def bounded(low, high):
    return Effect("x", effects.Bounds(pd.Series(low), pd.Series(high)))


def test_lower_bounds_can_pass_and_upper_bounds_can_fail_and_neither_the_other():
    inf, some = np.inf, [0.9, 1.0, 1.1]
    assert bounded(some, [inf] * 3).verdict == Verdict.PASS
    assert bounded([-inf] * 3, some).verdict == Verdict.UNDECIDED
    assert bounded([-1.1, -1.0, -0.9], [inf] * 3).verdict == Verdict.UNDECIDED
    assert bounded([-inf] * 3, [-1.1, -1.0, -0.9]).verdict == Verdict.FAIL
    assert bounded([*some, -inf], [*some, inf]).verdict == Verdict.UNDECIDED  # of one seed nothing is known
    assert bounded([*some, -inf], [*some, 1.0]).verdict == Verdict.UNDECIDED  # an upper bound is no lower one
    assert bounded([*some, inf], [*some, inf]).verdict == Verdict.PASS  # a late arm that diverged: truly infinite
    assert bounded([1.0] * 5, [inf] * 5).verdict == Verdict.UNDECIDED  # each end by its own values
    assert bounded([1.0] * 6, [inf] * 6).verdict == Verdict.PASS
    assert bounded([inf] * 5, [inf] * 5).verdict == bounded([-inf] * 5, [-inf] * 5).verdict == Verdict.UNDECIDED
    assert bounded([inf] * 6, [inf] * 6).verdict == Verdict.PASS
    assert bounded([-inf] * 6, [-inf] * 6).verdict == Verdict.FAIL
    assert (bounded(some, [inf] * 3).relation, bounded([-inf] * 3, some).relation) == ("≥ ", "≤ ")
    assert bounded(some, [inf] * 3).estimate.value == pytest.approx(1.0)


def pairs(values):
    """An effect of values (seeds, splits)."""
    index = pd.MultiIndex.from_product([range(n) for n in values.shape])
    return Effect("x", pd.Series(values.ravel(), index))


def test_seeds_and_splits_that_cross_are_no_independent_pairs():
    rng = np.random.default_rng(2)
    draws = rng.normal(0, 1, (400, 5, 1)) + rng.normal(0, 1, (400, 1, 5)) + rng.normal(0, 0.5, (400, 5, 5))
    covers = lambda interval: interval[0] <= 0 <= interval[1]  # noqa: E731
    crossed = sum(covers(interval(pairs(values))) for values in draws)
    independent = sum(covers(interval(effect(*values.ravel()))) for values in draws)
    assert stats.binomtest(crossed, 400, 0.95).pvalue > 1e-3
    assert independent < 0.75 * 400


def test_the_interval_of_seeds_by_splits_is_what_it_says():
    values = np.array([[1.0, 2.0, 4.0, 3.0], [2.0, 2.0, 5.0, 2.5], [0.0, 1.0, 3.0, 1.0]])
    error = (values.mean(1).var(ddof=1) / 3 + values.mean(0).var(ddof=1) / 4) ** 0.5
    half = stats.t.ppf(0.975, 2) * error
    np.testing.assert_allclose(interval(pairs(values)), [values.mean() - half, values.mean() + half])


@pytest.mark.parametrize(
    ("index", "unit"),
    [
        ([(7, split) for split in range(6)], "6 splits"),
        ([(seed, 7) for seed in range(6)], "6 seeds"),
        ([(seed, 10 + seed) for seed in range(6)], "6 seeds"),
        ([(split // 2, split) for split in range(12)], "6 seeds"),
        ([(seed, seed // 2) for seed in range(12)], "6 splits"),
    ],
)
def test_what_varies_by_itself_is_the_unit(index, unit):
    values = np.random.default_rng(3).normal(1, 1, len(index))
    found = Effect("x", pd.Series(values, pd.MultiIndex.from_tuples(index)))
    assert found.unit == unit
    np.testing.assert_allclose(interval(found), interval(effect(*values.reshape(6, -1).mean(1))))


def test_six_splits_that_agree_are_as_good_as_six_seeds():
    values = pd.Series(1.0, pd.MultiIndex.from_product([[7], range(6)]))
    assert Effect("x", values).verdict == Verdict.PASS
    assert Effect("x", values[:5]).verdict == Verdict.UNDECIDED
    assert pairs(np.ones((6, 6))).verdict == Verdict.PASS
    assert pairs(np.ones((6, 5))).verdict == Verdict.UNDECIDED


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.beta(9, 1, n),
        lambda rng, n: np.where(rng.random(n) < 0.1, 0.0, 1.0),
        lambda rng, n: np.where(rng.random(n) < 0.1, 0.5, 0.95),
    ],
)
def test_a_bounded_mean_seldom_passes_what_is_not_so(draw):
    rng = np.random.default_rng(4)
    truth = draw(rng, 10**6).mean()
    for seeds in (3, 6):
        verdicts = [effect(*draw(rng, seeds), above=truth, within=(0, 1)).verdict for _ in range(400)]
        for verdict in (Verdict.PASS, Verdict.FAIL):
            assert verdicts.count(verdict) <= stats.binom.ppf(0.999, 400, 0.025)


def test_a_bounded_mean_is_as_high_as_its_proof_allows():
    found = units.least_mean(np.ones(8), 0.025)
    assert 0.9 * 0.025 ** (1 / 8) < found < 0.025 ** (1 / 8)  # that of eight successes of eight
    assert np.mean([(1 - stake + stake / found) ** 8 for stake in units.STAKES]) == pytest.approx(40)
    assert units.least_mean(np.zeros(8), 0.025) == 0
    values = np.array([0.2, 0.9, 0.7, 0.7])
    low, high = interval(effect(*values, within=(0, 1)))
    np.testing.assert_allclose(interval(effect(*(1 - values), within=(0, 1))), [1 - high, 1 - low])
    np.testing.assert_allclose(interval(effect(*(3 * values - 1), within=(-1, 2))), [3 * low - 1, 3 * high - 1])


def test_bounds_of_bounded_means_are_those_of_what_they_can_be():
    known, unknown = effect(0.2, 0.9, 0.7, within=(0, 1)), effect(0.2, 0.9, np.nan, within=(0, 1))
    lowest, highest = effect(0.2, 0.9, 0.0, within=(0, 1)), effect(0.2, 0.9, 1.0, within=(0, 1))
    assert interval(unknown) == (interval(lowest)[0], interval(highest)[1])
    assert (known.seeds, unknown.seeds) == (3, 2)


def test_shares_of_seeds_are_exact():
    share = lambda happened: effects.share_of_seeds("it groks", pd.Series(happened))  # noqa: E731
    five = share([True] * 5 + [False])
    for count in range(7):
        want = stats.binomtest(count, 6).proportion_ci(0.95, "exact")
        np.testing.assert_allclose(interval(share([True] * count + [False] * (6 - count))), want)
    assert five.estimate.value == pytest.approx(5 / 6)
    assert share([True] * 6).verdict == Verdict.PASS
    assert share([True] * 5).verdict == Verdict.UNDECIDED
    assert share([False] * 6).verdict == Verdict.FAIL
    some = share([1.0] * 6 + [np.nan])
    assert interval(some) == (interval(share([1] * 6 + [0]))[0], interval(share([1] * 7))[1])
    assert (some.seeds, some.verdict) == (6, Verdict.UNDECIDED)


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ([0.5, 1.2], {"within": (0, 1)}, r"effect.values.*1\.2.*must be in \[0, 1\]"),
        ([0.5, 1.0], {"within": (1, 0)}, r"effect.within.*lower first"),
        ([0.5, 1.0], {"within": 1}, r"effect.within.*two finite numbers"),
        ([0.5, 1.0], {"share": True}, r"effect.values.*0\.5.*must be 0 or 1"),
        ([1.0, 1.0], {"share": "yes"}, r"effect.share"),
        (pd.Series(1.0, pd.MultiIndex.from_product([[0, 1], [2, 3]])), {"within": (0, 1)}, "share a seed or a split"),
        (
            pd.Series(1.0, pd.MultiIndex.from_tuples([(0, 2), (0, 3), (1, 4)])),
            {"share": True},
            "share a seed or a split",
        ),
        (pd.Series(1.0, pd.MultiIndex.from_product([[0, 1], [2, 3], [4]])), {}, "by seed, or by seed and split"),
    ],
)
def test_values_that_do_not_fit_the_interval_are_refused(values, options, said):
    with pytest.raises(FieldError, match=said):
        Effect("x", values, **options)


def test_a_difference_of_bounds_holds_every_difference_of_what_they_hold():
    one = Bounds(pd.Series([1.0, 2.0, -np.inf]), pd.Series([3.0, np.inf, np.inf]))
    other = Bounds(pd.Series([0.5, np.inf, 1.0]), pd.Series([1.0, np.inf, 2.0]))
    found = one - other
    assert found.low.tolist() == [0.0, -np.inf, -np.inf]
    assert found.high.tolist() == [2.5, np.inf, np.inf]
