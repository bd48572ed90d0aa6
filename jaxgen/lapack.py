"""Linear algebra in blocks of lanes."""

from collections.abc import Callable
from typing import TypeVar

import jax

F = TypeVar("F", bound=Callable)


def one_by_one(function: F) -> F:
    """A function of arrays that a block of lanes calls for one lane after another, instead of for all of them at once.

    For whatever calls LAPACK: `jnp.linalg.svd`, `eigh`, `solve`, `qr`, `cholesky`, … jaxlib gives the parts of a batch
    to the threads that wait for them, so that blocks on several CPU devices may wait for each other for ever.
    """
    return jax.custom_batching.sequential_vmap(function)
