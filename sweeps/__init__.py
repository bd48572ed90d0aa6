"""Many runs: what to train, what was found, and what it looks like."""

from sweeps.diagram import Diagram
from sweeps.engine import Options, run
from sweeps.phases import Definition, Phase
from sweeps.recipes.recipe import Recipe
from sweeps.results import Results
from sweeps.spec import Sweep, chain, fixed, linspace, logspace, product, seeds, sweep, zip

__all__ = [
    "Definition",
    "Diagram",
    "Options",
    "Phase",
    "Recipe",
    "Results",
    "Sweep",
    "chain",
    "fixed",
    "linspace",
    "logspace",
    "product",
    "run",
    "seeds",
    "sweep",
    "zip",
]
