"""How likely a run that only guesses is to cross a threshold: a few test rows are often right by chance."""

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from jaxgen import FieldError, components
from sweeps.diagrams import phases
from sweeps.storage import store

if TYPE_CHECKING:
    from sweeps.diagrams.diagram import Diagram

MOST = 200
"""Tasks that are asked for their rows; where runs have more, so many that are spread over them."""
SAID = 0.01


@dataclasses.dataclass(frozen=True)
class Guess:
    """What a run does that guesses each test row at each evaluation anew.

    Attributes:
      rows: test rows that it has, or rows of the metric's own split.
      rate: chance to be right on one: 1 / outputs of the task, 1/2 where it has a single one.
      looks: evaluations up to the budget.
      chance: of crossing the threshold at some of them, as often in a row as the definition asks for.
      sustained: evaluations in a row from which on that is below `SAID`; 0 if none are.
    """

    rows: int
    rate: float
    looks: int
    chance: float
    sustained: int


def chance(rows: int, rate: float, threshold: float, looks: int, sustained: int = 1) -> float:
    """How likely `rows` guesses are to be at a threshold at `sustained` of `looks` in a row.

    With q = P(Binomial(rows, rate) ≥ threshold · rows) and looks that are independent of one another it is at most
    1 - (1 - q^k)^(looks - k + 1), k = `sustained`, which is exact for k = 1. With 0, "to the end", it is q, that of the
    last. Looks that resemble one another cross less often, but stay longer.

    >>> round(chance(10, 0.5, 0.9, 61), 2)
    0.48
    """
    need = math.ceil(np.float32(threshold) * rows - 1)
    need += not phases.reaches(np.array([need], np.float32) / np.float32(rows), threshold)[0]
    hit = special.betainc(need, rows - need + 1, rate) if need > 0 else 1.0
    windows = max(looks - sustained + 1, 0) if sustained else 1
    return float(1 - (1 - hit ** max(sustained, 1)) ** windows)


def guess(diagram: "Diagram") -> Guess | None:
    """The `Guess` that crosses most often among the tasks of a diagram's runs.

    None where the metric is none that guesses raise to a threshold, or no task has test rows.
    """
    d, runs = diagram.definition, diagram.runs
    if not d.is_accuracy or d.below:
        return None
    test = np.isfinite(diagram.curves[d.curves[1]]) & (diagram.curves["step"] <= d.budget)
    fields = [c for c in runs if str(c).startswith("task.")]
    kinds, which = np.unique(runs.groupby(fields, dropna=False, sort=True).ngroup(), return_inverse=True)
    looks, first = np.zeros(len(kinds), int), np.zeros(len(kinds), int)
    np.maximum.at(looks, which, test.sum(1))
    first[which[::-1]] = np.arange(len(runs))[::-1]
    chosen = np.unique(np.linspace(0, len(kinds) - 1, min(MOST, len(kinds))).round().astype(int))
    ids = [runs["run_id"].iloc[first[kind]] for kind in chosen]
    stored = store.read(diagram.source.workdir, ["experiment"], set(ids))
    texts = dict(zip(stored["run_id"].to_pylist(), stored["experiment"].to_pylist()))
    found = []
    for kind, run_id in zip(chosen, ids):
        try:
            task = components.from_dict(json.loads(texts[run_id])["task"], "task")
        except FieldError:  # of a class that is not known here
            continue
        if rows := task.rows().get(d.split, 0):
            found.append((rows, 1 / task.outputs if task.outputs > 1 else 0.5, int(looks[kind])))
    if not found:
        return None
    chances = [chance(rows, rate, d.threshold, seen, d.sustained) for rows, rate, seen in found]
    rows, rate, seen = found[int(np.argmax(chances))]
    enough = next((k for k in range(2, seen + 1) if chance(rows, rate, d.threshold, seen, k) < SAID), 0)
    return Guess(rows, rate, seen, float(max(chances)), enough)
