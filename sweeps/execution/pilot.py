"""How much of their steps runs make that may stop early: some of a program's runs, trained and thrown away."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from jaxgen import Experiment
from jaxgen.kernel import Block, Program
from jaxgen.starts import parent
from sweeps.execution import widths
from sweeps.execution.plan import Group

RUNS, FEWEST = 48, 6  # of a program
SECONDS = 40.0  # of a device, busy, at most
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclasses.dataclass(frozen=True)
class Made:
    """Steps that runs make, as a share of their budgets, with half of its 95 % interval; how many runs were tried."""

    share: float
    error: float
    runs: int


UNKNOWN = Made(0.865, 0.135, 0)
"""Where too few runs can be tried: .73 to 1."""


def can_stop(experiment: Experiment) -> bool:
    """Whether a run may end before its budget is made, other than by diverging."""
    t = experiment.training
    return bool(t.stop_frozen or (t.stop_metric is not None and t.stop_patience > 0))


def made(
    group: Group,
    experiment: Callable[[int], Experiment],
    devices: Sequence[jax.Device],
    lanes: int,
    milliseconds: float,
) -> Made:
    """The share of their budgets that a group's pending runs make: (Σ steps) / (Σ budgets) of up to `RUNS` of them.

    They are spread over the sweep by the golden ratio, and trained to their ends; `UNKNOWN` where fewer than `FEWEST`
    of them fit into `SECONDS`, or they start from others.

    Args:
      group: of one program.
      experiment: the experiment at a point of the sweep.
      devices: that train.
      lanes: of a block.
      milliseconds: of a device, busy, per lane-step.
    """
    longest = max(steps for steps, *_ in group.budgets) * milliseconds / 1e3
    count = min(RUNS, len(group.pending), int(SECONDS / max(longest, 1e-9)))
    if count < min(FEWEST, len(group.pending)) or count == 0 or parent(group.template) is not None:
        return UNKNOWN
    places = np.argsort(np.arange(len(group.pending)) * GOLDEN % 1)[:count].tolist()
    runs = [(group.pending[i][0], experiment(group.pending[i][1])) for i in places]
    program = Program(group.template, lanes)
    blocks, waiting = [Block(program, device) for device in devices], iter(runs)
    steps = np.array(
        [made / of for made, of in _trained(blocks, waiting, widths.first_intervals(group.template, lanes))]
    )
    left = 1 - len(runs) / len(group.pending)
    error = 1.96 * float(steps.std()) * math.sqrt(left / max(len(runs) - 1, 1))
    return Made(float(steps.mean()), error, len(runs))


def _trained(blocks: list[Block], runs: Iterator[tuple], intervals: int) -> Iterator[tuple[int, int]]:
    """Steps made and budget of every run."""
    while True:
        for block in blocks:
            block.refill(runs)
        going = [block for block in blocks if block.free < block.program.width]
        if not going:
            return
        for block in going:
            block.launch(intervals)
        for block in going:
            yield from ((result.steps, max(result.experiment.training.steps, 1)) for result in block.harvest())
