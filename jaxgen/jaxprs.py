"""What is inside a traced function."""

from collections.abc import Iterator
from typing import Any

import jax


def inside(equation: Any) -> Iterator[Any]:
    """The jaxprs that an equation calls: bodies of loops, branches, functions under `jax.jit`."""
    for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns")):
        if hasattr(inner, "eqns"):
            yield getattr(inner, "jaxpr", inner)
