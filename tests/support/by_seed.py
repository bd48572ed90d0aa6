"""Quantities by seed, for the tests of what is said of them."""

import pandas as pd

from sweeps.studies.effects import Effect


def effect(*values, above=0.0, **options):
    """An effect of these values, of seeds from 0 on."""
    return Effect("x", pd.Series(values, range(len(values)), dtype=float), above, **options)
