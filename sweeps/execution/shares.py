"""How a sweep is split among workers that know nothing of each other: by the sweep alone, so that all split it alike.

The runs lie end to end on a line, program by program and within one by run_id, each as long as it is foretold to take.
The line is cut into equal parts. A share then is one stretch: it is balanced, and n shares of m programs compile at
most m + n - 1 programs in all. A cut close to where a program ends is made there.
"""

import math
from collections.abc import Sequence

import jax
import numpy as np

from jaxgen import Experiment, training
from sweeps.execution.widths import OVERHEAD, RATE

NEAR = 1 / 16  # of a share's length: a cut so close to the end of a program is made there


def seconds(template: Experiment, budgets: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """How long runs of a program may take, one after another: (runs,) steps × (overhead + FLOPs / rate).

    A step has about 6 × parameters × rows × labels of a row FLOPs. Nothing is compiled or measured, and all numbers
    are those of `widths`: every machine has to find the same.

    Args:
      template: a run of the program.
      budgets: of each run its steps, and rows trained on and computed in a step.
    """
    _, state, outputs = training.shapes(template)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    flops = 6.0 * parameters * math.prod(outputs.shape[1:-1])
    steps, _, rows = np.array(budgets, float).reshape(-1, 3).T
    return (steps + 1) * (OVERHEAD + flops * rows / RATE)


def assign(costs: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Which of `count` shares each run belongs to.

    Args:
      costs: of each program, in the order in which they lie on the line, what its runs take, (runs,), all above 0.
      count: how many shares.

    Returns:
      Of each program (runs,), ascending; a share may have none where there are few runs.
    """
    if not costs:
        return []
    sizes = [len(cost) for cost in costs]
    ends = np.cumsum(np.concatenate(costs))
    borders = ends[np.cumsum(sizes)[:-1] - 1]
    cuts = ends[-1] * np.arange(1, count) / count
    if len(borders):
        nearest = borders[np.abs(borders[None] - cuts[:, None]).argmin(axis=1)]
        cuts = np.where(np.abs(nearest - cuts) < NEAR * ends[-1] / count, nearest, cuts)
    middles = ends - np.concatenate(costs) / 2
    return np.split(np.searchsorted(cuts, middles, side="right"), np.cumsum(sizes)[:-1])
