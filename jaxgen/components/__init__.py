"""What every part of an experiment has in common: declared fields, checks, a name, and a plain-data form.

A component is a frozen dataclass (`flax.struct.dataclass`) or a flax linen module. Each field is a *leaf*, a number
that may differ from lane to lane of one compiled program; or *structure*, which decides the program; or a *part*, a
component again.
"""

from jaxgen.components.build import (
    by_head,
    changed,
    checked,
    from_dict,
    is_component,
    parsed,
    parts,
    rebuild,
    to_dict,
)
from jaxgen.components.declare import fields, is_leaf, leaf, part, part_kind, static
from jaxgen.components.names import KINDS, look_again, type_name, unknown
from jaxgen.components.tree import assemble, dissolve, flat, leaf_paths, paths, runs, structure, structure_data, walk
from jaxgen.components.values import check_allowed, coerced, plain

__all__ = [
    "KINDS",
    "assemble",
    "by_head",
    "changed",
    "check_allowed",
    "checked",
    "coerced",
    "dissolve",
    "fields",
    "flat",
    "from_dict",
    "is_component",
    "is_leaf",
    "leaf",
    "leaf_paths",
    "look_again",
    "parsed",
    "part",
    "part_kind",
    "parts",
    "paths",
    "plain",
    "rebuild",
    "runs",
    "static",
    "structure",
    "structure_data",
    "to_dict",
    "type_name",
    "unknown",
    "walk",
]
