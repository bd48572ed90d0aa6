"""What is learned: each task is a table of examples cut into splits."""

from jaxgen.tasks.clusters import XorClusters
from jaxgen.tasks.modular import (
    Modular,
    ModularAddition,
    ModularDivision,
    ModularMultiplication,
    ModularPolynomial,
    ModularSubtraction,
)
from jaxgen.tasks.parity import SparseParity
from jaxgen.tasks.split import train_test
from jaxgen.tasks.task import Examples, Task
from jaxgen.tasks.toy import ToyAddition

__all__ = [
    "Examples",
    "Modular",
    "ModularAddition",
    "ModularDivision",
    "ModularMultiplication",
    "ModularPolynomial",
    "ModularSubtraction",
    "SparseParity",
    "Task",
    "ToyAddition",
    "XorClusters",
    "train_test",
]
