"""What is measured on device: components whose `measure` gives numbers by name, of one run at an evaluation.

  def measure(self, e: Evaluation) -> dict[str, Array]                 numbers, vectors or matrices by name
  def init(self, e) -> memory; def measure(self, e, memory)            for one that remembers: gives (numbers, memory)

`training.probes` takes them, or their names in lower case ("weight_norm").
"""

from jaxgen.probes.basic import Distance, LogitRms, Loss, Metrics, TensorNorms, WeightNorm
from jaxgen.probes.evaluation import Evaluation
from jaxgen.probes.stability import Alignment, Collapse, Zeros

__all__ = [
    "Alignment",
    "Collapse",
    "Distance",
    "Evaluation",
    "LogitRms",
    "Loss",
    "Metrics",
    "TensorNorms",
    "WeightNorm",
    "Zeros",
]
