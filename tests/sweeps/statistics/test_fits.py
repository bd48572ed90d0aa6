import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from jaxgen import FieldError
from sweeps.statistics import fits
from sweeps.statistics.fits import collapse_score, compare_collapses, critical_value, power_law

GRID = np.linspace(0.1, 0.9, 17)


def draw(x, centre, slope, rng):
    return rng.random(len(x)) < 1 / (1 + np.exp(-slope * (x - centre)))


@pytest.mark.parametrize("slope", [12, -12])
def test_critical_value_of_known_data(slope):
    x = np.repeat(GRID, 200)
    found = critical_value(x, draw(x, 0.4, slope, np.random.default_rng(0)))
    assert found.low < 0.4 < found.high
    assert found.high - found.low < 0.06
    assert found.value == pytest.approx(0.4, abs=0.02)
    assert found.slope == pytest.approx(slope, rel=0.15)
    assert found.units == 17 * 200


@given(st.integers(0, 10**6), st.floats(0.5, 60), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_critical_value_minimises_what_it_says(key, slope, centre):
    rng = np.random.default_rng(key)
    x = rng.random(40)
    success = draw(x, centre, slope, rng)
    if success.all() or not success.any():
        return
    u = (x - x.mean()) / x.std()

    def loss(parameters):
        eta = parameters[0] + parameters[1] * u
        return np.logaddexp(0, eta).sum() - eta[success].sum() + 0.0005 * parameters[1] ** 2

    best = optimize.minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).x
    found = critical_value(x, success)
    assert found.slope * x.std() == pytest.approx(best[1], rel=1e-3, abs=1e-3)
    value = x.mean() - x.std() * best[0] / best[1]
    separated = x[success].min() > x[~success].max() or x[success].max() < x[~success].min()
    if x.min() + 1e-3 < value < x.max() - 1e-3 and not separated:
        assert found.value == pytest.approx(value, abs=2e-3)


def test_fit_where_plain_newton_diverges():
    x = np.repeat([30, 31, 61, 61.01], [3, 1000, 1, 3])
    success = np.arange(len(x)) >= 18  # 3 of 3 fail, then 15 of 1000
    found = critical_value(x, success)
    a, b = -found.slope * (found.value - x.mean()), found.slope * x.std()
    u, p = (x - x.mean()) / x.std(), 1 / (1 + np.exp(-found.slope * (x - found.value)))
    assert (p - success).sum() == pytest.approx(0, abs=1e-6)  # the gradient of what is minimised
    assert ((p - success) * u).sum() + fits.RIDGE * b == pytest.approx(0, abs=1e-6)
    assert (a, b) == pytest.approx((5.198, 16.503), abs=1e-3)


def test_log_axis():
    x = np.logspace(-3, 3, 25).repeat(40)
    found = critical_value(x, draw(np.log(x), np.log(0.2), 3, np.random.default_rng(1)), log=True)
    assert found.low < 0.2 < found.high
    assert found.value == pytest.approx(0.2, rel=0.15)
    assert found.slope == pytest.approx(3, rel=0.15)
    scaled = critical_value(1000 * x, draw(np.log(x), np.log(0.2), 3, np.random.default_rng(1)), log=True)
    assert [scaled.value, scaled.low, scaled.high] == pytest.approx(
        [1000 * v for v in (found.value, found.low, found.high)]
    )


@given(st.lists(st.sampled_from([1, 2, 30, 3000]), min_size=2, max_size=8), st.data(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_separated_runs_give_a_value_between_the_neighbours(counts, data, falls):
    """Also where one side has thousands of runs and the other one, or they are far away."""
    places = np.cumsum(
        data.draw(st.lists(st.sampled_from([0.01, 1.0, 30.0]), min_size=len(counts), max_size=len(counts)))
    )
    border = data.draw(st.integers(1, len(counts) - 1))
    x = np.repeat(places, counts)
    found = critical_value(x, (x >= places[border]) ^ falls)
    assert places[border - 1] <= found.value <= places[border]
    assert found.low <= places[border - 1]  # no run says where in between it is
    assert found.high >= places[border]
    assert np.isfinite(found.slope)
    assert (found.slope < 0) == falls


def test_a_symmetric_separation_is_in_the_middle():
    x = np.repeat([1.0, 2, 3, 4], 5)
    found = critical_value(x, x > 2, seeds=np.tile(np.arange(5), 4))
    assert found.value == pytest.approx(2.5)
    assert (found.low, found.high, found.units) == (2, 3, 5)


def test_outside_the_observed_range():
    x = np.repeat([1.0, 2, 3], 20)
    for success, end in ((np.ones(60), -np.inf), (np.zeros(60), np.inf)):
        found = critical_value(x, success)
        assert (found.value, found.low, found.high) == (end, end, end)
        assert np.isnan(found.slope)
    rare = np.arange(60) % 20 < np.repeat([0, 1, 3], 20)
    assert critical_value(x, rare).value == np.inf
    assert critical_value(x, ~rare).value == np.inf  # falls with x: more x than there is would be needed to fail
    assert critical_value(x, rare[::-1]).value == -np.inf
    assert critical_value(x, rare).low > 2
    even = critical_value(x, np.arange(60) % 2)  # half everywhere: there is no such x
    assert np.isnan(even.value)
    assert (even.low, even.high) == (-np.inf, np.inf)


def test_without_its_only_failure_a_value_lies_where_failures_would_begin():
    """One failure, at the largest x: without that run there is none, and success falls with x."""
    falling = critical_value([1.0, 1, 2, 2, 3, 3], [1, 1, 1, 1, 1, 0])
    assert falling.slope < 0
    assert falling.high == np.inf
    assert falling.low < 3
    growing = critical_value([1.0, 1, 2, 2, 3, 3], [0, 1, 1, 1, 1, 1])
    assert growing.low == -np.inf
    assert growing.high > 1


def test_seeds_are_drawn_whole():
    """Twelve seeds with a threshold each at nine x: the value varies as their mean does, not as 108 runs would."""
    rng = np.random.default_rng(0)
    thresholds = rng.uniform(0.3, 0.7, 12)
    x, seeds = np.tile(GRID, 12), np.repeat(np.arange(12), len(GRID))
    success = x > thresholds[seeds]
    by_seed, by_run = critical_value(x, success, seeds), critical_value(x, success)
    assert by_seed.value == by_run.value
    assert by_seed.high - by_seed.low == pytest.approx(2 * 1.96 * stats.sem(thresholds), rel=0.3)
    assert by_seed.high - by_seed.low > 1.5 * (by_run.high - by_run.low)
    names = np.array([f"{seed}, split 3" for seed in seeds])
    assert critical_value(x, success, names).value == by_seed.value
    two = critical_value(x, success, seeds % 2)
    assert (two.low, two.high) == (-np.inf, np.inf)


def test_interval_covers():
    hits = []
    for key in range(100):
        rng = np.random.default_rng(key)
        x, seeds = np.tile(GRID, 20), np.repeat(np.arange(20), len(GRID))
        success = draw(x - 0.1 * rng.normal(size=20)[seeds], 0.5, 20, rng)
        found = critical_value(x, success, seeds)
        hits.append(found.low <= 0.5 <= found.high)
    assert 0.88 <= np.mean(hits) < 1


def test_the_interval_is_the_jackknife_of_fits_without_each_seed():
    rng = np.random.default_rng(3)
    x, seeds = np.tile(GRID, 4), np.repeat(np.arange(4), len(GRID))
    success = draw(x - 0.03 * rng.normal(size=4)[seeds], 0.5, 25, rng)
    found = critical_value(x, success, seeds)
    without = [critical_value(x[seeds != s], success[seeds != s]).value for s in range(4)]
    forth = lambda value: np.arctan((np.asarray(value) - x.mean()) / x.std() / 2)  # noqa: E731
    rounding = 0.05 / x.std() * np.cos(forth(found.value)) ** 2 / 2 / np.sqrt(12 * 4)
    spread = 3 / 4 * np.sum((forth(without) - np.mean(forth(without))) ** 2)
    half = stats.t.ppf(0.975, 3) * np.sqrt(spread + rounding**2)
    ends = [x.mean() + 2 * x.std() * np.tan(forth(found.value) + side * half) for side in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(ends, rel=1e-6)


@pytest.mark.parametrize("seeds", [3, 5])
def test_few_seeds_that_all_succeed_say_nothing(seeds):
    x, of = np.tile([1.0, 2, 3], seeds), np.repeat(np.arange(seeds), 3)
    found = critical_value(x, np.ones(3 * seeds), of)
    assert (found.value, found.low, found.high) == (-np.inf, -np.inf, np.inf)


def test_more_runs_than_groups_are_left_out_in_groups(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.random(400)
    success = draw(x, 0.5, 8, rng)
    groups = critical_value(x, success)
    assert groups == critical_value(x, success)
    monkeypatch.setattr(fits, "GROUPS", 400)
    each = critical_value(x, success)
    assert groups.value == each.value
    assert groups.high - groups.low == pytest.approx(each.high - each.low, rel=0.2)


def test_intervals_of_many_runs_are_quick():
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    success = draw(x, 0.4, 12, rng)
    start = time.process_time()
    critical_value(x, success)
    assert time.process_time() - start < 2


def test_power_law_of_known_data():
    exact = power_law([1, 2, 4, 8], [3, 12, 48, 192])
    assert (exact.value, exact.prefactor, exact.r2) == pytest.approx((2, 3, 1))
    assert (exact.low, exact.high) == pytest.approx((2, 2))
    rng = np.random.default_rng(0)
    x = np.repeat([2.0, 4, 8, 16, 32], 20)
    y = 0.7 * x**-1.5 * np.exp(0.3 * rng.normal(size=100))
    found, known = power_law(x, y), stats.linregress(np.log(x), np.log(y))
    assert found.value == pytest.approx(known.slope, rel=1e-12)
    assert found.prefactor == pytest.approx(np.exp(known.intercept), rel=1e-12)
    assert found.r2 == pytest.approx(known.rvalue**2, rel=1e-12)
    assert found.high - found.low == pytest.approx(2 * 1.98 * known.stderr, rel=0.25)
    assert found.low < -1.5 < found.high


def test_power_law_over_seeds():
    """An exponent per seed and no other noise: the interval is that of their mean."""
    exponents = np.random.default_rng(0).normal(2, 0.2, 15)
    x, seeds = np.tile([1.0, 3, 10, 30], 15), np.repeat(np.arange(15), 4)
    found = power_law(x, x ** exponents[seeds], seeds)
    assert found.value == pytest.approx(exponents.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * stats.sem(exponents), rel=0.2)
    mean, error = exponents.mean(), stats.sem(exponents)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 14, mean, error))
    two = power_law(x[:8], x[:8] ** 2, seeds[:8])
    assert (two.low, two.high) == (-np.inf, np.inf)


def test_power_law_of_a_constant():
    found = power_law([1, 2, 4, 8, 16], [0.1] * 5)
    assert (found.value, found.prefactor) == pytest.approx((0, 0.1), abs=1e-12)
    assert np.isnan(found.r2)


def curves(rng, shift=0.0, noise=0.0):
    x = np.sort(rng.uniform(-3, 3, (4, 60)), axis=1)
    which = np.arange(4)[:, None] + np.zeros((1, 60), int)
    y = np.tanh(x - shift * which) + noise * rng.normal(size=x.shape)
    return x.ravel(), y.ravel(), which.ravel()


def test_curves_that_collapse_score_0_and_noise_1():
    rng = np.random.default_rng(0)
    assert collapse_score([0, 1, 2, 0, 0.5, 2], [0, 2, 4, 0, 1, 4], [0, 0, 0, 1, 1, 1]) == 0
    assert collapse_score(*curves(rng)) < 1e-4
    x, _, which = curves(rng)
    noise = [collapse_score(x, rng.normal(size=len(x)), which) for _ in range(50)]
    assert np.mean(noise) == pytest.approx(1, abs=0.02)
    in_ties = [collapse_score(np.round(x), rng.normal(size=len(x)), which) for _ in range(50)]
    assert np.mean(in_ties) == pytest.approx(1, abs=0.02)


def test_residual_noise_is_measured_in_units_of_the_variance():
    x, y, which = curves(np.random.default_rng(0), noise=0.2)
    assert collapse_score(x, y, which) == pytest.approx(0.2**2 / y.var(), rel=0.2)
    assert collapse_score(3 * x - 7, 5 * y + 100, which.astype(str)) == pytest.approx(collapse_score(x, y, which))


def test_the_right_scaling_scores_best():
    """y = f((x - x_c) n^(1/ν)) with ν = 2, x_c = .4: the true scaling has the least score of a grid."""
    x, n = np.meshgrid(np.linspace(0, 1, 41), [20, 50, 100, 200])
    y = 1 / (1 + np.exp(-3 * (x - 0.4) * n**0.5))
    score = lambda centre, power: collapse_score(((x - centre) * n**power).ravel(), y.ravel(), n.ravel())  # noqa: E731
    grid = {(c, p): score(c, p) for c in (0.2, 0.3, 0.4, 0.5, 0.6) for p in (0.0, 0.25, 0.5, 0.75, 1.0)}
    assert min(grid, key=grid.get) == (0.4, 0.5)
    assert grid[0.4, 0.5] < 1e-3 < grid[0.4, 0.0]


def family(seeds, noise=0.05, key=0):
    """y = f((x - .4) n^½) with noise, and proposed variables by their (x_c, 1/ν)."""
    x, n, seed = np.meshgrid(np.linspace(0, 1, 21), [20, 50, 100, 200], np.arange(seeds), indexing="ij")
    y = 1 / (1 + np.exp(-3 * (x - 0.4) * n**0.5)) + noise * np.random.default_rng(key).normal(size=x.shape)
    scalings = {(c, p): ((x - c) * n**p).ravel() for c, p in ((0.4, 0.0), (0.4, 0.5), (0.4, 0.75), (0.3, 0.5))}
    return scalings, y.ravel(), n.ravel(), seed.ravel()


def test_scalings_are_compared_on_the_same_seeds():
    scalings, y, curve, seeds = family(6)
    found = compare_collapses(scalings, y, curve, seeds)
    for name, x in scalings.items():
        assert found[name].score.value == collapse_score(x, y, curve)
        assert found[name].score.low < found[name].score.value < found[name].score.high
        assert found[name].worse.value == found[name].score.value - found[0.4, 0.5].score.value
        assert found[name].floor == pytest.approx(0.05**2 / y.var(), rel=0.1)
    right = found[0.4, 0.5]
    assert (right.worse.value, right.worse.low, right.worse.high) == (0, 0, 0)
    assert right.over_floor == pytest.approx(1, abs=0.1)
    for wrong in ((0.4, 0.0), (0.4, 0.75), (0.3, 0.5)):
        assert found[wrong].worse.low > 0
    assert found[0.4, 0.0].score.value < 0.1  # low, and wrong
    assert found[0.4, 0.0].overlap == 1 > right.overlap > 0.5
    assert compare_collapses(scalings, y, curve, seeds) == found


def test_variables_that_say_the_same_are_not_told_apart():
    scalings, y, curve, seeds = family(4, key=1)
    both = {"one": scalings[0.4, 0.5], "other": 3 * scalings[0.4, 0.5] - 7}
    for one in compare_collapses(both, y, curve, seeds).values():
        assert one.worse.value == pytest.approx(0, abs=1e-12)
        assert one.worse.low <= 1e-12
    exact = compare_collapses(*family(2, noise=0.0))[0.4, 0.0]
    unknown = -np.inf, np.inf  # of two seeds
    assert (exact.score.low, exact.score.high) == (exact.worse.low, exact.worse.high) == unknown
    assert exact.over_floor == np.inf


def test_collapse_that_cannot_be_judged():
    assert np.isnan(collapse_score([0, 1, 2, 3], [0, 1, 2, 3], [0, 0, 1, 1]))  # nothing overlaps
    assert np.isnan(collapse_score([0, 1, 0, 1], [5, 5, 5, 5], [0, 0, 1, 1]))
    assert collapse_score([1, 1, 1, 1], [1, 1, 2, 2], [0, 0, 1, 1]) > 1


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("x", lambda: critical_value([], [])),
        ("x", lambda: critical_value([1, 1], [0, 1])),
        ("x", lambda: critical_value([0, np.nan], [0, 1])),
        ("x", lambda: critical_value([0, 1], [0, 1], log=True)),
        ("success", lambda: critical_value([0, 1], [0, np.nan])),
        ("success", lambda: critical_value([0, 1], [True])),
        ("seeds", lambda: critical_value([0, 1], [0, 1], seeds=[1])),
        ("confidence", lambda: critical_value([0, 1], [0, 1], confidence=1)),
        ("confidence", lambda: power_law([1, 2], [1, 2], confidence=0)),
        ("x", lambda: power_law([0, 1], [1, 2])),
        ("x", lambda: power_law([2, 2], [1, 2])),
        ("y", lambda: power_law([1, 2, 3], [1, 0, 2])),
        ("y", lambda: power_law([1, 2, 3], [1, np.nan, 2])),
        ("y", lambda: collapse_score([1, 2], [1, np.inf], [0, 1])),
        ("curve", lambda: collapse_score([1, 2], [1, 2], [0, 0])),
        ("curve", lambda: collapse_score([], [], [])),
        ("scalings", lambda: compare_collapses({}, [1, 2], [0, 1], [0, 0])),
        ("seeds", lambda: compare_collapses({"x": [1, 2]}, [1, 2], [0, 1], [0])),
        ("curve", lambda: compare_collapses({"x": [1, 2]}, [1, 2], [0, 0], [0, 1])),
        ("confidence", lambda: compare_collapses({"x": [1, 2]}, [1, 2], [0, 1], [0, 1], 95)),
    ],
)
def test_bad_input_is_refused(field, call):
    with pytest.raises(FieldError) as error:
        call()
    assert error.value.field == field


def test_censored_times_are_refused_by_name():
    with pytest.raises(FieldError, match=r"y = inf: is a time that was not reached"):
        power_law([1, 2, 3], [100, 200, np.inf])
