"""Many runs: what to train, what was found, and what it looks like."""

from sweeps import interruptible  # noqa: F401 (first: where this is a program, Ctrl-C from here on is one line)

# isort: split
from sweeps import report, statistics
from sweeps.axes.scales import Range
from sweeps.axes.sweep import Sweep, chain, fixed, linspace, logspace, product, seeds, sweep, tie
from sweeps.diagrams import compare, labels
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.labels import Label, Labelling, Observed, register
from sweeps.diagrams.overlays import Overlay
from sweeps.diagrams.phases import Definition, Phase
from sweeps.diagrams.plane import Derived
from sweeps.diagrams.results import Results
from sweeps.diagrams.values import ValueMap
from sweeps.execution.options import Options
from sweeps.execution.ray import Ray
from sweeps.statistics import boundary, fits, moments
from sweeps.statistics.boundary import Boundary
from sweeps.studies import laws, refine
from sweeps.studies.chance import chance
from sweeps.studies.claims import Arm, Claim, Evidence, judge, log_delay, log_ratio
from sweeps.studies.curves import Curves
from sweeps.studies.effects import Effect, Verdict, near, ordered, share_of_seeds, told, trend
from sweeps.studies.recipe import Drawing, Recipe
from sweeps.studies.run import run
from sweeps.studies.study import Scale, Study

__all__ = [
    "Arm",
    "Boundary",
    "Claim",
    "Curves",
    "Definition",
    "Derived",
    "Diagram",
    "Drawing",
    "Effect",
    "Evidence",
    "Label",
    "Labelling",
    "Observed",
    "Options",
    "Overlay",
    "Phase",
    "Range",
    "Ray",
    "Recipe",
    "Results",
    "Scale",
    "Study",
    "Sweep",
    "ValueMap",
    "Verdict",
    "boundary",
    "chain",
    "chance",
    "compare",
    "fits",
    "fixed",
    "judge",
    "labels",
    "laws",
    "linspace",
    "log_delay",
    "log_ratio",
    "logspace",
    "moments",
    "near",
    "ordered",
    "product",
    "refine",
    "register",
    "report",
    "run",
    "seeds",
    "share_of_seeds",
    "statistics",
    "sweep",
    "tie",
    "told",
    "trend",
]
