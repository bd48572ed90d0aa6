"""How many lanes a block has: a rule of the program and the kind of device, so that a command has the same bits again.

The width is part of the program that trains a run. So it follows from the rule, never from the load of the moment. It
is written down in the directory when a program is first launched, and what is written there holds for it:

  {"program": "0123456789ab-r48 cpu", "lanes": 1, "by": "rule"}

by "rule"; "asked" (`--width`); "tuned" (`--tune`: measured on this machine); or "memory" (a wider block did not fit).
"""

import itertools
from collections.abc import Mapping, Sequence

import jax

from jaxgen import Experiment, FieldError, training
from jaxgen.kernel import MAX_INTERVALS
from jaxgen.training import capacity
from sweeps.execution.profile import step_flops
from sweeps.storage.workdir import Width

SHORT_STEP, SHORT_LANES = 1.5e6, 8  # on a CPU: below so many FLOPs a step, so many lanes; else one
LANES, BLOCK_BYTES = 1024, {"tpu": 2**26}  # elsewhere: at most so many lanes, and about so much memory for a block:
OTHER_BYTES = 2**30  # on a TPU half of a v5e's VMEM, so that a step stays on the chip (docs/tpu.md); else so much
CHUNK_SECONDS = 0.1
FEW = 4  # blocks' worth of runs up to which a group is small; groups for each device from which there are many
RATE, OVERHEAD = 5e10, 1e-5  # FLOP/s and seconds of a usual step, to choose a first chunk's length by
IN_TURN = "jaxgen.one_by_one, around what no gradient goes through, allows more"


def rule(experiment: Experiment, device: jax.Device) -> int:
    """The lanes of a block by rule, a power of two.

    On a CPU: 8 where a step with all rows that the program can compute has less than 1.5 MFLOP, and calling an
    operation costs as much as it does; else 1, so that a lane stays in a core's cache. Elsewhere: as many as about
    1 GiB holds, on a TPU 64 MiB (`lane_bytes`), at most 1,024.
    """
    if device.platform == "cpu":
        return SHORT_LANES if step_flops(experiment, capacity(experiment)) < SHORT_STEP else 1
    return by_memory(experiment, device.platform)


def by_memory(experiment: Experiment, platform: str) -> int:
    """The rule's lanes of a block on an accelerator of that platform."""
    fitting = int(BLOCK_BYTES.get(platform, OTHER_BYTES) / lane_bytes(experiment))
    return min(LANES, 1 << max(fitting.bit_length() - 1, 0))


def lane_bytes(experiment: Experiment) -> float:
    """About how many bytes of a block a lane takes: 2 × state + 3 × outputs + rows, by their shapes."""
    data, state, outputs = training.shapes(experiment)
    size = lambda tree: sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))  # noqa: E731
    return 2.0 * size(state) + 3.0 * size(outputs) + size(data)


def entry(experiment: Experiment, device: jax.Device) -> str:
    """What a directory calls a program on a kind of device, whatever its width."""
    return f"{experiment.structure_id}-r{capacity(experiment)} {device.device_kind}"


def alone(lapack: str, device: jax.Device) -> bool:
    """Whether a program has one lane: on a CPU, where several that call LAPACK at once may wait for ever."""
    return bool(lapack) and device.platform == "cpu"


def chosen(
    experiment: Experiment,
    device: jax.Device,
    held: Mapping[str, Width],
    asked: int | None = None,
    lapack: str = "",
) -> Width:
    """The lanes of a program's blocks, {"lanes", "by"}: those asked for, else those written down, else the rule's.

    Args:
      experiment: a run of the program.
      device: of the kind that trains it.
      held: what is written down, by `entry`.
      asked: `Options.width`.
      lapack: what it calls of LAPACK for all lanes at once; see `alone`.

    Raises:
      FieldError: more than that one are asked for.
    """
    if alone(lapack, device):
        if asked is not None and asked > 1:
            why = f"must be 1 on a CPU where {lapack} calls LAPACK, which lanes at once may wait for: {IN_TURN}"
            raise FieldError("width", asked, why)
        return {"lanes": 1, "by": "rule"}
    if asked is not None:
        return {"lanes": asked, "by": "asked"}
    return held.get(entry(experiment, device)) or {"lanes": rule(experiment, device), "by": "rule"}


def first_intervals(experiment: Experiment, lanes: int) -> int:
    """Evaluation intervals of a program's first chunk; later ones are made to take about `CHUNK_SECONDS`."""
    interval = experiment.training.evaluate_every * lanes * (step_flops(experiment) / RATE + OVERHEAD)
    return int(min(max(CHUNK_SECONDS / interval, 1), MAX_INTERVALS))


def places(runs: Sequence[int], lanes: Sequence[int], devices: Sequence[jax.Device]) -> list[list[jax.Device]]:
    """The devices that each program is compiled for: all, or where there are many programs one, in turn, for few runs.

    Args:
      runs: of each program.
      lanes: of its blocks.
      devices: that train.
    """
    in_turn, many = itertools.cycle(devices), len(runs) > FEW * len(devices)
    return [[next(in_turn)] if many and count <= FEW * width else [*devices] for count, width in zip(runs, lanes)]
