"""What accelerators can do at most, by what is published of them. Every such number is in this one table.

Read on 2026-11-27. TPUs: https://docs.cloud.google.com/tpu/docs/v4, …/v5e, …/v5p-training and …/v6e (peak of bfloat16
products, capacity and bandwidth of HBM, each per chip). GPUs, of NVIDIA's data sheets as quoted in
https://glennklockwood.com/garden/processors/H100 and …/A100 (dense products, without sparsity; vector rates of float32
and float64): H100 SXM5, H200 (an H100 with other memory: 141 GB and 4.8 TB/s by
https://acecloud.ai/blog/nvidia-b200-vs-h200-h100-a100) and A100 SXM4 of 80 GB.

Prices are not in it: no dated list price could be read at its source. `--price_per_hour` gives the one that you pay.
"""

import dataclasses

from jaxgen import FieldError


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of one chip.

    Args:
      kind: "tpu" or "gpu".
      products: FLOP/s of matrix products by precision: "bfloat16", "tensorfloat32", "float32", "float64", as far as it
        has them.
      bandwidth: of its memory, bytes/s.
      memory: bytes.
    """

    kind: str
    products: dict[str, float]
    bandwidth: float
    memory: float

    def rate(self, dtype: str, precision: str) -> float:
        """FLOP/s of products of a run at most.

        A TPU multiplies bfloat16 numbers: float32 products take 6 passes at the matrix precision "highest", 3 at
        "high", 1 at "default" (https://docs.jax.dev/en/latest/jax.lax.html, Precision). A GPU takes float32 units at
        "highest", else those for TensorFloat32. What it has no unit for takes those of the next wider type.

        Args:
          dtype: that the run trains in.
          precision: `training.matmul_precision`.

        Raises:
          FieldError: the chip has no such numbers.
        """
        if self.kind == "tpu":
            if dtype == "float64":
                raise FieldError("for", "tpu", "a TPU has no float64 products: train in float32, or name a GPU")
            return self.products["bfloat16"] / (PASSES.get(precision, 6) if dtype == "float32" else 1)
        if dtype == "float32":
            return self.products["float32" if PASSES.get(precision, 6) == 6 else "tensorfloat32"]
        return self.products[dtype]


PASSES = {"highest": 6, "float32": 6, "high": 3, "tensorfloat32": 3, "default": 1, "bfloat16": 1}
HOPPER = {"bfloat16": 989.4e12, "tensorfloat32": 494.7e12, "float32": 66.9e12, "float64": 33.5e12}
AMPERE = {"bfloat16": 312e12, "tensorfloat32": 156e12, "float32": 19.5e12, "float64": 9.7e12}
CHIPS = {
    "v4": Chip("tpu", {"bfloat16": 275e12}, 1200e9, 32 * 2**30),
    "v5e": Chip("tpu", {"bfloat16": 197e12}, 819e9, 16e9),
    "v5p": Chip("tpu", {"bfloat16": 459e12}, 2765e9, 95e9),
    "v6e": Chip("tpu", {"bfloat16": 918e12}, 1638e9, 32e9),
    "a100": Chip("gpu", AMPERE, 2.039e12, 80e9),
    "h100": Chip("gpu", HOPPER, 3.35e12, 80e9),
    "h200": Chip("gpu", HOPPER, 4.8e12, 141e9),
}


BOUNDS = {1: "1,1,1", 4: "2,2,1", 8: "2,4,1"}
"""Chips of one machine that a process may have, and how they lie along the axes of the slice that they are for it."""

PORT = 8476
"""Of the TPU's library; processes on one machine count from there."""


def tpu(name: str) -> Chip:
    """The row of a TPU.

    Raises:
      FieldError: there is none of that name.
    """
    known = {name: chip for name, chip in CHIPS.items() if chip.kind == "tpu"}
    if name not in known:
        raise FieldError("chip", name, f"must be one of {', '.join(known)}")
    return known[name]
