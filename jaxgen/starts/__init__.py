"""Where a run starts, other than from its seed: from the weights of another run, or from a solution.

A start of your own has `weights`, as `Solve` has; a transform of your own `apply`, as `Prune` has.
"""

from jaxgen.starts.continued import AfterTraining, FromRun, given, has_parent, is_continuing, parent
from jaxgen.starts.fit import Fit
from jaxgen.starts.pruning import SNIP, GraSP, SynFlow
from jaxgen.starts.solve import Solve
from jaxgen.starts.transforms import MatchNorm, Prune, PruneUnits, Rewind, Transplant, masked

__all__ = [
    "SNIP",
    "AfterTraining",
    "Fit",
    "FromRun",
    "GraSP",
    "MatchNorm",
    "Prune",
    "PruneUnits",
    "Rewind",
    "Solve",
    "SynFlow",
    "Transplant",
    "given",
    "has_parent",
    "is_continuing",
    "masked",
    "parent",
]
