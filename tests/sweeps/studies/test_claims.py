import json

import numpy as np
import pandas as pd
import pytest
from by_seed import effect
from scipy import stats

import sweeps
from jaxgen import Experiment, FieldError, Training, losses, models, optimizers, tasks, training
from sweeps.recipes import edge_of_stability
from sweeps.studies import claims
from sweeps.studies.claims import Claim, Evidence
from sweeps.studies.effects import Effect, Verdict

DECAY, FRACTION = "optimizer.weight_decay", "task.train_fraction"
PARTS = tasks.ModularAddition(p=7), models.QuadraticMLP(width=4), losses.CrossEntropy(), optimizers.AdamW()
BASE = Experiment(*PARTS, Training(steps=1000, evaluate_every=20))  # as `synthetic_results`


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


def test_a_delay_is_between_two_probes_and_known_from_the_fit_on():
    steps = np.array([[[0, 50, 100, 150, 200]]] * 4, float)
    first = np.array([[[0, 1, 1, 1, 1]], [[0, 1, 1, 1, 1]], [[0, 0, 0, 0, 0]], [[0, 0, 1, 1, 1]]], float)
    then = np.array([[[0, 0, 0, 1, 1]], [[0, 0, 0, 0, 0]], [[0, 0, 0, 0, 1]], [[1, 1, 1, 1, 1]]], float)
    probes = {"first": first, "then": then}
    base = BASE.override({"training.evaluate_every": 50})
    arm = claims.Arm(pd.Index(range(4)), steps, probes.__getitem__, experiments=[base])
    low, high = claims.log_delay(arm, "first", "then", 0.9)
    assert low.tolist() == pytest.approx([2, np.log10(150), -np.inf, np.log10(50)])
    assert high.tolist() == pytest.approx([2, np.inf, np.inf, np.log10(50)])
    two = claims.Arm(arm.seeds, np.concatenate([steps, steps], 1), probes.__getitem__, experiments=[base, base])
    with pytest.raises(FieldError, match="runs per seed"):
        claims.log_delay(two, "first", "then", 0.9)


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
    assert data["effects"][0]["text"] == "2 [-0.484, 4.48]"


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


class Watched:
    """Evidence of six seeds that learn within ten evaluations."""

    base = BASE

    def arm(self, *parts, first=None):
        steps = np.tile(np.arange(0.0, 1000, 100), (6, 1, 1))
        curves = lambda name: np.minimum(steps / 400, name != "train/collapse")  # noqa: E731
        return claims.Arm(pd.Index(range(6)), steps, curves, experiments=[BASE])


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


def test_what_is_found_in_rows_is_of_each_runs_own(toy, tmp_path):
    fractions = sweeps.sweep("task.train_fraction", [0.3, 0.6])
    base = toy.override({"training.steps": 10, "training.evaluate_every": 10})
    results = sweeps.run(base, sweeps.product(fractions, sweeps.seeds(2)), workdir=tmp_path / "out", quiet=True)
    arm = sweeps.Evidence(results, base).arm(fractions)
    found = arm.of_rows(lambda data: [data.splits["train"].sum(), data.inputs[np.argmax(data.splits["train"])].sum()])
    assert found.shape == (2, 2, 2)
    rows = [one.task.rows()["train"] for one in arm.experiments]
    assert found[..., 0].tolist() == [rows, rows]
    for s, p in np.ndindex(2, 2):
        one = arm.experiments[p].override({"seed": s})
        data = training.load(training.numbers(one), training.Rows.of(one))
        assert found[s, p, 1] == data.inputs[np.argmax(data.splits["train"])].sum()
