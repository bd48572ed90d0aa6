"""Many runs: what to train, what was found, and what it looks like."""

from sweeps.claims import Claim, Effect, Evidence, Verdict, judge
from sweeps.diagram import Diagram
from sweeps.engine import Options, run
from sweeps.phases import Definition, Phase
from sweeps.recipes.recipe import Drawing, Recipe, Scale
from sweeps.results import Results
from sweeps.spec import Sweep, chain, fixed, linspace, logspace, product, seeds, sweep, zip

__all__ = [
    "Claim",
    "Definition",
    "Diagram",
    "Drawing",
    "Effect",
    "Evidence",
    "Options",
    "Phase",
    "Recipe",
    "Results",
    "Scale",
    "Sweep",
    "Verdict",
    "chain",
    "fixed",
    "judge",
    "linspace",
    "logspace",
    "product",
    "run",
    "seeds",
    "sweep",
    "zip",
]
