"""Diagrams of other metrics than accuracy."""

import json

import numpy as np
import pandas as pd
import pytest

import sweeps
from jaxgen import Experiment, FieldError
from sweeps.diagrams import gather, labels
from sweeps.diagrams.phases import Definition
from sweeps.report.caption import caption
from sweeps.studies import claims, refine

X, Y = "task.train_fraction", "optimizer.weight_decay"
AXES = {X: [0.2, 0.5, 0.8], Y: [0.01, 0.1, 1.0]}
KINDS = ("comprehension", "grokking", "memorisation", "confusion", "diverged", "undecided")
LOSS = {"metric": "loss", "below": True, "threshold": 0.01}


def kinds(i, j, seed):
    return KINDS[(i + 2 * j + seed * (i + j)) % 6]


@pytest.fixture
def losses(synthetic_results, losses_only):
    """Runs that store losses and no accuracies, and are at .01 where accuracies would be at .8."""
    return synthetic_results(AXES, seeds=3, kind=kinds, curves=losses_only)


@pytest.fixture
def both(synthetic_results, losses_only):
    """Runs that store the losses of `losses`, and the accuracies."""

    def curves(train, test):
        return {**losses_only(train, test), "train/accuracy": train, "test/accuracy": test}

    return synthetic_results(AXES, seeds=3, kind=kinds, curves=curves)


def test_a_loss_from_above_gives_the_diagram_of_the_accuracy_from_below(both):
    for sustained in (1, 3, 0):
        one = both.phase_diagram(X, Y, threshold=0.8, sustained=sustained)
        other = both.phase_diagram(X, Y, metric="loss <= 0.01", sustained=sustained)
        assert other.definition == Definition(0.01, 1000, 600, sustained, "loss", True)
        np.testing.assert_array_equal(one.counts, other.counts)
        tables = one.cell_table(), other.cell_table()
        assert list(tables[1]) == [*list(tables[0])[:-1], "test_loss"]
        for name in list(tables[0])[:-1]:
            np.testing.assert_array_equal(tables[0][name], tables[1][name], name)
    assert {*one.runs["label"]} == {0, 1, 2, 3, 5, 6}


def test_the_other_direction_counts_what_is_above(both):
    times = both.phase_diagram(X, Y, metric="loss >= 0.01").runs["test_time"]
    assert (times == 0).all()  # where all losses begin


def test_last_values_are_those_of_the_metric(losses):
    diagram = losses.phase_diagram(X, Y, metric="loss <= 0.01")
    last = np.array([row[np.isfinite(row)][-1] for row in diagram.curves["test/loss"]])
    expected = [last[diagram.runs["cell"] == cell].mean() for cell in range(9)]
    np.testing.assert_allclose(diagram.last_test.ravel(), expected)
    np.testing.assert_allclose(diagram.to_xarray()["test_loss"].to_numpy().ravel(), expected)
    assert "definition" in diagram.to_xarray().attrs
    assert "test loss ≤ 0.01" in diagram.to_xarray().attrs["definition"]


def test_a_split_of_its_own_gives_the_second_time(synthetic_results):
    ood = lambda train, test: {"train/accuracy": train, "test/accuracy": train, "ood/accuracy": test}  # noqa: E731
    results = synthetic_results(AXES, kind=lambda *_: "grokking", curves=ood)
    near, far = results.phase_diagram(X, Y), results.phase_diagram(X, Y, metric="ood/accuracy >= 0.9")
    np.testing.assert_array_equal(far.runs["train_time"], near.runs["train_time"])
    assert (near.runs["test_time"] == 20).all()
    assert (far.runs["test_time"] == 700).all()
    assert list(far.cell_table())[-1] == "ood_accuracy"
    assert "ood accuracy ≥ 0.9" in caption(far)


def test_what_is_not_stored_is_said_with_what_is(losses):
    with pytest.raises(
        FieldError, match="metric = 'accuracy': has no curve train/accuracy here: there are train/loss, test/loss"
    ):
        losses.phase_diagram(X, Y)
    with pytest.raises(FieldError, match="metric = 'ood/loss': has no curve ood/loss here"):
        losses.phase_diagram(X, Y, metric="ood/loss <= 1")
    with pytest.raises(FieldError, match="unknown field train/accuracy"):
        losses.phase_diagram(X, Y, metric="loss <= 1", contour="train/accuracy")
    with pytest.raises(FieldError, match=r"threshold = 0\.5: is said by the metric already"):
        losses.definition(threshold=0.5, metric="loss <= 1")


def test_a_labelling_names_the_curves_that_it_reads(both):
    read = lambda o: (o.last("test/accuracy") > 0.5).astype(int)  # noqa: E731
    pair = labels.Label("low", "#000000"), labels.Label("high", "#ffffff")
    own = labels.Labelling("own", pair, read, ["high"], "be high")
    with pytest.raises(FieldError, match="unknown field test/accuracy"):
        both.phase_diagram(X, Y, metric="loss <= 1", labels=own)
    own = labels.Labelling("own", pair, read, ["high"], "be high", curves=["test/accuracy"])
    assert both.phase_diagram(X, Y, metric="loss <= 1", labels=own).counts.sum() == 27


def test_the_sweeps_own_metric_is_what_is_drawn_and_refined_by(synthetic_results, losses_only):
    results = synthetic_results(AXES, kind=kinds, curves=losses_only, definition=LOSS)
    assert results.definition() == Definition(0.01, 1000, 600, 1, "loss", True)
    assert results.definition(threshold=2).threshold == 2  # of the loss
    assert results.definition(metric="accuracy >= .7") == Definition(0.7, 1000, 600)
    diagram = results.phase_diagram(X, Y)
    event = refine.outcomes(results, X, Y)[2]
    np.testing.assert_array_equal(event, diagram.labelling.events(diagram.runs["label"].to_numpy()))
    assert {0.0, 1.0} < {*event}


def test_runs_are_compared_by_the_metrics_times(synthetic_results, losses_only):
    mask = "optimizer.decay_mask"
    kind = lambda i, j, k, seed: ("comprehension", "grokking")[k]  # noqa: E731
    results = synthetic_results(AXES | {mask: ["all", "matrices"]}, kind=kind, curves=losses_only)
    one, other = results.facets(mask, X, Y, metric="loss <= 0.01").values()
    assert (one.compare(other)["time_difference"] == -640).all()


def test_runs_that_lack_the_metric_are_undecided_however_long_they_are(synthetic_results, losses_only):
    some = iter([losses_only, lambda train, test: {"train/weight_norm": train}] * 9)
    kind = lambda i, j, seed: "grokking" if seed else "diverged"  # noqa: E731
    results = synthetic_results(AXES, kind=kind, curves=lambda train, test: next(some)(train, test))
    diagram = results.phase_diagram(X, Y, metric="loss >= 0.01")
    label = diagram.runs["label"].to_numpy()
    assert (label[diagram.runs["seed"] == 1] == labels.FOUR_PHASES.names.index("undecided")).all()
    assert (label[diagram.runs["seed"] == 0] == labels.FOUR_PHASES.names.index("comprehension")).all()


def test_claims_have_times_from_above(losses):
    base = Experiment.from_dict(json.loads(losses.table(["experiment"])["experiment"][0].as_py()))
    evidence = claims.Evidence(losses, base)
    late, early = (evidence.arm(sweeps.fixed(Y, 0.01), sweeps.fixed(X, x)) for x in (0.5, 0.2))
    np.testing.assert_array_equal(late.time("test/loss", 0.01, below=True)[0], [700 - 20])
    ratio = claims.log_ratio(late, early, "test/loss", 0.01, below=True)
    assert ratio.low[0] == pytest.approx(np.log10(680 / 40))
    assert claims.log_ratio(late, early, "test/loss", 0.01).low[0] == 0  # both begin above


def test_a_study_and_its_scales_share_a_metric(toy):
    one = sweeps.seeds(1)
    scales = {"quick": sweeps.Scale(), "paper": sweeps.Scale(definition={"threshold": 7})}
    claims_ = [sweeps.Claim("1", "text", len)]
    made = sweeps.Study("s", toy, scales, definition=LOSS, claims=claims_)
    assert made.at("paper").definition == LOSS | {"threshold": 7}
    with pytest.raises(FieldError, match=r"threshold = 7: must be a number in \[0, 1\]"):
        sweeps.Study("s", toy, scales, claims=claims_)
    with pytest.raises(FieldError, match="below = 'yes'"):
        sweeps.Scale(definition={"below": "yes"})
    with pytest.raises(FieldError, match="threshold = None: must be given with the metric loss"):
        sweeps.Recipe(toy, one, definition={"metric": "loss"})


def test_a_launch_keeps_its_metric(toy, tmp_path):
    with pytest.raises(FieldError, match="metric = 'a b'"):
        sweeps.run(toy, sweeps.seeds(1), tmp_path, definition=LOSS | {"metric": "a b"}, quiet=True)
    assert not any(tmp_path.iterdir())
    results = sweeps.run(toy, sweeps.seeds(1), tmp_path, definition=LOSS, quiet=True)
    assert results.specification["definition"] == LOSS
    assert sweeps.Results(tmp_path).definition().curves == ("train/loss", "test/loss")


@pytest.mark.parametrize("kind", ["Every", "Metrics"])
def test_a_metric_with_a_cadence_has_no_diagram(kind):
    definition = Definition(0.9, 30, 10, 1, "ood/accuracy")
    runs = pd.DataFrame({"training.evaluate_every": 10, "status": "finished", "steps": [30, 10]})
    runs["training.probes.2.type"] = kind
    curves = {"step": np.array([[0, 10, 20, 30], [0, 10, np.nan, np.nan]])}
    for name in definition.curves:
        curves[name] = np.array([[0.1, np.nan, 0.95, np.nan], [0.1, np.nan, np.nan, np.nan]])
    if kind == "Metrics":  # what is not finite for another reason is no reason to refuse
        assert gather.observe(runs, curves, definition).test_time[0] == 20
        return
    with pytest.raises(FieldError, match=r"ood/accuracy.*is not measured at every evaluation"):
        gather.observe(runs, curves, definition)
    ended = {name: values[:, :1] for name, values in curves.items()}
    gather.observe(runs, ended, definition)  # all that was evaluated is known
