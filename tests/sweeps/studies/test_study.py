"""A study says which runs its claims and diagrams need, and a claim what its effects must be."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps import recipes
from sweeps.recipes.quickstart import BASE
from sweeps.studies import claims, study
from sweeps.studies.effects import Verdict

FRACTION, DECAY, LOSS = "task.train_fraction", "optimizer.weight_decay", "loss"
STABLEMAX = jg.losses.StableMaxCrossEntropy()
ROOT = Path(recipes.__file__).parent


def higher(low, high):
    return [sweeps.Effect("difference", high.final("test/accuracy") - low.final("test/accuracy"))]


def any_arms(**arms):
    return [sweeps.Effect("x", [1.0, 1.1, 0.9])]


def claim(name="1", **fields):
    arms = {"low": sweeps.fixed(FRACTION, 0.3), "high": sweeps.sweep(FRACTION, [0.5, 0.7])}
    fields = {"arms": arms, **fields}
    measure = fields.pop("measure", higher if fields["arms"] == arms else any_arms)
    return sweeps.Claim(name, "more data, more accuracy", measure, **fields)


@pytest.fixture
def fields(toy):
    return {
        "name": "study",
        "base": toy,
        "scales": {"quick": sweeps.Scale(2, axes={FRACTION: [0.3, 0.5]}, claim_seeds=3), "paper": sweeps.Scale(4)},
        "definition": {"budget": 100},
        "axes": {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.1, 1.0]},
        "drawings": [sweeps.Drawing("d", FRACTION, DECAY, {"a": {}, "b": {LOSS: STABLEMAX}})],
        "claims": [claim(more_seeds=1)],
    }


def runs(recipe):
    return {recipe.base.override(point).run_id for point in recipe.sweep}


def test_the_runs_of_a_study_are_those_that_its_claims_and_diagrams_need(toy, fields):
    quick = sweeps.Study(**fields).at()
    arms = sweeps.product(sweeps.sweep(FRACTION, [0.3, 0.5, 0.7]), sweeps.seeds(4))
    losses = sweeps.sweep(LOSS, [toy.loss, STABLEMAX])
    plane = sweeps.product(sweeps.sweep(FRACTION, [0.3, 0.5]), sweeps.sweep(DECAY, [0.1, 1.0]), losses, sweeps.seeds(2))
    assert runs(quick) == {toy.override(point).run_id for part in (arms, plane) for point in part}
    assert {name: len(part) for name, part in quick.parts.items()} == {"claim (1)": 12, "diagram d": 16}
    paper = sweeps.Study(**fields).at("paper")
    assert len(paper.parts["diagram d"]) == 48
    assert len(paper.parts["claim (1)"]) == 15
    assert paper.definition == {"budget": 100}


def test_panels_hold_whatever_else_varies_in_the_study(toy, fields):
    width = claim("2", arms={"low": sweeps.fixed("model.width", 3), "high": sweeps.fixed("loss.dtype", "float64")})
    panels = sweeps.Study(**{**fields, "claims": [width]}).at().drawings[0].panels
    held = {"model.width": toy.model.width, "loss.dtype": "float32"}
    assert panels == {
        "a": {**held, "loss.type": "CrossEntropy"},
        "b": {**held, "loss.type": "StableMaxCrossEntropy"},
    }


def test_panels_of_another_component_hold_its_own_fields(toy, fields):
    part = jg.tasks.Subset(task=toy.task, share=0.9)
    drawing = sweeps.Drawing("d", DECAY, "optimizer.learning_rate", {"whole": {}, "part": {"task": part}})
    axes = {DECAY: [0.1, 1.0], "optimizer.learning_rate": [0.1, 0.2]}
    panels = sweeps.Study(**{**fields, "axes": axes, "drawings": [drawing], "claims": []}).at().drawings[0].panels
    assert panels["whole"]["task.type"] == type(toy.task).__name__
    assert (panels["part"]["task.type"], panels["part"]["task.share"]) == ("Subset", 0.9)


def test_an_axis_of_whole_components_is_not_held(toy, fields):
    losses = {"axes": {DECAY: [0.1, 1.0], LOSS: [toy.loss, STABLEMAX]}}
    drawings = [sweeps.Drawing("d", LOSS, DECAY, {"": {"model.width": 4}})]
    study_ = sweeps.Study(**{**fields, **losses, "drawings": drawings, "claims": []})
    assert study_.at().drawings[0].panels == {"": {"model.width": 4}}


def test_some_claims_alone_need_their_runs_only(fields):
    study = sweeps.Study(**{**fields, "claims": [claim(), claim("2", arms={"low": sweeps.fixed(DECAY, 3.0)})]})
    one = study.at("quick", ["2"])
    assert [(c.name, c.planned) for c in one.claims] == [("2", 3)]
    assert (len(one.sweep), [*one.parts], one.drawings) == (3, ["claim (2)"], [])
    with pytest.raises(FieldError, match="claims = '3': must be among 1, 2"):
        study.at("quick", ["3"])
    with pytest.raises(FieldError, match="scale = 'huge': must be one of quick, paper"):
        study.at("huge")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"claims": [claim(arms={"low": sweeps.fixed(FRACTION, 1.5)})]}, r"claim \(1\): task.train_fraction = 1.5"),
        ({"claims": [claim(arms={"low": sweeps.fixed("task.fraction", 0.5)})]}, "did you mean task.train_fraction"),
        ({"claims": [claim(arms={"low": sweeps.fixed("tusk.p", 5)})]}, "tusk.p"),
        ({"drawings": [sweeps.Drawing("d", FRACTION, "model.width")]}, "drawing d = 'model.width': has no values"),
        ({"drawings": [sweeps.Drawing("d", FRACTION, DECAY, {"a": {"loss.dtyp": 1}})]}, "loss.dtyp"),
        ({"axes": {FRACTION: [0.5, 0.5], DECAY: [1.0]}}, "stands twice"),
        ({"axes": [1]}, "study.axes = .*: must be a table"),
        ({"scales": {"paper": sweeps.Scale()}}, "must have one called quick"),
        ({"definition": {"gap": -1}}, "gap = -1"),
        ({"scales": {"quick": 3}}, "study.scales.quick = 3: must be a sweeps.Scale"),
        ({"drawings": [], "claims": []}, "use sweeps.Recipe"),
        ({"claims": [claim(), claim()]}, "study.claims = '1': stands twice"),
        ({"name": "../x"}, "study.name = '../x'"),
    ],
)
def test_what_no_run_can_be_is_refused_when_it_is_written(fields, wrong, said):
    with pytest.raises(FieldError, match=said):
        sweeps.Study(**{**fields, **wrong})


def test_a_claim_takes_its_arms_and_a_drawing_has_panels():
    with pytest.raises(FieldError, match=r"claim.measure = 'higher': must take the arms low, hi by name"):
        claim(measure=higher, arms={"low": sweeps.fixed(FRACTION, 0.3), "hi": sweeps.fixed(FRACTION, 0.5)})
    for count in (0, 5):
        with pytest.raises(FieldError, match=rf"drawing d.panels = {count}: must be 1 to 4"):
            sweeps.Drawing("d", FRACTION, DECAY, {str(i): {} for i in range(count)})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"arms": {"a": sweeps.seeds(2)}}, "claim.arms.a = 'seed': is for the study to give"),
        ({"arms": {"a": 3}}, "claim.arms.a = 3"),
        ({"arms": [1]}, "claim.arms = "),
        ({"more_seeds": -1}, "claim.more_seeds = -1"),
        ({"planned": 2.5}, "claim.planned = 2.5"),
    ],
)
def test_arms_are_axes_without_seeds(wrong, said):
    with pytest.raises(FieldError, match=said):
        claim(**wrong)


def test_a_claim_is_given_its_arms_by_name(synthetic_results):
    kinds = {0: "memorisation", 1: "comprehension", 2: "comprehension"}
    results = synthetic_results({FRACTION: [0.3, 0.5, 0.7]}, 6, lambda i, seed: kinds[i])
    evidence = sweeps.Evidence(results, jg.Experiment.from_json(results.table(["experiment"])["experiment"][0].as_py()))
    (found,) = sweeps.judge([claim()], evidence)
    assert found.verdict == Verdict.PASS
    assert found.effects[0].estimate.value == pytest.approx(0.9, abs=0.05)
    (empty,) = sweeps.judge([sweeps.Claim("1", "nothing", lambda e: [])], evidence)
    assert (empty.verdict, "must give effects" in empty.missing) == (Verdict.ERROR, True)
    (missing,) = sweeps.judge([claim(arms={"low": sweeps.fixed(DECAY, 7.0)})], evidence)
    assert (missing.verdict, "optimizer.weight_decay = 7.0" in missing.missing) == (Verdict.UNDECIDED, True)


def test_seeds_of_other_claims_are_left_out_and_a_planned_one_that_is_gone_is_not_known(synthetic_results):
    kinds, lost = {0: "memorisation", 1: "comprehension", 2: "comprehension"}, {(0, 6), (0, 7)}
    results = synthetic_results({FRACTION: [0.3, 0.5, 0.7]}, 8, lambda i, seed: None if (i, seed) in lost else kinds[i])
    evidence = sweeps.Evidence(results, jg.Experiment.from_json(results.table(["experiment"])["experiment"][0].as_py()))
    by_seeds = {n: sweeps.judge([claim(planned=n)], evidence)[0] for n in (6, 7, None)}
    assert [by_seeds[n].verdict for n in (6, 7, None)] == [Verdict.PASS, Verdict.UNDECIDED, Verdict.UNDECIDED]
    assert by_seeds[6].effects[0].unit == "6 seeds"


def test_a_diagram_has_no_cells_that_only_claims_have(synthetic_results):
    results = synthetic_results({FRACTION: [0.3, 0.5, 0.7], DECAY: [0.1, 1.0]}, 2, lambda *_: "grokking")
    part = sweeps.product(sweeps.sweep(FRACTION, [0.3, 0.7]), sweeps.fixed(DECAY, 1.0), sweeps.seeds(1))
    drawing = sweeps.Drawing("d", FRACTION, DECAY)
    runs = study.on_plane(results, drawing, part).runs
    assert (sorted(set(runs[FRACTION])), set(runs[DECAY]), len(runs)) == ([0.3, 0.7], {1.0}, 4)
    assert study.on_plane(results, drawing, None) is results


def test_the_studies_are_the_runs_that_they_were():
    edge = recipes.load("edge_of_stability")
    assert [len(runs(edge.at(scale))) for scale in ("quick", "smoke", "paper")] == [196, 55, 387]
    quick, plane = recipes.load("quickstart").at(), [sweeps.linspace(0.25, 0.85, 12), sweeps.logspace(-2, 1, 12)]
    wanted = sweeps.product(sweeps.sweep(FRACTION, plane[0]), sweeps.sweep(DECAY, plane[1]), sweeps.seeds(3))
    assert list(quick.sweep) == list(wanted)
    for name, most in (("edge_of_stability", 130), ("quickstart", 30)):
        assert len((ROOT / f"{name}.py").read_text().splitlines()) <= most


def series(*values):
    return pd.Series(values)


def verdict(*effects):
    return claims.Judgement(claim(), effects).verdict


def test_bounds_from_above_and_from_both_sides():
    few = series(0.01, -0.01, 0.0, 0.02, -0.02)
    equal = lambda margin: sweeps.Effect("x", few, -margin, below=margin)  # noqa: E731
    assert equal(0.1).verdict == Verdict.PASS
    assert equal(0.015).verdict == Verdict.UNDECIDED
    assert sweeps.Effect("x", few + 1, -0.1, below=0.1).verdict == Verdict.FAIL
    assert sweeps.Effect("x", few, None, below=0.1).verdict == Verdict.PASS
    assert sweeps.Effect("x", few, None, below=-0.1).verdict == Verdict.FAIL
    assert sweeps.Effect("x", few, None, below=0.0).verdict == Verdict.UNDECIDED
    assert (equal(0.1).claimed, sweeps.Effect("x", few, None, below=2).claimed) == ("in (-0.1, 0.1)", "< 2")
    near = sweeps.near("exponent", few + 0.5, published=0.52, tolerance=0.05)
    assert (near.verdict, near.claimed) == (Verdict.PASS, "in (0.47, 0.57); published 0.52")
    with pytest.raises(FieldError, match=r"effect.below = 0.0: must be more than above"):
        sweeps.Effect("x", few, below=0.0)


def test_a_gate_that_does_not_pass_leaves_the_claim_undecided():
    good, bad, told = (sweeps.Effect("x", series(m, m + 0.1, m - 0.1)) for m in (1, -1, 1))
    gate = lambda values: sweeps.Effect("gate", values, gate=True)  # noqa: E731
    assert verdict(gate(good.values), good) == Verdict.PASS
    assert verdict(gate(bad.values), good) == Verdict.UNDECIDED
    assert verdict(gate(bad.values), bad) == Verdict.UNDECIDED
    assert verdict(gate(good.values), bad, told) == Verdict.FAIL
    with pytest.raises(FieldError, match=r"effect.gate = True: needs a bound"):
        sweeps.Effect("x", good.values, None, gate=True)


def test_an_order_of_arms_is_the_differences_of_neighbours():
    arms = {"a": series(1, 2, 3), "b": series(2, 3.1, 4), "c": series(4, 5, 6.1)}
    first, second, *told = sweeps.ordered("x", arms)
    assert first.values.tolist() == pytest.approx([1, 1.1, 1])
    assert second.name == "x, c - b"
    assert [e.is_bounded for e in told] == [False] * 3


def test_a_trend_is_the_slope_of_each_seed():
    rng = np.random.default_rng(0)
    table = {x: series(*rng.normal(x, 1, 5)) for x in (0.0, 1.0, 3.0, 7.0)}
    found = sweeps.trend("x", table)
    for seed in range(5):
        slope = np.polyfit([*table], [values[seed] for values in table.values()], 1)[0]
        assert found.values[seed] == pytest.approx(slope)
    assert sweeps.trend("x", {**table, 9.0: series(1, 2, 3, 4)}).seeds == 4
    with pytest.raises(FieldError, match="at two numbers or more"):
        sweeps.trend("x", {1.0: series(1, 2)})


def test_a_diagram_over_a_computed_axis_has_the_runs_of_its_fields():
    rows = sweeps.Derived("n / M", ["task.train_fraction", "task.p"], lambda f, M: f * M)
    drawing = sweeps.Drawing("scaling", rows, "task.p", overlays=[sweeps.Overlay("edge", lambda n: n)])
    axes = {"task.train_fraction": [0.3, 0.5], "task.p": [7, 11, 13]}
    study = sweeps.Study("own", BASE, {"quick": sweeps.Scale(seeds=2)}, axes=axes, drawings=[drawing])
    recipe = study.at()
    points = {(point["task.train_fraction"], point["task.p"]) for point in recipe.sweep}
    assert points == {(f, p) for f in axes["task.train_fraction"] for p in axes["task.p"]}
    assert recipe.drawings[0].panels == {"": {}}
    with pytest.raises(FieldError, match=r"task\.p.*has no values"):
        sweeps.Study("own", BASE, {"quick": sweeps.Scale()}, axes={"task.train_fraction": [0.3]}, drawings=[drawing])
