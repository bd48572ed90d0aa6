import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sweeps
from jaxgen import Experiment, FieldError, Training, losses, models, optimizers, tasks
from sweeps.recipes import edge_of_stability
from sweeps.statistics import units
from sweeps.studies import claims, effects
from sweeps.studies.claims import Claim, Evidence
from sweeps.studies.effects import Effect, Verdict

DECAY, FRACTION = "optimizer.weight_decay", "task.train_fraction"
PARTS = tasks.ModularAddition(p=7), models.QuadraticMLP(width=4), losses.CrossEntropy(), optimizers.AdamW()
BASE = Experiment(*PARTS, Training(steps=1000, evaluate_every=20))  # as `synthetic_results`


def effect(*values, above=0.0, **options):
    return Effect("x", pd.Series(values, range(len(values)), dtype=float), above, **options)


def test_interval_is_students():
    values = np.random.default_rng(0).normal(1, 2, 7)
    want = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(effect(*values).interval, [want.low, want.high])


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(3, 1, (2000, 5))
    covered = sum(low <= 3 <= high for low, high in (effect(*d).interval for d in draws))
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
    assert effect(1.0, 1.1, 0.9, np.nan).interval == (-np.inf, np.inf)
    assert effect(1.0, 1.1, 0.9, np.nan).seeds == 3


def judged(*effects):
    return claims.Judgement(Claim("1", "text", lambda e: effects), effects)


def test_a_claim_fails_with_one_effect_and_passes_with_all():
    good, bad, unclear = effect(1, 1.1, 0.9), effect(-1, -1.1, -0.9), effect(1, -1, 0)
    told = effect(-1, -1, -1, above=None)
    assert judged(good, good, told).verdict == Verdict.PASS
    assert judged(good, unclear).verdict == Verdict.UNDECIDED
    assert judged(good, unclear, bad).verdict == Verdict.FAIL
    assert judged(effect(*[0] * 6)).verdict == Verdict.FAIL
    assert judged(effect(*[0] * 6), good).verdict == Verdict.UNDECIDED  # 2 · 2⁻⁶ is above 2.5 %
    assert judged().verdict == judged(told).verdict == Verdict.UNDECIDED


@pytest.fixture
def evidence(synthetic_results):
    axes = {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.01, 0.1]}
    kinds = {(0, 0): "memorisation", (1, 0): "grokking", (2, 0): "comprehension", (2, 1): "comprehension"}
    results = synthetic_results(
        axes, 4, lambda i, j, seed: None if (i, seed) == (1, 3) else kinds.get((i, j), "confusion")
    )
    return Evidence(results, BASE)


def test_an_arm_is_the_base_with_its_points_for_every_seed_that_has_them(evidence):
    arm = evidence.arm(sweeps.fixed(FRACTION, 0.3))
    assert arm.seeds.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(arm.final("train/accuracy"), 1)
    np.testing.assert_allclose(arm.final("test/accuracy"), 0.1)
    both = evidence.arm(sweeps.sweep(FRACTION, [0.3, 0.5]))
    assert both.seeds.tolist() == [0, 1, 2]
    np.testing.assert_allclose(both.final("test/accuracy"), [0.55] * 3, atol=1e-3)
    np.testing.assert_allclose(evidence.arm(sweeps.fixed(DECAY, 0.1)).final("train/accuracy"), 0.1)


def test_ratios_of_times_use_censored_ones_only_as_the_bounds_they_are(evidence):
    fast, late, never = (evidence.arm(sweeps.fixed(FRACTION, f)) for f in (0.7, 0.5, 0.3))
    assert (late.time("test/accuracy", 0.9) == 700).all()
    assert np.isinf(never.time("test/accuracy", 0.9)).all()
    ratio = lambda a, b: claims.log_ratio(a, b, "test/accuracy", 0.9)  # noqa: E731
    both, inf = np.log10(700 / 60), np.inf
    np.testing.assert_allclose(ratio(late, fast), [[both] * 3 + [-inf], [both] * 3 + [inf]])  # seed 3 has one arm
    least, most = np.log10(1000 / 700), np.log10(700 / 1000)  # observed to step 1000
    np.testing.assert_allclose(ratio(never, late), [[least] * 3 + [-inf], [inf] * 4])
    np.testing.assert_allclose(ratio(late, never), [[-inf] * 4, [most] * 3 + [inf]])
    np.testing.assert_allclose(ratio(never, never), [[-inf] * 4, [inf] * 4])
    assert Effect("x", ratio(never, late)).seeds == 3


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
    assert bounded(some, [inf] * 3).mean == pytest.approx(1.0)


def test_a_claim_of_several_effects_does_not_fail_by_their_number():
    values = stats.t.ppf(0.02, 4)  # a t statistic whose interval at 95 % is just below 0
    draws = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    low = effect(*(draws + values * draws.std(ddof=1) / 5**0.5))
    assert low.verdict == Verdict.FAIL
    assert judged(low).verdict == Verdict.FAIL
    assert judged(low, effect(1, 1.1, 0.9)).verdict == Verdict.UNDECIDED


def test_what_diverged_never_gets_there(synthetic_results):
    kinds = {0: "grokking", 1: "diverged"}
    results = synthetic_results({FRACTION: [0.3, 0.5]}, 6, lambda i, seed: kinds[i])
    early, late = (Evidence(results, BASE).arm(sweeps.fixed(FRACTION, f)) for f in (0.3, 0.5))
    ratio = claims.log_ratio(late, early, "test/accuracy", 0.9)
    assert np.isposinf(ratio).all()
    assert Effect("x", ratio).verdict == Verdict.PASS
    assert Effect("x", claims.log_ratio(early, late, "test/accuracy", 0.9)).verdict == Verdict.FAIL


def test_a_mistake_in_one_claim_is_told_and_loses_no_other(evidence):
    broken = Claim("1", "broken", lambda e: 1 / 0)
    good = Claim("2", "good", lambda e: [Effect("x", [1.0, 1.1, 0.9]), Effect("t", [np.inf, 1, 2], above=None)])
    first, second = sweeps.judge([broken, good], evidence)
    assert first.verdict == Verdict.ERROR
    assert "ZeroDivisionError" in first.missing
    assert "test_claims.py" in first.to_dict()["traceback"]
    assert second.verdict == Verdict.PASS
    assert json.loads(json.dumps(second.to_dict(), allow_nan=False))["effects"][1]["mean"] is None


@pytest.mark.parametrize(
    ("drawings", "said"),
    [
        (lambda: [sweeps.Drawing("a", "task.typo", DECAY)], "task.typo"),
        (lambda: [sweeps.Drawing("a", DECAY, DECAY)], "another axis"),
        (lambda: [sweeps.Drawing("a/b", FRACTION, DECAY)], "a/b"),
        (lambda: [sweeps.Drawing("a", FRACTION, DECAY), sweeps.Drawing("a", DECAY, FRACTION)], "stands twice"),
        (lambda: [sweeps.Drawing("a", FRACTION, DECAY, {"x": {"optimizer.lr": 1}})], "optimizer.lr"),
    ],
)
def test_drawings_that_cannot_be_made_are_refused_when_they_are_written(drawings, said):
    with pytest.raises(FieldError, match=said):
        sweeps.Recipe(BASE, sweeps.seeds(1), drawings=drawings())


def test_averages_are_over_the_evaluations_that_are_meant(evidence):
    arm = evidence.arm(sweeps.fixed(FRACTION, 0.5))
    steps, values = arm.steps[0, 0], arm.curves("test/accuracy")[0, 0]
    np.testing.assert_allclose(arm.average("test/accuracy", arm.steps >= 500), values[steps >= 500].mean())
    assert arm.average("test/accuracy", arm.steps < 0).isna().all()
    np.testing.assert_allclose(arm.largest("test/accuracy"), values.max())


def test_missing_runs_leave_a_claim_undecided_and_are_named(evidence):
    claim = Claim("7", "runs that nobody made", lambda e: [e.arm(sweeps.fixed(DECAY, 5.0))])
    (judgement,) = sweeps.judge([claim], evidence)
    assert judgement.verdict == Verdict.UNDECIDED
    assert "optimizer.weight_decay = 5.0" in judgement.missing


def test_differences_are_paired_by_seed(evidence):
    def measure(e):
        late, fast = (e.arm(sweeps.fixed(FRACTION, f)) for f in (0.5, 0.7))
        return [Effect("difference", fast.final("test/accuracy") - late.final("test/accuracy"))]

    (judgement,) = sweeps.judge([Claim("1", "x", measure)], evidence)
    assert judgement.effects[0].seeds == 3


def test_tables_hold_every_effect_and_escape_what_they_print():
    said = Claim("1", "a | b <i>", lambda e: [], published="1 < 2")
    judgement = claims.Judgement(said, [effect(1, 2, 3), effect(1, 2, above=None)])
    table = claims.table([judgement])
    *rows, _, chance = table.splitlines()
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}
    assert chance.startswith("0.025 of 1 claims would PASS by chance")
    assert "2 [-0.484, 4.48]" in table
    page = claims.html([judgement])
    assert "a | b &lt;i&gt;" in page
    assert "1 &lt; 2" in page
    assert "0.025 of 1 claims would PASS by chance" in page
    assert claims.html([]) == ""
    data = json.loads(json.dumps(judgement.to_dict(), allow_nan=False))
    assert data["verdict"] == "UNDECIDED"
    assert data["effects"][0]["by_seed"] == {"0": 1.0, "1": 2.0, "2": 3.0}
    assert data["effects"][1]["low"] is None


def test_a_ratio_to_a_time_that_was_watched_for_less_is_unknown():
    def arm(watched, reached):
        steps = np.arange(0, watched + 1, 100.0)[None, None]
        return claims.Arm(np.array([0]), steps, lambda name: (steps >= reached).astype(float))

    ratio = lambda late, early: claims.log_ratio(late, early, "test/accuracy", 0.9)  # noqa: E731
    never = arm(1000, np.inf)  # at least 1000
    for reached in (500, 1000, 1500):
        low, high = ratio(arm(2000, reached), never)
        assert low.tolist() == [-np.inf]
        np.testing.assert_allclose(high, np.log10(reached / 1000))


def test_final_values_are_of_the_last_evaluation():
    steps = np.array([[[0.0, 10.0, 20.0], [0.0, 10.0, np.nan]]])
    arm = claims.Arm(np.array([0]), steps, lambda name: np.where(np.isfinite(steps), steps, np.nan))
    assert arm.final("x").tolist() == [15]
    assert arm.observed().tolist() == [[20, 10]]


def test_averages_leave_out_what_is_after_a_runs_end():
    steps = np.array([[[0.0, 10.0, np.nan]]])
    arm = claims.Arm(np.array([0]), steps, lambda name: np.array([[[1.0, 3.0, np.nan]]]))
    assert arm.average("x", np.ones(steps.shape, bool)).tolist() == [2]


def test_runs_are_by_seed_and_split_where_splits_have_seeds_of_their_own(synthetic_results):
    kind = lambda split, i, seed: "grokking" if split else "memorisation"  # noqa: E731
    results = synthetic_results({"split_seed": [None, 5, 6], FRACTION: [0.3, 0.5]}, 2, kind)
    evidence = Evidence(results, BASE)
    arm = evidence.arm(sweeps.sweep(FRACTION, [0.3, 0.5]))
    assert arm.seeds.tolist() == [(0, 0), (0, 5), (0, 6), (1, 1), (1, 5), (1, 6)]  # None follows the seed
    assert arm.steps.shape[:2] == (6, 2)
    np.testing.assert_allclose(arm.final("test/accuracy"), [0.1, 1, 1] * 2, atol=1e-3)
    early, late = (evidence.arm(sweeps.fixed(FRACTION, f)) for f in (0.3, 0.5))
    difference = Effect("x", late.final("test/accuracy") - early.final("test/accuracy"))
    ratio = Effect("x", claims.log_ratio(late, early, "test/accuracy", 0.9))
    assert difference.unit == ratio.unit == "2 seeds × 4 splits"
    told = judged(difference).to_dict()["effects"][0]
    assert told["unit"] == "2 seeds × 4 splits"
    assert list(told["by_seed"])[1] == "0, split 5"
    assert "| 2 seeds × 4 splits |" in claims.table([judged(difference)])


def pairs(values):
    """An effect of values (seeds, splits)."""
    index = pd.MultiIndex.from_product([range(n) for n in values.shape])
    return Effect("x", pd.Series(values.ravel(), index))


def test_seeds_and_splits_that_cross_are_no_independent_pairs():
    rng = np.random.default_rng(2)
    draws = rng.normal(0, 1, (400, 5, 1)) + rng.normal(0, 1, (400, 1, 5)) + rng.normal(0, 0.5, (400, 5, 5))
    covers = lambda interval: interval[0] <= 0 <= interval[1]  # noqa: E731
    crossed = sum(covers(pairs(values).interval) for values in draws)
    independent = sum(covers(effect(*values.ravel()).interval) for values in draws)
    assert stats.binomtest(crossed, 400, 0.95).pvalue > 1e-3
    assert independent < 0.75 * 400


def test_the_interval_of_seeds_by_splits_is_what_it_says():
    values = np.array([[1.0, 2.0, 4.0, 3.0], [2.0, 2.0, 5.0, 2.5], [0.0, 1.0, 3.0, 1.0]])
    error = (values.mean(1).var(ddof=1) / 3 + values.mean(0).var(ddof=1) / 4) ** 0.5
    half = stats.t.ppf(0.975, 2) * error
    np.testing.assert_allclose(pairs(values).interval, [values.mean() - half, values.mean() + half])


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
    np.testing.assert_allclose(found.interval, effect(*values.reshape(6, -1).mean(1)).interval)


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
    low, high = effect(*values, within=(0, 1)).interval
    np.testing.assert_allclose(effect(*(1 - values), within=(0, 1)).interval, [1 - high, 1 - low])
    np.testing.assert_allclose(effect(*(3 * values - 1), within=(-1, 2)).interval, [3 * low - 1, 3 * high - 1])


def test_bounds_of_bounded_means_are_those_of_what_they_can_be():
    known, unknown = effect(0.2, 0.9, 0.7, within=(0, 1)), effect(0.2, 0.9, np.nan, within=(0, 1))
    lowest, highest = effect(0.2, 0.9, 0.0, within=(0, 1)), effect(0.2, 0.9, 1.0, within=(0, 1))
    assert unknown.interval == (lowest.interval[0], highest.interval[1])
    assert (known.seeds, unknown.seeds) == (3, 2)


def test_shares_of_seeds_are_exact():
    share = lambda happened: effects.share_of_seeds("it groks", pd.Series(happened))  # noqa: E731
    five = share([True] * 5 + [False])
    for count in range(7):
        want = stats.binomtest(count, 6).proportion_ci(0.95, "exact")
        np.testing.assert_allclose(share([True] * count + [False] * (6 - count)).interval, want)
    assert five.mean == pytest.approx(5 / 6)
    assert share([True] * 6).verdict == Verdict.PASS
    assert share([True] * 5).verdict == Verdict.UNDECIDED
    assert share([False] * 6).verdict == Verdict.FAIL
    some = share([1.0] * 6 + [np.nan])
    assert some.interval == (share([1] * 6 + [0]).interval[0], share([1] * 7).interval[1])
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


class Watched:
    """Evidence of six seeds that learn within ten evaluations."""

    base = BASE

    def arm(self, *parts, first=None):
        steps = np.tile(np.arange(0.0, 1000, 100), (6, 1, 1))
        curves = lambda name: np.minimum(steps / 400, name != "train/collapse")  # noqa: E731
        return claims.Arm(pd.Index(range(6)), steps, curves, experiment=BASE)


def test_the_edge_study_judges_no_bounded_mean_by_students_t():
    effects = [e for claim in edge_of_stability.CLAIMS for e in claim.measured(Watched()) if e.above is not None]
    assert {e.above for e in effects if not e.share} == {0}
    shares = [e for e in effects if e.share]
    assert [e.seeds for e in shares] == [6] * 3
    assert [e.verdict for e in shares if "accuracy" in e.name] == [Verdict.PASS] * 2


@pytest.mark.parametrize(
    ("launches", "changed", "said"),
    [
        ([{"seeds": 6, "splits": 1, "runs": 60}] * 2, False, "No seeds were added after the first launch."),
        ([{"seeds": 6, "splits": 1, "runs": 60}, {"seeds": 9, "splits": 1, "runs": 90}], True, "9 seeds, 1 splits"),
        ([{"seeds": 6, "splits": 1, "runs": 60}, {"seeds": 6, "splits": 1, "runs": 80}], True, "80 runs"),
        ([{"jax": "1"}], False, "No seeds were added"),
        ([{}, {"seeds": 6, "splits": 1, "runs": 60}], None, "is not recorded"),
        ([], None, "is not recorded"),
    ],
)
def test_chance_and_later_launches_are_told(launches, changed, said):
    judgements = [judged(effect(1, 2, 3)), judged(effect(1, 2, 3), effect(1, 2, 3)), judged(effect(1, 2, above=None))]
    found = claims.standing(judgements, launches)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["claims_tested"], found["passes_by_chance"], found["changed"]) == (2, 0.05, changed)
    for text in (claims.table(judgements, launches), claims.html(judgements, launches)):
        assert "0.05 of 2 claims would PASS by chance if none were true" in text
        assert said in text
