"""Lines where a surface over the unit square is 0, and how far off they may be: the geometry of `sweeps.boundary`.

Surfaces are logits on a grid of RESOLUTION points along each axis, (y, x).
"""

from typing import Any

import contourpy
import numpy as np
from scipy import ndimage, stats

from sweeps.statistics import jackknife

RESOLUTION = 101  # points along each axis of what is drawn
STEPS = np.linspace(0, 1, RESOLUTION)
SURE = 3  # runs at a point that tell never from always


def length(logit: np.ndarray) -> float:
    """Of the line, in sides of the square."""
    return float(sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in lines(logit)))


def lines(logit: np.ndarray) -> list[np.ndarray]:
    """Where a grid of logits over the unit square is 0."""
    return list[Any](contourpy.contour_generator(STEPS, STEPS, logit).lines(0.0))


def share(inside: np.ndarray) -> np.ndarray:
    """Share of the square by the trapezoid rule, of grids (…, y, x) of truth values."""
    weights = np.full(inside.shape[-1], 1.0)
    weights[[0, -1]] = 0.5
    return inside @ weights @ weights / weights.sum() ** 2


def displacement(logit: np.ndarray, without: np.ndarray, confidence: float) -> float:
    """How far the line may be displaced as a whole, in sides of the plane: t s of its mean displacement without a seed.

    The displacement at a point of the line, where the logit f is 0, is -f₍ⱼ₎ / |∇f|; d² is the mean over the separate
    lines, by length, of the squares of what the jackknife gives for each.
    """
    if len(without) < jackknife.LEAST_UNITS:
        return np.inf
    slope = np.hypot(*np.gradient(logit, 1 / (RESOLUTION - 1)))
    squares, lengths = [0.0], [1e-9]
    for line in lines(logit):
        pieces = np.hypot(*np.diff(line, axis=0).T)
        at = (line[1:] + line[:-1])[:, ::-1].T / 2 * (RESOLUTION - 1)
        steep = ndimage.map_coordinates(slope, at, order=1)
        moved = [-ndimage.map_coordinates(one, at, order=1) @ (pieces / steep) / pieces.sum() for one in without]
        squares.append(float(jackknife.half_width(np.array(moved), confidence)) ** 2)
        lengths.append(float(pieces.sum()))
    return float(np.average(squares, weights=lengths)) ** 0.5


def moved(logit: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """How far below and above its value a logit goes within a distance of each point."""
    if distance > 1:
        return np.full_like(logit, np.inf), np.full_like(logit, np.inf)
    reach = np.arange(-int(np.ceil(distance * (RESOLUTION - 1))), int(np.ceil(distance * (RESOLUTION - 1))) + 1)
    disc = np.hypot(reach, reach[:, None]) <= max(distance * (RESOLUTION - 1), 0.5)
    least, most = (f(logit, footprint=disc, mode="nearest") for f in (ndimage.grey_erosion, ndimage.grey_dilation))
    return logit - least, most - logit


def simultaneous(logit: np.ndarray, logits: np.ndarray, confidence: float) -> float:
    """How much wider a band is that holds whole lines: by the largest |logit| / s on the lines of the replicates.

    A replicate's line is in the band of half-width z s, s the replicates' standard deviation, if |logit| ≤ z s on all
    of it; so is that of the share `confidence` of replicates in one λ times as wide. Returns λ, at least 1.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.nan_to_num(np.abs(logit) / logits.std(0), posinf=0)
    inside, largest = logits > 0, np.zeros(len(logits))
    for ahead, behind in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        crossed = inside[:, *ahead] != inside[:, *behind]
        at = np.minimum(ratio[ahead], ratio[behind])
        largest = np.maximum(largest, np.where(crossed, at, 0).max((1, 2)))
    return max(1.0, float(np.quantile(largest, confidence) / stats.norm.ppf((1 + confidence) / 2)))


def reached(logit: np.ndarray, half: np.ndarray) -> np.ndarray:
    """(y, x) what is within half / |∇f| of the line, for a half-width of the logit f: where it tells of a displacement.

    Far from the line, where all runs agree, a logit is as uncertain as it is large, which says nothing of the line.
    """
    slope = np.hypot(*np.gradient(logit, 1 / (RESOLUTION - 1)))
    found = np.zeros(logit.shape, bool)
    grid = np.stack(np.meshgrid(STEPS, STEPS), -1)
    for line in lines(logit):
        at = line[:, ::-1].T * (RESOLUTION - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.nan_to_num(ndimage.map_coordinates(half / slope, at, order=1), nan=1.0, posinf=1.0)
        for (x, y), far in zip(line, distance + 1 / (RESOLUTION - 1)):
            near = np.s_[_span(y, far), _span(x, far)]
            found[near] |= np.hypot(*np.moveaxis(grid[near] - (x, y), -1, 0)) <= far
    return found


def _span(middle: float, far: float) -> slice:
    """The points along an axis within a distance."""
    first, last = np.searchsorted(STEPS, (middle - far, middle + far))
    return slice(int(first), int(last) + 1)


def between(points: np.ndarray, trials: np.ndarray, events: np.ndarray) -> np.ndarray:
    """(y, x) what lies between neighbours on a grid of which one never had the event in its runs, and the other always.

    Across the line between them it reaches half way to the next points. Nothing where points stand on no grid.
    """
    none = np.zeros((RESOLUTION, RESOLUTION), bool)
    (us, column), (vs, row) = (np.unique(along, return_inverse=True) for along in points.T)
    if min(len(us), len(vs)) < 2 or len(us) * len(vs) > 4 * len(points):
        return none
    rate = np.full((len(vs), len(us)), np.nan)
    rate[row.ravel(), column.ravel()] = np.where(trials >= SURE, events / trials, np.nan)
    across, up = (np.abs(np.diff(rate, axis=axis)) == 1 for axis in (1, 0))
    (at_u, by_u), (at_v, by_v) = (
        (np.clip(np.searchsorted(ends, STEPS) - 1, 0, len(ends) - 2), np.abs(STEPS[:, None] - ends).argmin(1))
        for ends in (us, vs)
    )
    return across[np.ix_(by_v, at_u)] | up[np.ix_(at_v, by_u)]
