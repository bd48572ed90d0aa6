"""What a study shows of its runs one by one."""

import numpy as np
import pytest

import sweeps
from jaxgen import FieldError
from sweeps.studies.curves import traces

DECAY = "optimizer.weight_decay"
ARMS = {"weak": sweeps.fixed(DECAY, 0.01), "strong": sweeps.fixed(DECAY, 1.0)}
GROUPS = {"train": "train/accuracy", "test": "test/accuracy"}


def study(base, **more):
    given = {"name": "s", "base": base, "curves": [sweeps.Curves("groups", ARMS, GROUPS)]}
    scales = {"quick": sweeps.Scale(1, claim_seeds=2)}
    return sweeps.Study(**given | {"scales": scales, "axes": {DECAY: [0.1], "task.train_fraction": [0.5]}} | more)


def test_a_study_trains_the_arms_of_its_curves_for_as_many_seeds_as_claims_have(toy):
    drawing = sweeps.Drawing("d", DECAY, "task.train_fraction")
    recipe = study(toy, drawings=[drawing]).at("quick")
    points = {(point[DECAY], point["seed"]) for point in recipe.parts["curves groups"]}
    assert points == {(0.01, 0), (0.01, 1), (1.0, 0), (1.0, 1)}
    assert recipe.curves[0].planned == 2
    claim = sweeps.Claim("1", "it", lambda arm: [], arms={"arm": sweeps.fixed(DECAY, 0.5)})
    some = study(toy, drawings=[drawing], claims=[claim]).at("quick", claims=["1"])
    assert list(some.curves) == []
    assert [point[DECAY] for point in some.sweep] == [0.5, 0.5]


def test_traces_are_what_is_stored_of_planned_seeds(toy, tmp_path):
    base = toy.override({"training.steps": 20, "training.evaluate_every": 10})
    every = sweeps.product(sweeps.chain(*ARMS.values()), sweeps.seeds(3))
    results = sweeps.run(base, every, workdir=tmp_path / "out", quiet=True)
    groups = {**GROUPS, "none": "no/such"}
    level = lambda arm: arm.final("test/accuracy")  # noqa: E731
    arms = {**ARMS, "absent": sweeps.fixed(DECAY, 5.0)}
    wrong = lambda arm: arm.final("test/acuracy")  # noqa: E731
    curves = sweeps.Curves("g", arms, groups, levels={"half": 0.5, "own": level, "wrong": wrong}, planned=2)
    evidence = sweeps.Evidence(results, base)
    found = traces(curves, evidence)
    table, levels = found.table, found.levels
    assert found.notes[0].startswith("'none': ")
    assert all("the level 'wrong' of" in note and "did you mean test/accuracy" in note for note in found.notes[1:])
    assert len(found.notes) == 3
    assert {*table["arm"]} == {"weak", "strong"}
    assert {*table["group"]} == {"train", "test"}
    assert {*table["seed"]} == {"0", "1"}
    arm = evidence.arm(ARMS["strong"], first=2)
    one = table[(table["arm"] == "strong") & (table["group"] == "test") & (table["seed"] == "1")]
    assert one["step"].tolist() == arm.steps[1, 0].tolist()
    assert one["value"].to_numpy() == pytest.approx(arm.curves("test/accuracy")[1, 0])
    assert levels["half"] == {"weak": 0.5, "strong": 0.5}
    assert levels["own"]["strong"] == pytest.approx(float(np.mean(arm.final("test/accuracy"))))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": "a/b"}, "files are called so"),
        ({"arms": {}}, "must be 1 to 8"),
        ({"arms": {"a": "no"}}, "made by sweeps.fixed"),
        ({"arms": {"a": sweeps.fixed("seed", 1)}}, "is for the study to give"),
        ({"groups": {}}, "must be called by numbers"),
        ({"groups": {1: "a", "b": "b"}}, "must be called by numbers"),
        ({"groups": {1: "a"}}, "must be called by numbers"),
        ({"over": "length"}, "must be called by numbers"),
        ({"groups": {str(i): "a" for i in range(9)}}, "must be 1 to 8"),
        ({"groups": {"a": 3}}, "the name of a probe"),
        ({"levels": 3}, "a table"),
        ({"levels": {"chance": "an eighth"}}, "must be a number, or a function of an arm"),
        ({"marks": {"longest": "five"}}, "must be a number"),
        ({"marks": {"longest": abs}}, "must be a number"),
    ],
)
def test_what_is_no_curves_is_refused(wrong, why):
    with pytest.raises(FieldError, match=why):
        sweeps.Curves(**{"name": "c", "arms": ARMS, "groups": GROUPS} | wrong)


def test_curves_and_diagrams_have_names_of_their_own(toy):
    with pytest.raises(FieldError, match="stands twice"):
        study(toy, drawings=[sweeps.Drawing("groups", DECAY, "task.train_fraction")])
