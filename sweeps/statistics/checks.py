"""What the statistics of this room are given, checked."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxgen import FieldError


def check_all(name: str, value: ArrayLike, wrong: ArrayLike, allowed: str) -> None:
    """Raises a FieldError that names the first value, of an array or a number, that is wrong."""
    if np.any(wrong):
        raise FieldError(name, np.asarray(value)[np.asarray(wrong)].flat[0].item(), allowed)


def plain(values: np.ndarray) -> Any:
    """A number where the values are of no dimension."""
    return values.item() if values.ndim == 0 else values


def quantile(confidence: float) -> float:
    """How many standard errors an interval reaches to each side."""
    check_all("confidence", confidence, not 0 < confidence < 1, "must be in (0, 1)")
    return float(special.ndtri((1 + confidence) / 2))


def censored(ended: ArrayLike, reached: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Times and whether they were reached as arrays; FieldError where there is not one of both for each run."""
    ended, reached = np.asarray(ended, float), np.asarray(reached, bool)
    if ended.ndim != 1 or ended.shape != reached.shape:
        raise FieldError("reached", reached.shape, f"must have one value per run, as ended: {ended.shape}")
    check_all("ended", ended, ~np.isfinite(ended), "must be finite: where it was not reached, the last step looked at")
    return ended, reached


def indices(groups: ArrayLike, count: int, of_runs: np.ndarray) -> np.ndarray:
    """The group of each run as an index; FieldError where there is not one in [0, count) for each."""
    groups = np.asarray(groups, int)
    if groups.ndim != 1 or groups.shape != of_runs.shape:
        raise FieldError("groups", groups.shape, f"must have one index per run: {of_runs.shape}")
    check_all("groups", groups, (groups < 0) | (groups >= count), f"must be in [0, {count})")
    return groups
