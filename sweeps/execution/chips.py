"""Accelerator chips by their published numbers: the one table of them.

Peaks, bandwidths and memory of https://cloud.google.com/tpu/docs/v4, …/v5e, …/v5p and …/v6e, read on 2026-11-27.
"""

import dataclasses

from jaxgen import FieldError

PRODUCTS = {"default": 1, "high": 3, "highest": 6}
"""How many bfloat16 products of the matrix unit make one of float32, by `training.matmul_precision`."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
      flops: peak of bfloat16 products, FLOP/s.
      bandwidth: of its main memory, bytes/s.
      memory: bytes of main memory.
    """

    flops: float
    bandwidth: float
    memory: float

    def rate(self, precision: str) -> float:
        """Peak of float32 products at a precision of `PRODUCTS`, FLOP/s."""
        return self.flops / PRODUCTS[precision]


CHIPS = {
    "v4": Chip(275e12, 1.2e12, 32e9),
    "v5e": Chip(197e12, 8.19e11, 16e9),
    "v5p": Chip(459e12, 2.765e12, 95e9),
    "v6e": Chip(918e12, 1.64e12, 32e9),
}


def chip(name: str) -> Chip:
    """The row of the table.

    Raises:
      FieldError: there is none.
    """
    if name not in CHIPS:
        raise FieldError("chip", name, f"must be one of {', '.join(CHIPS)}")
    return CHIPS[name]
