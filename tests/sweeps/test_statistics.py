import numpy as np
import pytest
from scipy import stats

from sweeps.statistics import censored_median, wilson


def test_wilson_against_published_values():
    # Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_censoring_moves_the_median():
    rng = np.random.default_rng(0)
    truth = rng.exponential(1000, 2001)
    seen = truth <= rng.uniform(500, 3000, 2001)
    ended = np.where(seen, truth, np.minimum(truth, 800))
    assert abs(censored_median(ended, seen) - 1000 * np.log(2)) < 120
    assert np.median(truth[seen]) < 650  # leaving censored runs out is too optimistic
    assert censored_median(np.array([5.0, 5.0]), np.array([False, False])) == np.inf
    curve = stats.ecdf(stats.CensoredData.right_censored(ended, ~seen)).sf
    assert curve.evaluate(censored_median(ended, seen)) <= 0.5
