"""How often guesses cross a threshold."""

import doctest
import itertools

import numpy as np
import pytest
from scipy import stats

from jaxgen import FieldError, tasks
from sweeps.diagrams import guessing
from sweeps.diagrams.guessing import chance, guess
from sweeps.report.caption import caption

X, Y = "task.train_fraction", "optimizer.weight_decay"
AXES = {X: [0.2, 0.5, 0.8], Y: [0.01, 1.0]}


def test_few_rows_cross_by_chance():
    assert doctest.testmod(guessing).failed == 0
    for rows, threshold in itertools.product((1, 3, 7, 10, 30), (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)):
        at = [k for k in range(rows + 1) if np.float32(k) / np.float32(rows) >= np.float32(threshold)]
        once = stats.binom.pmf(at, rows, 0.3).sum()
        assert chance(rows, 0.3, threshold, 1) == pytest.approx(once)
        assert chance(rows, 0.3, threshold, 20) == pytest.approx(1 - (1 - once) ** 20, abs=1e-12)
        assert chance(rows, 0.3, threshold, 20, 0) == pytest.approx(once)
    assert chance(10, 0.5, 0.9, 3, 4) == 0  # never so many in a row


@pytest.mark.parametrize("sustained", [2, 3])
def test_in_a_row_they_do_less_often_than_is_said(sustained):
    high = np.random.default_rng(0).binomial(10, 0.5, (20_000, 61)) >= 7
    row = np.lib.stride_tricks.sliding_window_view(high, sustained, axis=1).all(-1).any(1).mean()
    said = chance(10, 0.5, 0.7, 61, sustained)
    assert row - 0.01 < said < row + 0.12


def test_the_caption_says_how_often_runs_cross_by_guessing(synthetic_results):
    results = synthetic_results(AXES, seeds=2, kind=lambda *_: "confusion")
    found = guess(results.phase_diagram(X, Y, threshold=0.4))
    assert (found.rows, found.rate, found.looks) == (10, 1 / 7, 51)  # of 49 rows a fifth
    assert found.chance == pytest.approx(1 - stats.binom.cdf(3, 10, 1 / 7) ** 51)
    diagram = results.phase_diagram(X, Y, threshold=0.4)
    assert f"on its 10 test rows at some of 51 evaluations with a chance of {found.chance:.0%}" in caption(diagram)
    assert f"--sustained={found.sustained} makes it less than 1%" in caption(diagram)
    assert chance(10, 1 / 7, 0.4, 51, found.sustained) < 0.01 <= chance(10, 1 / 7, 0.4, 51, found.sustained - 1)
    assert "guesses" not in caption(results.phase_diagram(X, Y, threshold=0.4, sustained=found.sustained))
    assert "guesses" not in caption(results.phase_diagram(X, Y))
    assert guess(results.phase_diagram(X, Y, threshold=0.4, budget=600)).looks == 31


def test_tasks_are_asked_for_their_rows_once_each(synthetic_results, monkeypatch):
    axes = {X: np.linspace(0.2, 0.8, 12).tolist(), Y: [0.01, 1.0]}
    diagram = synthetic_results(axes, seeds=2).phase_diagram(X, Y)
    asked, rows = [], tasks.ModularAddition.rows
    monkeypatch.setattr(tasks.ModularAddition, "rows", lambda task: asked.append(task) or rows(task))
    assert guess(diagram).rows == 10
    assert len(asked) == 12
    monkeypatch.setattr(guessing, "MOST", 5)
    assert guess(diagram).rows == 10  # the least and the largest are among them
    assert len(asked) == 17


def test_tasks_without_test_rows_or_of_unknown_classes_say_nothing(synthetic_results, monkeypatch):
    diagram = synthetic_results(AXES).phase_diagram(X, Y, threshold=0.4)
    monkeypatch.setattr(tasks.ModularAddition, "rows", lambda _: {"train": 49})
    assert guess(diagram) is None
    assert "guesses" not in caption(diagram)
    monkeypatch.undo()
    monkeypatch.setattr(guessing.components, "from_dict", gone)
    assert guess(diagram) is None


def test_guesses_are_of_accuracies_above_a_threshold(synthetic_results, losses_only):
    both = lambda train, test: {**losses_only(train, test), "train/accuracy": train, "test/accuracy": test}  # noqa: E731
    results = synthetic_results(AXES, kind=lambda *_: "confusion", curves=both)
    assert guess(results.phase_diagram(X, Y, metric="accuracy >= 0.4")).rows == 10
    for metric in ("loss <= 0.4", "loss >= 0.4", "accuracy <= 0.4"):
        diagram = results.phase_diagram(X, Y, metric=metric)
        assert guess(diagram) is None
        assert "A run that guesses" not in caption(diagram)


def test_guesses_are_of_the_rows_of_the_metrics_split(synthetic_results, monkeypatch):
    of_ood = lambda train, test: {"train/accuracy": train, "ood/accuracy": test}  # noqa: E731
    results = synthetic_results(AXES, kind=lambda *_: "confusion", curves=of_ood)
    monkeypatch.setattr(tasks.ModularAddition, "rows", lambda _: {"train": 40, "test": 40, "ood": 9})
    diagram = results.phase_diagram(X, Y, metric="ood/accuracy >= 0.4")
    assert guess(diagram).rows == 9
    assert "on its 9 ood rows at some of 51 evaluations" in caption(diagram)


def gone(data, kind):
    raise FieldError(f"{kind}.type", data["type"], "is unknown")
