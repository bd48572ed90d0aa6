"""What is measured on device: components whose `measure` gives numbers by name, of one run at an evaluation.

  def measure(self, e: Evaluation) -> dict[str, Array]                 numbers, vectors or matrices by name
  def init(self, e) -> memory; def measure(self, e, memory)            for one that remembers: gives (numbers, memory)
  def keeps(self, memory) -> dict[str, Array]                          what runs that start from this one are given, of
                                                                       its memory: a number for each row, for instance

`training.probes` takes them, or their names in lower case ("weight_norm"); `Every(probe, steps)` measures one seldom.
"""

from jaxgen.probes.basic import Distance, LogitRms, Loss, Metrics, TensorNorms, WeightNorm
from jaxgen.probes.evaluation import Evaluation
from jaxgen.probes.every import Every
from jaxgen.probes.features import Features
from jaxgen.probes.fourier import ParticipationRatio
from jaxgen.probes.linear import LinearFit
from jaxgen.probes.parallelograms import Parallelograms
from jaxgen.probes.residual import LinearRead, LogitLens, PositionFit
from jaxgen.probes.stability import Alignment, Collapse, Zeros
from jaxgen.probes.step_by_step import StepByStep
from jaxgen.probes.tangent import PopulationError, TangentKernel

__all__ = [
    "Alignment",
    "Collapse",
    "Distance",
    "Evaluation",
    "Every",
    "Features",
    "LinearFit",
    "LinearRead",
    "LogitLens",
    "LogitRms",
    "Loss",
    "Metrics",
    "Parallelograms",
    "ParticipationRatio",
    "PopulationError",
    "PositionFit",
    "StepByStep",
    "TangentKernel",
    "TensorNorms",
    "WeightNorm",
    "Zeros",
]
