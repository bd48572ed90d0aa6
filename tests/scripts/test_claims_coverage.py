"""Claims that are not so seldom PASS, those that are so seldom FAIL, and where that does not hold it is told."""

from pathlib import Path

import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]


@pytest.fixture
def coverage(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from benchmarks import claims_coverage

    return claims_coverage


def most(coverage, repeats, sure=0.9999):
    """The largest share of so many that a rate at the bar gives with this probability."""
    return stats.binom.ppf(sure, repeats, coverage.BAR) / repeats


def test_null_claims_seldom_pass_or_fail(coverage):
    found = coverage.measure(coverage.COVERED, 60)
    assert set(found["seeds"]) == {3, 6, 8}
    assert (found[["PASS", "FAIL"]] <= most(coverage, 60)).all(axis=None)
    assert (found.groupby("world")[["PASS", "FAIL"]].mean() <= most(coverage, 180)).all(axis=None)


def test_null_claims_of_laws_seldom_pass_or_fail(coverage):
    found = coverage.measure(coverage.LAWS, 20)
    assert (found[["PASS", "FAIL"]] <= most(coverage, 20)).all(axis=None)
    assert (found.groupby("world")[["PASS", "FAIL"]].mean() <= most(coverage, 60)).all(axis=None)


def test_what_is_not_covered_is_seen_and_told(coverage):
    found = coverage.measure(coverage.UNCOVERED, 200)
    worst = found.groupby("world")[["PASS", "FAIL"]].max().max(axis=1).drop("paired: accuracies of two spreads")
    assert (worst > most(coverage, 200, 0.99)).all()
    assert coverage.markdown(found).count("**") >= 2 * len(worst)


@pytest.mark.slow
def test_null_claims_pass_or_fail_as_seldom_as_the_bar_asks(coverage):
    found = coverage.measure(coverage.COVERED | coverage.LAWS, 2000)
    assert (found[["PASS", "FAIL"]] <= most(coverage, 2000)).all(axis=None)
