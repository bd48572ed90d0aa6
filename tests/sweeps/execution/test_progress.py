"""How far a sweep is said to be."""

import pytest

from sweeps.execution import progress


def test_what_is_left_follows_from_the_rate_of_the_last_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    told = progress.Progress(10, 10_000, quiet=True)
    told.begin()
    assert told.left_seconds == float("inf")
    now[0] = 100.0
    told.update(100, 100)  # programs were compiled meanwhile
    assert told.left_seconds == pytest.approx(9_900)
    for _ in range(20):
        now[0] += 10
        told.update(told._useful + 100, 10_000)
    assert told.left_seconds == pytest.approx(790, rel=0.02)
    for _ in range(3):
        told.finished(500, 1000)  # runs end when half of their budget is made
    assert told.left_seconds == pytest.approx(290, rel=0.02)
