"""Exact sizes of train splits."""

import math
from decimal import Decimal
from fractions import Fraction


def train_test(rows: int, train_fraction: float) -> dict[str, int]:
    """⌊train_fraction · rows⌋ rows to train on (at least one), the rest to test.

    The product is exact in the decimal number that was written: 0.29 of 100 rows are 29, where binary floating point
    says 28.999999999999996.

    >>> train_test(100, 0.29)
    {'train': 29, 'test': 71}
    """
    train = max(1, math.floor(Fraction(Decimal(repr(float(train_fraction)))) * rows))
    return {"train": train, "test": rows - train}
