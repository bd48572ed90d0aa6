"""The only place that knows of lanes: a block of W runs, trained side by side for a chunk of steps.

One `Program` is compiled per signature, train capacity and width; how many steps a chunk has is an argument. A `Block`
is W lanes on one device: it is refilled with runs, launched for a chunk, and harvested; lanes that ended give their
slots to the next runs.
"""

from jaxgen.kernel.block import Assignment, Block, Result
from jaxgen.kernel.mappings import crowded
from jaxgen.kernel.program import MAX_INTERVALS, Lane, Output, Program, Status, after_evaluation, checksum

__all__ = [
    "MAX_INTERVALS",
    "Assignment",
    "Block",
    "Lane",
    "Output",
    "Program",
    "Result",
    "Status",
    "after_evaluation",
    "checksum",
    "crowded",
]
