"""What a plan would take on an accelerator that is not here: bounds by its peak rates. Nothing of it is measured.

A roofline (Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009): with F
the FLOPs of a step as XLA counts them, B the bytes that its operations read and write, counted before any are fused, P
the chip's peak rate of products at the run's precision and M the bandwidth of its memory, a lane-step takes

  from  F / P            all operations at peak, and a block stays on the chip
  to    F / P + B / M    each operation reads its operands from memory and writes its result there.

Starts of kernels, compiling, idle lanes and the host are in neither.
"""

import dataclasses
import difflib
from collections.abc import Mapping

from jaxgen import Experiment, FieldError, training
from sweeps.batch.accelerators import ACCELERATORS
from sweeps.execution.chips import CHIPS, Chip
from sweeps.execution.plan import Group, Plan
from sweeps.execution.profile import step_bytes, step_flops


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Between what chip-hours a plan takes.

    Attributes:
      low, high: chip-hours.
      chips: that share them.
    """

    low: float
    high: float
    chips: int

    @property
    def hours(self) -> tuple[float, float]:
        """Hours on all chips together, if they are kept busy."""
        return self.low / self.chips, self.high / self.chips


def lane_step(experiment: Experiment, chip: Chip, flops: float, size: float) -> tuple[float, float]:
    """Between how many seconds of a chip a lane-step takes.

    Args:
      experiment: the run.
      chip: what it is trained on.
      flops, size: of a step, FLOPs and bytes.

    Raises:
      FieldError: the chip does not have the run's numbers.
    """
    t = experiment.training
    wide = "float64" if training.needs_x64(experiment) else t.dtype
    computing = flops / chip.rate(wide, t.matmul_precision)
    return computing, computing + size / chip.bandwidth


def bounds(plan: Plan, chip: Chip, chips: int, made: Mapping[int, float] | None = None) -> Bounds:
    """Between how many chip-hours what a plan has left takes, runs that others start from included.

    Args:
      plan: less what is stored.
      chip, chips: what trains it.
      made: of pending groups by their place, steps that their runs are expected to make; their budgets when None.
    """
    low = high = 0.0
    for place, group in enumerate(g for g in plan.groups if g.pending):
        steps = (made or {}).get(place, group.steps)
        least, most = lane_step(group.template, chip, group.flops, _bytes(group))
        low, high = low + steps * least / 3600, high + steps * most / 3600
    if plan.first is not None:
        before = bounds(plan.first, chip, chips)
        low, high = low + before.low, high + before.high
    return Bounds(low, high, chips)


def _bytes(group: Group) -> float:
    """Bytes of a step, on average over the group's runs: they grow with its rows as its FLOPs do."""
    return step_bytes(group.template) * group.flops / step_flops(group.template)


def named(name: str) -> tuple[Chip, int]:
    """The chip and how many there are: "v5e-8" is a slice (`sweeps.batch.accelerators`), "h100" one GPU, "h100-4" four.

    Raises:
      FieldError: there is no such thing in the table.
    """
    family, _, count = name.partition("-")
    chip = CHIPS.get(family)
    if chip is not None and chip.kind == "tpu" and name in ACCELERATORS:
        return chip, ACCELERATORS[name].chips
    if chip is not None and chip.kind == "gpu" and (not count or (count.isdecimal() and 1 <= int(count) <= 8)):
        return chip, int(count or 1)
    slices = [one for one in ACCELERATORS if one.partition("-")[0] in CHIPS]
    gpus = [one for one, chip in CHIPS.items() if chip.kind == "gpu"]
    near = difflib.get_close_matches(name.replace("litepod", "e"), [*slices, *gpus], 1, 0.6)
    known = f"a TPU slice ({slices[0]} … {slices[-1]}) or GPUs ({', '.join(gpus)}; h100-8 for eight)"
    raise FieldError("for", name, f"did you mean {near[0]}?" if near else f"must be {known}")
