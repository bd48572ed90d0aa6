"""What runs are called: built-in labellings against their papers' rules, and users' own."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from jaxgen import FieldError
from sweeps.diagrams import labels
from sweeps.diagrams.gather import observe
from sweeps.diagrams.labels import LABELLINGS, Label, Labelling, find, register
from sweeps.diagrams.phases import Definition

X, Y = "task.train_fraction", "optimizer.weight_decay"
AXES = {X: [0.2, 0.5, 0.8], Y: [0.01, 1.0]}
D = Definition(threshold=0.9, budget=1000, gap=200)
replaced = functools.partial(dataclasses.replace, D)


def observed(train, test, status="finished", steps=1000, definition=D, **fields):
    """One run, from its values of the metric at equally spaced evaluations up to `steps`."""
    curves = {"step": np.linspace(0, steps, len(test))[None]}
    curves |= {name: np.array([values], float) for name, values in zip(definition.curves, (train, test))}
    fields |= {"training.evaluate_every": [steps // max(len(test) - 1, 1)]}
    return observe(pd.DataFrame({"status": [status], "steps": [steps], **fields}), curves, definition)


@pytest.mark.parametrize(
    ("train", "test", "corrupted", "label"),
    [  # Doshi et al. 2023: threshold 90 % on clean test rows, 100 (1.05 - ξ) % on train rows
        ([0, 0.95], [0, 0.95], 0.3, "coexistence"),
        ([0, 0.90], [0, 0.90], 0.3, "coexistence"),  # at the threshold
        ([0, 0.80], [0, 0.95], 0.3, "partial inversion"),
        ([0, 0.75], [0, 0.95], 0.3, "partial inversion"),  # at 1.05 - ξ
        ([0, 0.70], [0, 0.95], 0.3, "full inversion"),  # the published 1 - ξ
        ([0, 1.00], [0, 0.50], 0.3, "memorisation"),
        ([0, 0.70, 0.5], [0, 0.95, 0.5], 0.3, "forgetting"),
        ([0, 0.70, 1.0], [0, 0.95, 0.5], 0.3, "memorisation"),
        ([0, 0.50], [0, 0.50], 0.3, "confusion"),
    ],
)
def test_corrupted_labels(train, test, corrupted, label):
    for path in ("task.corrupted", "task.flipped"):
        assert labels.CORRUPTED.names[labels.CORRUPTED(observed(train, test, **{path: [corrupted]}))[0]] == label
    ended = observed(train, test, steps=500, **{"task.corrupted": [corrupted]})
    assert labels.CORRUPTED.names[labels.CORRUPTED(ended)[0]] == "undecided"
    diverged = observed(train, test, "diverged", 500, **{"task.corrupted": [corrupted]})
    assert labels.CORRUPTED.names[labels.CORRUPTED(diverged)[0]] == "diverged"


def test_corrupted_labels_are_told_by_accuracies():
    for other in ({"metric": "loss"}, {"metric": "ood/accuracy"}, {"below": True}):
        o = dataclasses.replace(observed([0, 1], [0, 1], **{"task.corrupted": [0.3]}), definition=replaced(**other))
        with pytest.raises(
            FieldError, match=r"metric = .*: is not of the accuracies that corrupted_labels are told by"
        ):
            labels.CORRUPTED(o)


def test_corrupted_labels_need_to_know_how_many():
    with pytest.raises(FieldError, match=r"or with a field task\.corrupted"):
        labels.CORRUPTED(observed([0, 1], [0, 1]))


@pytest.mark.parametrize(
    ("test", "status", "steps", "label"),
    [
        ([0, 0.95, 0.95], "finished", 1000, "kept"),
        ([0, 0.95, 0.50], "finished", 1000, "lost it again"),
        ([0, 0.95, np.nan], "finished", 1000, "kept"),  # the last evaluation that there is
        ([0, 0.50, 0.50], "finished", 1000, "not reached"),
        ([0, 0.95, 0.95], "stopped", 500, "undecided"),
        ([0, 0.95, 0.95], "diverged", 500, "diverged"),
        ([0, 0.95, 0.95], "frozen", 500, "kept"),  # it can never change again
        ([0, 0.95, 0.50], "finished", 2000, "kept"),  # what happens after the budget does not count
    ],
)
def test_retention(test, status, steps, label):
    assert labels.RETENTION.names[labels.RETENTION(observed(test, test, status, steps))[0]] == label
    loss, d = 1 - np.array(test), replaced(metric="loss", below=True, threshold=0.1)
    assert labels.RETENTION.names[labels.RETENTION(observed(loss, loss, status, steps, d))[0]] == label


def test_a_frozen_run_is_known_to_the_budget_and_a_stopped_one_is_not():
    name = lambda o: labels.FOUR_PHASES.names[labels.FOUR_PHASES(o)[0]]  # noqa: E731
    assert name(observed([0, 1], [0, 0.1], "frozen", 300)) == "memorisation"
    assert name(observed([0, 0.1], [0, 0.1], "frozen", 300)) == "confusion"
    assert name(observed([0, 1], [0, 0.1], "stopped", 300)) == "undecided"
    assert name(observed([0, 1], [np.nan, np.nan], "frozen", 300)) == "undecided"  # without test rows


def test_undecided_runs_say_nothing_of_the_event(synthetic_results):
    kinds = (("undecided", "undecided"), ("undecided", "grokking"), ("memorisation", "grokking"))
    diagram = synthetic_results(AXES, kind=lambda i, j, s: kinds[i][s]).phase_diagram(X, Y)
    np.testing.assert_array_equal(diagram.decided, [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(diagram.probability, [[np.nan, 1, 0.5]] * 2)
    low, high = diagram.probability_interval()
    np.testing.assert_array_equal(np.isnan(low), [[True, False, False]] * 2)
    assert (high[:, 1] == 1).all()


def test_endings(synthetic_results):
    kinds = ("diverged", "undecided", "grokking")
    diagram = synthetic_results(AXES, kind=lambda i, j, s: kinds[i]).phase_diagram(X, Y, labels="endings")
    assert [diagram.labelling.names[m] for m in diagram.majority[0]] == ["diverged", "stopped", "finished"]
    np.testing.assert_array_equal(diagram.probability[0], [1, 0, 0])


def own(assign, **more):
    options = {"name": "own", "labels": (Label("low", "#000000"), Label("high", "#ffffff"))}
    return Labelling(**{**options, "assign": assign, "event": ("high",), "event_name": "be high", **more})


def test_users_label_by_their_own_function(synthetic_results, tmp_path):
    results = synthetic_results(AXES, kind=lambda i, j, s: "comprehension" if i == 2 else "confusion")
    high = own(lambda o: (o.last("test/accuracy") > 0.5).astype(int), curves=("train/accuracy",))
    diagram = results.phase_diagram(X, Y, labels=high)
    np.testing.assert_array_equal(diagram.majority, [[0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(diagram.probability, diagram.majority)
    assert {"low", "high"} <= set(diagram.cell_table().columns)
    diagram.plot(tmp_path / "d.svg")
    assert "P(be high)" in (tmp_path / "d.txt").read_text()
    diagram.page(tmp_path / "d.html")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: own(len, name="a b"), "labelling.name"),
        (lambda: own(len, labels=(Label("low", "#000000"),) * 2), "different names"),
        (lambda: own(len, event=("hihg",)), "did you mean high"),
        (lambda: Label("", "#000000"), "label.name"),
        (lambda: Label("low", "red"), "must be #rrggbb"),
        (lambda: find("four_phase"), "did you mean four_phases"),
        (lambda: register(own(len, name="four_phases")), "is taken"),
        (lambda: own(lambda o: np.zeros(1))(observed([0], [0])), "whole numbers"),
        (lambda: own(lambda o: np.zeros(2, int))(observed([0], [0])), "whole numbers"),
        (lambda: own(lambda o: np.full(1, 2))(observed([0], [0])), "numbered from 0 to 1"),
    ],
)
def test_wrong_labellings_are_refused(make, said):
    with pytest.raises(FieldError, match=said):
        make()


def test_every_labelling_differs_in_colour():
    for labelling in LABELLINGS.values():
        assert len({label.colour for label in labelling.labels}) == len(labelling.labels)
