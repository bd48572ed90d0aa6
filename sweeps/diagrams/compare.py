"""Two arms of a study, cell by cell and over all cells, on the seeds that both have."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from jaxgen import FieldError
from sweeps import statistics
from sweeps.statistics.units import mean_interval, unit_means, unit_text

if TYPE_CHECKING:
    from sweeps.diagrams.diagram import Diagram

FLIPS = 9999
"""Sign flips that are drawn where all are more, from 14 differences on."""
BATCH = 256


def compare(one: "Diagram", other: "Diagram") -> pd.DataFrame:
    """A row per cell that two `sweeps.Diagram`s share, from the pairs of runs with equal `seed` and `split_seed`.

    A pair of which one run is undecided is left out of what is said of the event; the column `undecided` counts such
    pairs. Times are min(T, budget), T the step at which test reaches the threshold; a pair of which one is not known,
    as the run neither reached it nor was watched to the budget, is left out of `time_pairs`, their
    `time_difference` and its test. Medians are of all pairs: these runs are censored where they ended.

    Columns: both axes; `pairs`; `undecided`; `p_one`, `p_other` and `p_difference`, the share of pairs in the event;
    `only_one`, `only_other`, the pairs of which one run is in the event; `mcnemar_p`, exact, two-sided (McNemar 1947);
    `median_one`, `median_other` and their `time_ratio` (Kaplan–Meier, NaN where either is not reached); `time_pairs`;
    `time_difference`, the mean of one's less the other's; `time_p`, of `sign_flip` of these; and both p adjusted for
    the number of cells (Holm 1979). A cell that no seed is shared in has NaN. A few seeds can reject nothing so
    adjusted: whether the arms differ at all, `overall` tests.

    Raises:
      FieldError: the diagrams differ in their axes, definition or labelling, or a cell has a seed twice (pooled).
    """
    pairs = _pairs(one, other)
    cells = dict(list(pairs.groupby(level=["x", "y"])))
    x_values, y_values = ([v for v in getattr(one, n) if v in getattr(other, n)] for n in ("x_values", "y_values"))
    places = [(x, y) for y in y_values for x in x_values]
    table = pd.DataFrame([{one.x: x, one.y: y, **_cell(cells.get((x, y)))} for x, y in places])
    differences = [cells[place]["time"].dropna().to_numpy() if place in cells else np.zeros(0) for place in places]
    table["time_p"] = sign_flip(differences)
    for name in ("mcnemar_p", "time_p"):
        table[f"{name}_holm"] = statistics.holm(table[name].to_numpy(float))
    return table


def overall(one: "Diagram", other: "Diagram") -> pd.DataFrame:
    """Whether two `sweeps.Diagram`s differ at all: one test of P(event) and one of times, over all cells of both.

    The values are a seed's: the mean, over the cells that both have with it, of the first's less the other's event (0
    or 1) and min(T, budget); pairs that `compare` leaves out are left out here.

    Returns:
      Rows "P(event)" and "steps" with `unit`, what is independent, e.g. "8 seeds"; `pairs`; `left_out`; `difference`,
      the mean over seeds; `low` and `high`, its 95 % interval as an `Effect`; `p`, of `sign_flip`; and `least_p`, the
      least that so many can give. Where seeds and splits cross no flip is exact: `p` is NaN, the interval knows both.

    Raises:
      FieldError: as `compare`.
    """
    pairs = _pairs(one, other)
    rows = []
    for name, column in ((f"P({one.labelling.event_name})", "event"), ("steps", "time")):
        known = pairs[column].dropna()
        values = known.groupby(["seed", "split_seed"]).mean()
        means = list(unit_means(values.to_numpy(), values.index).values())
        low, high = mean_interval(values, values)
        single = len(means) == 1 and len(known) > 0
        rows.append(
            {
                "of": name,
                "unit": unit_text(values.to_numpy(), values.index),
                "pairs": len(known),
                "left_out": len(pairs) - len(known),
                "difference": values.mean(),
                "low": low,
                "high": high,
                "p": sign_flip(means)[0] if single else np.nan,
                "least_p": max(2 * 0.5 ** len(means[0]), 2 / (FLIPS + 1)) if single else np.nan,
            }
        )
    return pd.DataFrame(rows)


def sign_flip(differences: list[np.ndarray]) -> np.ndarray:
    """Whether paired differences are as often above 0 as below, two-sided p for each array; NaN of none.

    If the arms of a pair could be exchanged, any difference could have either sign: p is twice the share of all signs
    whose mean is as extreme on the side where it lies (Fisher 1935; `scipy.stats.permutation_test`). Of n differences
    it is 2 · 2⁻ⁿ at least; from n = 14 on signs are drawn, with a seed.
    """
    found = np.full(len(differences), np.nan)
    counts = np.array([len(values) for values in differences])
    found[counts == 1] = 1
    for count in np.unique(counts[counts > 1]):
        at = np.flatnonzero(counts == count)
        found[at] = stats.permutation_test(
            (np.stack([differences[i] for i in at]),),
            lambda values, axis: values.mean(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=FLIPS,
            batch=BATCH,
            axis=1,
            random_state=0,
        ).pvalue
    return found


def _pairs(one: "Diagram", other: "Diagram") -> pd.DataFrame:
    """The pairs of runs of two diagrams, by x, y, seed and split seed, with the differences `event` and `time`."""
    for name in ("x", "y", "definition", "labelling"):
        if getattr(one, name) != getattr(other, name):
            raise FieldError(name, getattr(other, name), f"must be that of the other diagram, {getattr(one, name)}")
    arms = [_arm(diagram) for diagram in (one, other)]
    pairs = pd.merge(*arms, left_index=True, right_index=True, suffixes=("_one", "_other"))
    differences = {name: pairs[f"{name}_one"] - pairs[f"{name}_other"] for name in ("event", "time")}
    return pairs.assign(**differences)


def _arm(diagram: "Diagram") -> pd.DataFrame:
    """A diagram's runs by x, y and seeds: in the event or not, and their censored times."""
    row, column = np.divmod(diagram.runs["cell"].to_numpy(), len(diagram.x_values))
    ended, reached = diagram.times()
    arm = pd.DataFrame(
        {
            "x": np.array(diagram.x_values, object)[column],
            "y": np.array(diagram.y_values, object)[row],
            "seed": diagram.runs["seed"].to_numpy(),
            "split_seed": diagram.runs["split_seed"].to_numpy(),
            "event": diagram.labelling.events(diagram.runs["label"].to_numpy()),
            "ended": ended,
            "reached": reached,
            "time": np.where(reached | (ended >= diagram.definition.budget), ended, np.nan),
        }
    ).set_index(["x", "y", "seed", "split_seed"])
    if arm.index.has_duplicates:
        raise FieldError("pool", diagram.pooled, "pairs need each seed once in a cell: hold the pooled fields instead")
    return arm


def _cell(pairs: pd.DataFrame | None) -> dict[str, float]:
    if pairs is None:
        return {"pairs": 0, "undecided": 0, "time_pairs": 0, "mcnemar_p": np.nan}
    known = pairs.dropna(subset=["event_one", "event_other"])
    one, other = known["event_one"].to_numpy(bool), known["event_other"].to_numpy(bool)
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    times = [pairs[f"{name}_{arm}"].to_numpy() for arm in ("one", "other") for name in ("ended", "reached")]
    medians = [statistics.censored_median(*times[:2]), statistics.censored_median(*times[2:])]
    return {
        "pairs": len(known),
        "undecided": len(pairs) - len(known),
        "p_one": known["event_one"].mean(),
        "p_other": known["event_other"].mean(),
        "p_difference": known["event_one"].mean() - known["event_other"].mean(),
        "only_one": only_one,
        "only_other": only_other,
        "mcnemar_p": statistics.mcnemar(only_one, only_other) if len(known) else np.nan,
        "median_one": medians[0],
        "median_other": medians[1],
        "time_ratio": medians[0] / medians[1] if np.isfinite(medians).all() and medians[1] > 0 else np.nan,
        "time_pairs": int(pairs["time"].notna().sum()),
        "time_difference": pairs["time"].mean(),
    }
