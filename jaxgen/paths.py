"""Names of the tensors in a network's parameters, and patterns of them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import jax

from jaxgen.kinds import Tree


def name_of(path: jax.tree_util.KeyPath) -> str:
    """A leaf's path as `jax.tree_util` gives it, in words: "Linear_0.kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def by_name(tree: Tree) -> dict[str, Any]:
    """The leaves of a tree by name."""
    return {name_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def in_group(path: str, patterns: Iterable[str]) -> bool:
    """Whether a parameter's path ("Linear_0.kernel"), or the first names of it, match a pattern with * and ?."""
    names = path.split(".")
    starts = [".".join(names[: i + 1]) for i in range(len(names))]
    return any(fnmatchcase(start, pattern) for pattern in patterns for start in starts)
