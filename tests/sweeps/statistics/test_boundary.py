import operator

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import expit

from jaxgen import FieldError
from sweeps.axes.scales import Range
from sweeps.statistics import band, boundary, surface

STEPS = np.linspace(0, 1, 301)
PLANE, SQUARE = np.meshgrid(STEPS, STEPS), (Range(0, 1), Range(0, 1))
SHAPES = {  # the event's side is above 0
    "straight": lambda u, v: 0.6 * u + 0.8 * v - 0.7,
    "curved": lambda u, v: v - 0.25 - 0.5 * (u - 0.1) ** 2 - 0.12 * np.sin(5 * u),
}


def draw(shape, key, side=12, seeds=3, width=0.03, shift=0.0):
    """Outcomes on a grid of cells: logit P = (distance + that of the seed) / width."""
    rng, steps = np.random.default_rng(key), np.linspace(0, 1, side)
    x, y, seed = map(np.ravel, np.meshgrid(steps, steps, np.arange(seeds)))
    moved = SHAPES[shape](x, y) + shift * rng.normal(size=seeds)[seed]
    return x, y, rng.random(len(x)) < expit(moved / width), seed


def true_area(shape):
    return np.mean(SHAPES[shape](*PLANE) > 0)


def test_the_mode_is_the_one_that_scipy_finds():
    x, y, event, seed = draw("curved", 0)
    found = boundary.fit(x, y, event, seed, replicates=1)
    at = np.arange(8) / 7
    columns = [np.ones_like(x), x - 0.5, y - 0.5]
    columns += [np.exp(-((x - u) ** 2 + (y - v) ** 2) / 2 / found.radius**2) for v in at for u in at]
    middle = sum(np.exp(-((0.5 - u) ** 2 + (0.5 - v) ** 2) / found.radius**2) for v in at for u in at)
    deviation = np.array([3 * found.spread] * 3 + [found.spread / middle**0.5] * 64)
    design = np.stack(columns, 1) * deviation  # in units of the prior the problem is well conditioned

    def loss(weights):
        logit = design @ weights
        return np.logaddexp(0, np.where(event, -logit, logit)).sum() + weights @ weights / 2

    def slope(weights):
        return design.T @ (expit(design @ weights) - event) + weights

    def curvature(weights):
        p = expit(design @ weights)
        return (design.T * (p * (1 - p))) @ design + np.eye(67)

    best = optimize.minimize(
        loss, np.zeros(67), jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-9}
    )
    np.testing.assert_allclose(found.probability(x, y), expit(design @ best.x), atol=1e-6)
    assert loss(found.weights / deviation) <= best.fun + 1e-9


def test_the_evidence_is_that_of_numerical_integration():
    # a single function and few runs: ∫ p(data | w) p(w) dw by quadrature
    design, trials, events = np.array([[0.3], [1.0], [-0.7]]), np.array([[4.0, 9.0, 5.0]]), np.array([[2.0, 6.0, 1.0]])
    model = surface.Model(design, design**2, 0.4, 1.0)
    model.precision = np.array([0.5])
    mode = model.mode(trials, events, np.zeros((1, 1)), np.zeros((1, 1)), 1e-12)
    w = np.linspace(-10, 10, 20001)
    logit = w[:, None] * design[:, 0]
    log = (events * logit - trials * np.logaddexp(0, logit)).sum(1) + stats.norm.logpdf(w, scale=0.5**-0.5)
    exact = np.log(np.trapezoid(np.exp(log), w))
    assert model.evidence(trials, events, mode) == pytest.approx(
        exact, abs=0.02
    )  # Laplace: the posterior is near normal


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_area_is_covered_and_the_line_is_near(shape):
    repeats, truth = 20, true_area(shape)
    found = [boundary.fit(*draw(shape, key), replicates=200) for key in range(repeats)]
    covered = np.mean([b.area.low <= truth <= b.area.high for b in found])
    assert covered >= 0.85  # of 95 % intervals: 16 or fewer of 20 with a probability of 1.6 %
    assert np.mean([b.area.high - b.area.low for b in found]) < 0.05  # so it is not covered by saying nothing
    assert abs(np.mean([b.area.value for b in found]) - truth) < 0.008
    wrong = [np.mean((b.probability(*PLANE) > 0.5) != (SHAPES[shape](*PLANE) > 0)) for b in found]
    assert np.mean(wrong) < 0.018  # share of the plane on the wrong side, with 432 runs
    for b in found[:5]:
        for line in b.contour():
            assert np.abs(SHAPES[shape](*line.T)).mean() < 0.03
            np.testing.assert_allclose(b.probability(*line.T), 0.5, atol=0.05)


def test_length_of_a_straight_line_and_the_band():
    b = boundary.fit(*draw("straight", 1, side=24))
    across = np.hypot(1, 0.6 / 0.8)  # from u = 0 to u = 1
    assert b.length.low <= across <= b.length.high
    assert b.length.high - b.length.low < 0.1
    assert 0.01 < b.uncertainty < 0.08
    assert b.band.mean() == pytest.approx(b.uncertainty, abs=0.01)
    line = np.concatenate(b.contour())
    inside = [b.band[np.abs(b.y_grid - y).argmin(), np.abs(b.x_grid - x).argmin()] for x, y in line]
    assert np.mean(inside) > 0.95


@pytest.mark.slow
def test_seeds_are_the_sampling_unit():
    truth, wide, narrow, covered = true_area("curved"), [], [], []
    for key in range(12):
        x, y, event, seed = draw("curved", key, side=9, seeds=8, shift=0.06)
        by_seed, by_run = (boundary.fit(x, y, event, s, replicates=200).area for s in (seed, None))
        wide.append(by_seed.high - by_seed.low)
        narrow.append(by_run.high - by_run.low)
        covered.append(by_seed.low <= truth <= by_seed.high)
    assert np.mean(wide) > 1.8 * np.mean(narrow)
    assert np.mean(covered) >= 0.75


def refitted(found, x, y, event):
    """The logit of a fit of the same ℓ and s to other runs, at the points of the grid, by scipy's optimizer."""
    design = surface.basis(x, y, found.radius)
    precision = surface.Model(design, design, found.radius, found.spread).precision

    def loss(weights):
        logit = design @ weights
        return np.logaddexp(0, np.where(event, -logit, logit)).sum() + weights @ (precision * weights) / 2

    slope = lambda w: design.T @ (expit(design @ w) - event) + precision * w  # noqa: E731
    curvature = lambda w: (design.T * (expit(design @ w) * expit(-design @ w))) @ design + np.diag(precision)  # noqa: E731
    best = optimize.minimize(loss, found.weights, jac=slope, hess=curvature, method="trust-exact")
    return surface.basis(*np.meshgrid(band.STEPS, band.STEPS), found.radius) @ best.x


def test_the_area_has_the_interval_of_a_jackknife_over_seeds():
    x, y, event, seed = draw("curved", 2, side=9, seeds=4, shift=0.08)
    found = boundary.fit(x, y, event, seed, replicates=20)
    assert found.units == 4
    without = [band.share(refitted(found, *(a[seed != s] for a in (x, y, event))) > 0) for s in range(4)]
    half = boundary.BIAS * stats.t.ppf(0.975, 3) * np.sqrt(3 / 4 * np.sum((without - np.mean(without)) ** 2))
    alone = boundary.fit(x, y, event, None, replicates=20).area
    assert half > 2 * (alone.high - alone.value)  # so that it is not the bootstrap that is seen
    assert found.area.value - found.area.low == pytest.approx(half, rel=0.02)
    assert found.area.high - found.area.value == pytest.approx(half, rel=0.02)


def test_a_line_is_displaced_by_what_the_jackknife_says_of_it():
    """Planes moved by δ each: d = t √((n - 1)/n Σ (δ - δ̄)²), and so far around the line the logit may be 0."""
    moved = np.array([-0.02, 0.01, 0.03, -0.01])
    u, v = np.meshgrid(band.STEPS, band.STEPS)
    logits = [40 * (0.6 * (u - 0.5) + 0.8 * (v - 0.5) - one) for one in (0, *moved)]
    distance = band.displacement(logits[0], np.array(logits[1:]), 0.95)
    assert distance == pytest.approx(
        stats.t.ppf(0.975, 3) * np.sqrt(3 / 4 * np.sum((moved - moved.mean()) ** 2)), rel=1e-3
    )
    below, above = band.moved(logits[0], distance)
    middle = np.s_[40:60, 40:60]
    np.testing.assert_allclose([below[middle], above[middle]], 40 * distance, rtol=0.06)
    two_lines = [20 * ((u - 0.3 - one) * (u - 0.7 - one)) for one in (0, *moved)]  # which all displace to one side
    assert band.displacement(two_lines[0], np.array(two_lines[1:]), 0.95) == pytest.approx(distance, rel=0.1)


@pytest.mark.parametrize("seeds", [1, 2])
def test_of_one_or_two_seeds_nothing_is_known(seeds):
    found = boundary.fit(*draw("curved", 0, side=8, seeds=seeds), replicates=9)
    assert (found.units, found.area.low, found.area.high) == (seeds, 0, 1)
    assert found.band.all()
    assert found.uncertainty == 1
    assert len(found.contour()) == 1
    agreeing = boundary.fit([0, 1, 0, 1], [0, 0, 1, 1], [True] * 4, [3] * 4, replicates=9)
    assert (agreeing.area.value, agreeing.area.low, agreeing.area.high) == (1, 0, 1)


def test_a_line_between_cells_may_be_anywhere_between_them():
    x, y, seed = map(np.ravel, np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 6), np.arange(3)))
    found = boundary.fit(x, y, x > 0.5, seed, replicates=20)
    between = (found.x_grid > 0.4) & (found.x_grid < 0.6)
    assert found.band[:, between].all()
    assert found.area.low <= 0.4
    assert found.area.high >= 0.59
    two = boundary.fit(x[seed < 2], y[seed < 2], (x > 0.5)[seed < 2], replicates=20)
    assert not two.band[:, between].all()  # two runs do not tell never from always
    diagonal = boundary.fit(x, y, x + 0.6 * y > 0.7, seed, replicates=20)
    for axis, width in ((1, 20), (0, 20)):
        assert diagonal.band.sum(axis).max() >= width


def test_one_run_of_many_that_differs_is_not_an_area_of_0():
    x, y, event, seed = draw("curved", 0, side=12, seeds=3)
    for value in (False, True):
        event[:] = value
        event[200] = not value
        area = boundary.fit(x, y, event, seed, replicates=50).area
        other_side = 1 - area.low if value else area.high
        assert stats.binom.pmf(0, 144, other_side * (1 - 2**-3)) <= 0.025 * (1 + 1e-9)


def test_whole_lines_need_a_wider_band():
    found = [boundary.fit(*draw("straight", key, side=9, seeds=3), replicates=100) for key in range(3)]
    for b in found:
        assert not (b.band & ~b.whole_band).any()
        assert 1.1 < b.whole_band.mean() / b.band.mean() < 3


def test_what_a_line_reaches_is_near_it():
    u, v = np.meshgrid(band.STEPS, band.STEPS)
    logit = 20 * (0.6 * (u - 0.5) + 0.8 * (v - 0.5))
    near = band.reached(logit, np.full_like(logit, 2.0))  # a tenth of an axis
    distance = np.abs(0.6 * (u - 0.5) + 0.8 * (v - 0.5))
    inner = (np.maximum(np.abs(u - 0.5), np.abs(v - 0.5)) < 0.35) & (np.abs(distance - 0.105) > 0.02)
    np.testing.assert_array_equal(near[inner], (distance < 0.105)[inner])
    assert not band.reached(logit + 50, np.full_like(logit, 100.0)).any()  # no line


def test_far_from_the_line_a_large_logit_is_no_band():
    """Where all runs agree a logit is about as uncertain as it is large."""
    found = [boundary.fit(*draw("curved", key, width=0.01), replicates=200) for key in range(3)]
    away = np.abs(SHAPES["curved"](*np.meshgrid(found[0].x_grid, found[0].y_grid))) > 0.3
    assert not any((b.whole_band & away).any() for b in found)


def test_the_width_of_a_simultaneous_band_is_that_of_a_process():
    """Lines displaced by smooth random functions: λ z is the quantile of max |displacement| / s, by simulation."""
    rng, steps = np.random.default_rng(0), band.STEPS
    waves = np.stack([f(2 * np.pi * k * steps) for k in (1, 2, 3) for f in (np.sin, np.cos)])
    moved = rng.normal(size=(2000, 6)) @ waves / 3**0.5  # each point is normal with variance 1
    logit = (steps[None, :] - 0.5) * np.ones((101, 1)) * 100
    logits = logit + 5 * moved[:400, :, None]
    largest = np.quantile(np.abs(moved).max(1), 0.95)
    assert largest > 2.4
    assert band.simultaneous(logit, logits, 0.95) * stats.norm.ppf(0.975) == pytest.approx(largest, rel=0.12)
    assert band.simultaneous(logit, logit + 5 * rng.normal(size=(400, 1, 1)), 0.95) == pytest.approx(1, abs=0.12)


def test_a_length_is_not_negative():
    x, y = np.tile(np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 2), -1).reshape(-1, 2), (3, 1)).T
    chance = 0.15 + 0.7 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1)
    length = boundary.fit(x, y, np.random.default_rng(27).random(108) < chance, np.repeat(range(3), 36)).length
    assert length.low == 0  # three seeds' t interval alone would begin far below
    assert 0.5 < length.value < 1 < length.high


def test_units_and_the_order_of_runs_do_not_matter():
    x, y, event, seed = draw("curved", 3, side=8, seeds=6)
    one = boundary.fit(x, y, event, seed, replicates=50)
    other = boundary.fit(1e3 * np.exp(7 * x), y * 1e-6 - 4, event, seed, ("log", "linear"), replicates=50)
    ends = [f"{name}.{end}" for name in ("area", "length") for end in ("value", "low", "high")]
    for find in map(operator.attrgetter, ("p", "low", "high", *ends)):
        np.testing.assert_allclose(find(one), find(other), atol=1e-6)
    np.testing.assert_allclose(other.x.to_unit(other.contour()[0][:, 0]), one.contour()[0][:, 0], atol=1e-6)
    for seeds in (seed, None):
        shuffled = np.random.default_rng(0).permutation(len(x))
        said = None if seeds is None else seeds[shuffled]
        mixed = boundary.fit(x[shuffled], y[shuffled], event[shuffled], said, replicates=50)
        np.testing.assert_allclose(mixed.low, boundary.fit(x, y, event, seeds, replicates=50).low, atol=1e-6)


def test_many_points_are_gathered(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 900))
    event = rng.random(900) < expit(SHAPES["curved"](x, y) / 0.03)
    one = boundary.fit(x, y, event, replicates=50)
    monkeypatch.setattr(boundary, "BINS", 25)
    points, point = boundary._gathered(x, y)
    assert len(points) < 625
    assert np.abs(points[point] - np.stack([x, y], 1)).max() < 1 / 25
    gathered = boundary.fit(x, y, event, replicates=50)
    assert np.mean((gathered.p > 0.5) != (one.p > 0.5)) < 0.01
    assert gathered.area.high - gathered.area.low == pytest.approx(one.area.high - one.area.low, rel=0.4)


@pytest.mark.parametrize("happened", [True, False])
def test_runs_that_all_agree_leave_room_for_the_other_side(happened):
    x, y, event, seed = draw("curved", 0, side=10, seeds=5)
    b = boundary.fit(x, y, np.full_like(event, happened), seed)
    assert b.contour() == []
    assert b.length.value == 0
    assert b.area.value == happened
    other_side = 1 - b.area.low if happened else b.area.high
    assert stats.binom.pmf(0, 100, other_side * (1 - 2**-5)) <= 0.025 * (1 + 1e-9)  # 100 points of 5 runs
    assert other_side == pytest.approx(0.0374, abs=5e-4)
    assert b.uncertainty == pytest.approx(other_side)
    alone = boundary.fit([0.5], [0.5], [happened], plane=SQUARE)
    assert (alone.area.value, alone.area.low, alone.area.high) == (happened, 0, 1)


def test_two_runs_that_differ_have_a_line_between_them():
    b = boundary.fit([0.0, 1.0], [0.2, 0.2], [True, False], plane=SQUARE)
    assert b.probability(0.0, 0.2) > 0.5 > b.probability(1.0, 0.2)
    assert b.area.value == pytest.approx(0.5, abs=0.02)
    assert b.uncertainty > 0.9  # nearly nothing is known


def test_nothing_is_said_outside_the_plane():
    b = boundary.fit(*draw("straight", 0), replicates=9)
    assert np.isnan(b.probability([-0.01, 1.01, 0.5], [0.5, 0.5, 1.2])).all()
    assert np.isnan(b.replicated(0.5, 1.2)).all()
    assert b.replicated(np.zeros((4, 1)), np.linspace(0, 1, 3)).shape == (9, 4, 3)
    assert np.isfinite(b.probability([0, 1], [0, 1])).all()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"x": []}, "x"),
        ({"x": [1, 2, 3]}, "x"),
        ({"x": ["MLP", "CNN"]}, "x"),
        ({"x": [10**400, 1]}, "x"),
        ({"x": [1, np.nan]}, "x"),
        ({"x": [1, np.inf]}, "x"),
        ({"x": [1, 1]}, "plane.x.high"),
        ({"plane": (Range(0, 1.5), "linear")}, "x"),
        ({"x": [0, 1], "plane": ("log", "linear")}, "plane.x.low"),
        ({"plane": ("linear", "categorical")}, "plane.y"),
        ({"event": []}, "event"),
        ({"event": [0, 2]}, "event"),
        ({"event": [np.nan, np.nan]}, "event"),
        ({"seeds": [1]}, "seeds"),
        ({"confidence": 1}, "confidence"),
        ({"replicates": 0}, "replicates"),
    ],
)
def test_what_is_not_allowed_is_refused(changed, field):
    with pytest.raises(FieldError) as refused:
        boundary.fit(**({"x": [1, 2], "y": [1, 2], "event": [True, False]} | changed))
    assert refused.value.field == field


def test_the_maps_are_of_the_runs_side():
    """Where x is large, and y small, the event happens: grids, area and line are not mirrored."""
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 400))
    b = boundary.fit(10 * x, y, x > 0.7 + 0.2 * y, plane=(Range(0, 10), Range(0, 1)), replicates=50)
    np.testing.assert_allclose(b.p, b.probability(*np.meshgrid(b.x_grid, b.y_grid)), atol=1e-9)
    assert (b.low <= b.p + 1e-9).all()
    assert (b.p <= b.high + 1e-9).all()
    assert b.p[0, -1] > 0.9 > 0.1 > b.p[-1, 0]
    assert b.area.value == pytest.approx(0.2, abs=0.03)
    assert 0.1 < b.area.low < b.area.high < 0.3
    line = np.concatenate(b.contour())
    assert np.abs(line[:, 0] / 10 - 0.7 - 0.2 * line[:, 1]).mean() < 0.04


@pytest.mark.parametrize(("units", "tail"), [(5, 9.5e-4), (10, 8.55e-3), (10**6, 0.025)])
def test_tails_are_those_of_expanded_percentiles(units, tail):
    # Hesterberg 2015, section 3.4: Φ(-√(n/(n-1)) t): 0.025 in the limit
    assert boundary._tails(units, 0.95) == pytest.approx([tail, 1 - tail], rel=2e-2)
