"""Two arms of a study, cell by cell, on the seeds that both have."""

from typing import Any

import numpy as np
import pandas as pd

from jaxgen import FieldError
from sweeps import statistics


def compare(one: Any, other: Any) -> pd.DataFrame:
    """A row per cell that two `sweeps.Diagram`s share, from the pairs of runs with equal `seed` and `split_seed`.

    A pair of which one run is undecided is left out of what is said of the event; the column `undecided` counts such
    pairs. Times are of all pairs: these runs are censored where they ended.

    Columns: both axes; `pairs`; `undecided`; `p_one`, `p_other` and `p_difference`, the share of pairs in the event;
    `only_one`, `only_other`, the pairs of which one run is in the event; `mcnemar_p`, exact, two-sided (McNemar 1947);
    `median_one`, `median_other` and their `time_ratio`, of the step at which test accuracy reaches the threshold
    (Kaplan–Meier, NaN where either is not reached); `logrank_p` of these times, which takes the arms as unpaired; and
    both p adjusted for the number of cells (Holm 1979). A cell that no seed is shared in has NaN.

    Raises:
      FieldError: the diagrams differ in their axes, definition or labelling, or a cell has a seed twice (pooled).
    """
    for name in ("x", "y", "definition", "labelling"):
        if getattr(one, name) != getattr(other, name):
            raise FieldError(name, getattr(other, name), f"must be that of the other diagram, {getattr(one, name)}")
    arms = [_arm(diagram) for diagram in (one, other)]
    pairs = pd.merge(*arms, left_index=True, right_index=True, suffixes=("_one", "_other"))
    cells = dict(list(pairs.groupby(level=["x", "y"])))
    x_values, y_values = ([v for v in getattr(one, n) if v in getattr(other, n)] for n in ("x_values", "y_values"))
    table = pd.DataFrame([{one.x: x, one.y: y, **_cell(cells.get((x, y)))} for y in y_values for x in x_values])
    for name in ("mcnemar_p", "logrank_p"):
        table[f"{name}_holm"] = statistics.holm(table[name].to_numpy(float))
    return table


def _arm(diagram: Any) -> pd.DataFrame:
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
        }
    ).set_index(["x", "y", "seed", "split_seed"])
    if arm.index.has_duplicates:
        raise FieldError("pool", diagram.pooled, "pairs need each seed once in a cell: hold the pooled fields instead")
    return arm


def _cell(pairs: pd.DataFrame | None) -> dict[str, Any]:
    if pairs is None:
        return {"pairs": 0, "undecided": 0, "mcnemar_p": np.nan, "logrank_p": np.nan}
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
        "logrank_p": statistics.logrank(*times).p,
    }
