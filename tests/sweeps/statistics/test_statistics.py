import doctest
import itertools
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxgen import FieldError
from sweeps.statistics import (
    censored_median,
    grouped_median,
    grouped_restricted_mean,
    holm,
    kaplan_meier,
    logrank,
    mcnemar,
    rates,
    survival,
    tests,
    units,
    wilson,
)

# Freireich et al. 1963 (Blood 21:699), weeks of remission; + is censored
TREATED = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"
# Miller 1997, Survival Analysis: acute myelogenous leukemia, R's `aml`
MAINTAINED = "9 13 13+ 18 23 28+ 31 34 45+ 48 161+"
NOT_MAINTAINED = "5 5 8 8 12 16+ 23 27 30 33 43 45"

RUNS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8), st.booleans()), max_size=120)


def data(text):
    return np.array([float(t.rstrip("+")) for t in text.split()]), np.array([t[-1] != "+" for t in text.split()])


def as_arrays(runs):
    groups, steps, reached = np.array(runs, int).reshape(-1, 3).T
    return groups, steps * 50.0, reached.astype(bool)


def test_doctests():
    assert [doctest.testmod(part) for part in (rates, survival, tests, units)] == [(0, 1), (0, 2), (0, 2), (0, 1)]


def test_wilson_against_published_values():
    # Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_wilson_of_arrays_against_scipy(confidence):
    trials = np.arange(1, 31)[:, None] + np.zeros((1, 31), int)
    successes = np.minimum(np.arange(31)[None], trials)
    low, high = wilson(successes, trials, confidence)
    assert low.shape == high.shape == (30, 31)
    for index in np.ndindex(low.shape):
        known = stats.binomtest(successes[index], trials[index]).proportion_ci(confidence, "wilson")
        assert (low[index], high[index]) == pytest.approx((known.low, known.high), abs=1e-13)


def test_wilson_without_trials_and_of_scalars():
    low, high = wilson(np.array([[0, 3]]), np.array([[0, 3]]))
    assert np.isnan(low[0, 0])
    assert np.isnan(high[0, 0])
    assert high[0, 1] == 1
    assert all(type(end) is float for end in wilson(8, 10))
    assert np.isnan(wilson(0, 0)).all()
    assert wilson(np.zeros(0), np.zeros(0))[0].shape == (0,)


def numbers(estimate):
    return [estimate.value, estimate.low, estimate.high]


def mean_and_error(estimate):
    """A mean with its standard error, of which its interval of 95 % is made."""
    return estimate.value, (estimate.high - estimate.value) / stats.t.ppf(0.975, estimate.units - 1)


def test_survival_against_published_values():
    """S of any textbook with these data (e.g. Cox and Oakes 1984); medians and intervals as SAS LIFETEST."""
    treated, placebo = kaplan_meier(*data(TREATED)), kaplan_meier(*data(PLACEBO))
    at_events = treated.probabilities[treated.events > 0]
    assert at_events == pytest.approx([0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482], abs=5e-5)
    assert treated.times[treated.events > 0].tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert treated.at_risk[treated.events > 0].tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert numbers(treated.median) == [23, 13, np.inf]
    assert numbers(placebo.median) == [8, 4, 11]
    assert treated.restricted_mean(23).value == pytest.approx(17.9092, abs=5e-5)
    assert mean_and_error(placebo.restricted_mean(23)) == pytest.approx((8.6667, 1.4114), abs=5e-5)


@pytest.mark.parametrize(
    ("text", "mean", "error", "known"), [(MAINTAINED, 52.6, 19.83, 8), (NOT_MAINTAINED, 22.7, 4.18, 11)]
)
def test_restricted_mean_against_published_values(text, mean, error, known):
    """R's survival, print(survfit(...), rmean=161), whose variance lacks m/(m-1)."""
    found = kaplan_meier(*data(text)).restricted_mean(161)
    assert found.units == known
    assert found.value == pytest.approx(mean, abs=0.05)
    assert mean_and_error(found)[1] * np.sqrt((known - 1) / known) == pytest.approx(error, abs=0.005)


@given(RUNS, st.sampled_from([0.5, 0.9, 0.95]))
@settings(deadline=None)
def test_groups_are_as_scipy_has_them(runs, confidence):
    groups, ended, reached = as_arrays(runs)
    found = grouped_median(groups, 6, ended, reached, confidence)
    means = grouped_restricted_mean(groups, 6, ended, reached, 225).value
    for group in range(6):
        mine = groups == group
        if not mine.any():
            assert np.isnan([*numbers(found[group]), means[group]]).all()
            continue
        curve = kaplan_meier(ended[mine], reached[mine], confidence)
        assert numbers(found[group]) == numbers(curve.median)
        assert means[group] == pytest.approx(curve.restricted_mean(225).value, rel=1e-12, abs=1e-12)
        survival = stats.ecdf(stats.CensoredData.right_censored(ended[mine], ~reached[mine])).sf
        grid = np.linspace(0, 225, 226)[:-1]  # S is constant from one multiple of 50 to the next
        assert means[group] == pytest.approx(survival.evaluate(grid).sum(), rel=1e-12, abs=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            band = survival.confidence_interval(confidence, method="log-log")
        inner = (survival.probabilities > 0) & (survival.probabilities < 1)
        assert curve.low[inner] == pytest.approx(band.low.probabilities[inner], rel=1e-12)
        assert curve.high[inner] == pytest.approx(band.high.probabilities[inner], rel=1e-12)
        assert (curve.low <= curve.probabilities).all()
        assert (curve.probabilities <= curve.high).all()


def test_a_half_is_a_half_after_many_fractions():
    """(23/24)(22/23)…(12/13) is above 1/2 in floating point; the last run is censored: no S is a plain count."""
    ended, reached = np.arange(1.0, 25), np.arange(24) < 23
    at_risk = np.arange(24, 12, -1)
    assert np.cumprod((at_risk - 1) / at_risk)[-1] > 0.5
    assert kaplan_meier(ended, reached).median.value == censored_median(ended, reached) == 12


@pytest.mark.parametrize(("runs", "low", "high"), [(5, 0, np.inf), (6, 100, 100)])
def test_all_runs_at_one_evaluation(runs, low, high):
    """The interval is the sign test's: below six, all on one side of the median has 2 · 2⁻ⁿ > 5 %."""
    curve = kaplan_meier(np.full(runs, 100.0), np.ones(runs, bool))
    assert numbers(curve.median) == [100, low, high]
    assert curve.high[0] == pytest.approx(stats.binomtest(0, runs).proportion_ci(0.95, "exact").high)
    assert numbers(curve.restricted_mean(500)) == [100, 100, 100]


def test_interval_where_the_last_runs_all_end_at_once():
    curve = kaplan_meier(np.repeat([50.0, 200.0], [1, 9]), np.ones(10, bool))
    assert curve.high[1] == pytest.approx(curve.high[0] * stats.binomtest(0, 9).proportion_ci(0.95, "exact").high)
    assert numbers(curve.median) == [200, 50, 200]
    few = kaplan_meier(np.repeat([50.0, 200.0], [2, 4]), np.ones(6, bool))
    assert few.median.high == np.inf


def test_interval_of_the_median_covers_it():
    rng = np.random.default_rng(0)
    truth, watched = rng.exponential(1000, (2000, 20)), rng.uniform(1000, 6000, (2000, 20))
    for grid in (1, 400):
        reached, ended = truth <= watched, np.minimum(truth, watched)
        ended = np.where(reached, np.ceil(ended / grid), np.floor(ended / grid)) * grid
        median = np.ceil(1000 * np.log(2) / grid) * grid
        found = grouped_median(np.repeat(np.arange(2000), 20), 2000, ended.ravel(), reached.ravel())
        assert found.holds(median).mean() > 0.94
        assert np.isfinite(found.high).mean() > 0.99
    assert ((found.low == median) & (median == found.high)).mean() < 0.9


@pytest.mark.parametrize("runs", [3, 5, 6])
def test_few_runs_do_not_bound_a_median_that_they_all_exceed(runs):
    times = np.random.default_rng(1).exponential(1, (4000, runs))
    groups = np.repeat(np.arange(4000), runs)
    found = grouped_median(groups, 4000, times.ravel(), np.ones(4000 * runs, bool))
    assert found.holds(np.log(2)).mean() > 0.95
    assert (found.low > 0).all() == (runs >= 6)


def test_uncensored_restricted_mean_is_the_mean():
    times = np.random.default_rng(0).integers(1, 40, 31) * 50.0
    found = kaplan_meier(times, np.ones(31, bool), 0.9).restricted_mean(1200)
    cut = np.minimum(times, 1200)
    assert found.value == pytest.approx(cut.mean(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.9, 30, cut.mean(), stats.sem(cut)), rel=1e-12)


def test_interval_of_a_restricted_mean_is_students_where_nothing_is_censored():
    times = np.random.default_rng(0).integers(1, 28, (200, 5)) * 50.0
    groups = np.repeat(np.arange(200), 5)
    found = grouped_restricted_mean(groups, 200, times.ravel(), np.ones(1000, bool), 1200, 0.9)
    cut = np.minimum(times, 1200)
    half = stats.t.ppf(0.95, 4) * stats.sem(cut, axis=1)
    assert half.min() > 0
    np.testing.assert_allclose(found.value, cut.mean(1), rtol=1e-12)
    np.testing.assert_allclose(
        [found.low, found.high], np.clip([cut.mean(1) - half, cut.mean(1) + half], 0, 1200), rtol=1e-12
    )


def test_interval_of_a_restricted_mean_holds_whatever_censored_runs_did():
    rng = np.random.default_rng(1)
    ended, reached = rng.integers(1, 40, (100, 4)) * 50.0, rng.random((100, 4)) < 0.5
    groups = np.repeat(np.arange(100), 4)
    found = grouped_restricted_mean(groups, 100, ended.ravel(), reached.ravel(), 2000)
    for never in np.ndindex(2, 2, 2, 2):
        times = np.where(~reached & np.array(never, bool), 2000, ended)
        other = grouped_restricted_mean(groups, 100, times.ravel(), np.ones(400, bool), 2000)
        assert (found.low <= other.low + 1e-9).all()
        assert (found.high >= other.high - 1e-9).all()
        assert (found.low <= other.value).all()
        assert (found.high >= other.value).all()
    assert (found.high - found.low).mean() < 1900


def test_runs_that_agree_by_chance_do_not_mislead():
    """A share of runs reaches it at once and the others never: that few of them agree is no news."""
    rng = np.random.default_rng(2)
    for runs, share in itertools.product((3, 5, 12), (0.05, 0.3, 0.9)):
        times = np.where(rng.random((4000, runs)) < share, 100.0, 1000.0)
        groups = np.repeat(np.arange(4000), runs)
        found = grouped_restricted_mean(groups, 4000, times.ravel(), (times < 1000).ravel(), 1000)
        mean = share * 100 + (1 - share) * 1000
        missed = (times.min(1) == times.max(1)) & ~found.holds(mean)
        assert missed.mean() < 0.03
        assert (found.low < found.high).all()


def test_runs_that_agree_have_an_interval():
    same = grouped_restricted_mean(np.repeat([0, 1, 2], [3, 4, 2]), 4, np.full(9, 50.0), np.ones(9, bool), 200)
    for group, runs in ((0, 3), (1, 4)):
        others = 1 - 0.025 ** (1 / runs)
        ends = (1 - others) * 50, (1 - others) * 50 + others * 200
        assert numbers(same[group]) == pytest.approx([50, *ends])
        assert same[group].units == runs
    assert np.isnan([same.low[2:], same.high[2:]]).all()
    never = grouped_restricted_mean(np.zeros(5, int), 1, np.full(5, 200.0), np.zeros(5, bool), 200)
    assert numbers(never[0]) == pytest.approx([200, 0.025 ** (1 / 5) * 200, 200])


def test_nothing_and_next_to_nothing():
    none = kaplan_meier(np.zeros(0), np.zeros(0, bool))
    assert np.isnan([*numbers(none.median), *numbers(none.restricted_mean(5))]).all()
    one = kaplan_meier(np.array([100.0]), np.array([True]))
    assert [*numbers(one.median), one.restricted_mean(500).value] == [100, 0, np.inf, 100]
    assert np.isnan(one.restricted_mean(500).high)
    never = kaplan_meier(np.full(4, 300.0), np.zeros(4, bool))
    assert [*numbers(never.median), *numbers(never.restricted_mean(300))] == [np.inf, 0, np.inf, 300, 300, 300]
    many = kaplan_meier(np.full(6, 300.0), np.zeros(6, bool))
    assert (many.median.low, many.median.high) == (np.inf, np.inf)
    assert never.restricted_mean(500).value == 500  # S stays where it was last seen
    assert one.restricted_mean(0).value == 0
    for found in (grouped_median([], 2, [], []), grouped_restricted_mean([], 2, [], [], 5)):
        assert found.value.shape == (2,)
        assert np.isnan(numbers(found)).all()
    assert grouped_median([], 0, [], []).value.shape == (0,)
    assert np.isnan(censored_median(np.zeros(0), np.zeros(0, bool)))


def test_censoring_moves_the_median():
    rng = np.random.default_rng(0)
    truth = rng.exponential(1000, 2001)
    seen = truth <= rng.uniform(500, 3000, 2001)
    ended = np.where(seen, truth, np.minimum(truth, 800))
    assert abs(censored_median(ended, seen) - 1000 * np.log(2)) < 120
    assert np.median(truth[seen]) < 650  # leaving censored runs out is too optimistic
    assert censored_median(np.array([5.0, 5.0]), np.array([False, False])) == np.inf
    curve = stats.ecdf(stats.CensoredData.right_censored(ended, ~seen)).sf
    assert curve.evaluate(censored_median(ended, seen)) <= 0.5


def test_a_million_runs_are_quick_and_exact():
    rng = np.random.default_rng(0)
    groups, ended = rng.integers(10_000, size=1_000_000), rng.integers(1, 200, 1_000_000) * 50.0
    reached = rng.random(1_000_000) < 0.6
    groups[groups == 17] = 18
    start = time.process_time()
    found = grouped_median(groups, 10_000, ended, reached)
    means = grouped_restricted_mean(groups, 10_000, ended, reached, 7000).value
    assert time.process_time() - start < 3
    assert np.flatnonzero(np.isnan(means)).tolist() == [17]
    for group in (0, 18, 9_999):
        curve = kaplan_meier(ended[groups == group], reached[groups == group])
        assert numbers(found[group]) == numbers(curve.median)
        assert means[group] == pytest.approx(curve.restricted_mean(7000).value, rel=1e-12)


def test_logrank_against_published_values():
    found = logrank(*data(PLACEBO), *data(TREATED))  # R's survdiff: chi-squared 16.8, p = 4e-05
    assert found.statistic**2 == pytest.approx(16.79, abs=5e-3)
    assert found.p == pytest.approx(4.17e-5, rel=1e-3)
    assert found.statistic > 0  # placebo relapses sooner
    assert logrank(*data(TREATED), *data(PLACEBO)) == pytest.approx((found.p, -found.statistic))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("100 100", "100 100 100"),
        ("100+ 100+", "50+"),
        (" ".join(["50"] * 7 + ["60"] * 42), "20+ 30+"),  # none of b is at risk by then: scipy rounds to p = 0
    ],
)
def test_logrank_of_arms_that_no_step_tells_apart(a, b):
    assert logrank(*data(a), *data(b)) == (1, 0)


def test_logrank_without_runs():
    assert np.isnan(logrank(*data("1 2"), *data(""))).all()


def test_mcnemar():
    assert mcnemar(21, 28) == pytest.approx(0.39, abs=5e-3)
    assert mcnemar(0, 0) == 1
    a, b = np.meshgrid(np.arange(12), np.arange(12))
    found = mcnemar(a, b)
    for index in np.ndindex(found.shape):
        if a[index] + b[index]:
            assert found[index] == pytest.approx(stats.binomtest(a[index], a[index] + b[index]).pvalue)
    assert isinstance(mcnemar(3, 4), float)


def test_holm():
    # Holm 1979, as R's p.adjust(c(.01, .02, .03, .04, .05), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([[0.04, np.nan], [0.9, 0.001]]) == pytest.approx(np.array([[0.08, np.nan], [0.9, 0.003]]), nan_ok=True)
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).shape == (0,)
    assert np.isnan(holm([np.nan])).all()


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=20), st.floats(0.001, 0.2))
def test_holm_rejects_as_its_procedure_does(p_values, alpha):
    rejected, ordered = set(), np.argsort(p_values, kind="stable")
    for rank, index in enumerate(ordered):  # step down, and stop at the first that is too large
        if p_values[index] * (len(p_values) - rank) > alpha:
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(holm(p_values) <= alpha).tolist()) == rejected


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("successes", lambda: wilson(4, 3)),
        ("successes", lambda: wilson([1, np.nan], 3)),
        ("confidence", lambda: wilson(1, 3, 95)),
        ("confidence", lambda: kaplan_meier([1.0], [True], 0)),
        ("ended", lambda: kaplan_meier([1.0, np.inf], [True, False])),
        ("ended", lambda: logrank([np.nan], [True], [1.0], [True])),
        ("reached", lambda: censored_median(np.ones(3), np.ones(2, bool))),
        ("until", lambda: kaplan_meier([1.0], [True]).restricted_mean(-1)),
        ("until", lambda: grouped_restricted_mean([0], 1, [1.0], [True], np.nan)),
        ("until", lambda: grouped_restricted_mean([0], 1, [1.0], [True], np.inf)),
        ("confidence", lambda: grouped_restricted_mean([0], 1, [1.0], [True], 1, 1)),
        ("groups", lambda: grouped_median([0, 2], 2, [1.0, 2.0], [True, True])),
        ("only_b", lambda: mcnemar(1, -1)),
        ("p_values", lambda: holm([0.5, 1.5])),
    ],
)
def test_bad_input_is_refused(field, call):
    with pytest.raises(FieldError) as error:
        call()
    assert error.value.field == field
