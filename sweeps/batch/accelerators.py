"""What batches run on. Every fact about accelerators that the files need is in this one table.

Of TPUs, as read on 2026-11-27: topologies, hosts, machine types and node labels are those of
`src/xpk/core/system_characteristics.py` in https://github.com/AI-Hypercomputer/xpk and of
https://cloud.google.com/tpu/docs/v5e (machines of 1 and 8 chips); runtime versions those of
https://cloud.google.com/tpu/docs/runtimes. The number in a name is Google's: chips of v5e and v6e, TensorCores of v4
and v5p, which have two per chip.
"""

import dataclasses
import difflib
import math

from jaxgen import FieldError

SMALL = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}
LARGE = {8: "2x2x1", 16: "2x2x2", 32: "2x2x4", 64: "2x4x4", 128: "4x4x4", 256: "4x4x8", 512: "4x8x8"}
GPUS = 1, 2, 4, 8


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """What one piece of work is given: a slice of TPU chips, the GPUs of a machine, or its processors.

    Args:
      kind: "tpu", "gpu" or "cpu".
      chips: in all; 0 of a machine without.
      hosts: machines that they are spread over, evenly.
      topology: chips along each axis of the slice, as Kubernetes' label has it.
      label: what the nodes of GKE are labelled with.
      machine: their machine type.
      cloud_type: what Cloud TPU calls it.
      runtime: the software version that Cloud TPU's machines start with.
    """

    kind: str
    chips: int
    hosts: int = 1
    topology: str = ""
    label: str = ""
    machine: str = ""
    cloud_type: str = ""
    runtime: str = ""

    @property
    def chips_per_host(self) -> int:
        """Chips that one machine has."""
        return self.chips // self.hosts


def _slice(family: str, number: int, topology: str) -> Accelerator:
    label, machine, cloud, runtime = {
        "v4": ("tpu-v4-podslice", "ct4p-hightpu", "v4", "tpu-ubuntu2204-base"),
        "v5e": ("tpu-v5-lite-podslice", "ct5lp-hightpu", "v5litepod", "v2-alpha-tpuv5-lite"),
        "v5p": ("tpu-v5p-slice", "ct5p-hightpu", "v5p", "v2-alpha-tpuv5"),
        "v6e": ("tpu-v6e-slice", "ct6e-standard", "v6e", "v2-alpha-tpuv6e"),
    }[family]
    chips = math.prod(map(int, topology.split("x")))
    per_host = chips if topology in ("1x1", "2x2", "2x4") else 4  # up to 8 chips of v5e and v6e are one machine's
    machine = f"{machine}-{per_host}t"
    return Accelerator("tpu", chips, chips // per_host, topology, label, machine, f"{cloud}-{number}", runtime)


ACCELERATORS = {
    **{f"{family}-{n}": _slice(family, n, shape) for family in ("v5e", "v6e") for n, shape in SMALL.items()},
    **{f"{family}-{n}": _slice(family, n, shape) for family in ("v4", "v5p") for n, shape in LARGE.items()},
    **{f"gpu-{count}": Accelerator("gpu", count) for count in GPUS},
    "cpu": Accelerator("cpu", 0),
}
"""All of them, by what `--accelerator` calls them."""


def accelerator(name: str) -> Accelerator:
    """The row of the table.

    Raises:
      FieldError: there is none.
    """
    if name not in ACCELERATORS:
        near = difflib.get_close_matches(name.replace("litepod", "e"), ACCELERATORS, 1, 0.5)
        known = ", ".join(ACCELERATORS)
        raise FieldError("accelerator", name, f"did you mean {near[0]}?" if near else f"must be one of {known}")
    return ACCELERATORS[name]
