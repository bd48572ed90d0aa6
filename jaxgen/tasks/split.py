"""Exact sizes of train splits."""

import math
from decimal import Decimal
from fractions import Fraction

from jaxgen.errors import FieldError


def train_test(rows: int, train_fraction: float) -> dict[str, int]:
    """⌊train_fraction · rows⌋ rows to train on (at least one), the rest to test.

    The product is exact in the decimal number that was written: 0.29 of 100 rows are 29, where binary floating point
    says 28.999999999999996.

    >>> train_test(100, 0.29)
    {'train': 29, 'test': 71}
    """
    train = max(1, exact_share(rows, train_fraction))
    return {"train": train, "test": rows - train}


def exact_share(rows: int, share: float) -> int:
    """⌊share · rows⌋, exact in the decimal number that was written.

    >>> exact_share(100, 0.29)
    29
    """
    return math.floor(Fraction(Decimal(repr(float(share)))) * rows)


def check_ratio(ratio: float, largest: float) -> None:
    """FieldError where a table has no room for so many rows as a `ratio` asks for, but only for `largest`."""
    if ratio > largest:
        raise FieldError("ratio", ratio, f"must be at most largest = {largest:g}")
