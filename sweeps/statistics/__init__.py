"""What is known from a few seeds: rates, times, tests, moments, fits, and boundaries with their bands."""

from sweeps.statistics.estimate import Estimate
from sweeps.statistics.rates import wilson
from sweeps.statistics.survival import (
    Survival,
    censored_median,
    grouped_median,
    grouped_restricted_mean,
    kaplan_meier,
)
from sweeps.statistics.tests import LogRank, holm, logrank, mcnemar

__all__ = [
    "Estimate",
    "LogRank",
    "Survival",
    "censored_median",
    "grouped_median",
    "grouped_restricted_mean",
    "holm",
    "kaplan_meier",
    "logrank",
    "mcnemar",
    "wilson",
]
