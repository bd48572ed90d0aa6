"""One training run as a pytree, and the kernel that trains thousands of them side by side."""

from jaxgen import clamps, filters, losses, models, optimizers, positions, probes, schedules, starts, tasks
from jaxgen.components import leaf, part, static
from jaxgen.errors import FieldError
from jaxgen.experiment import Experiment
from jaxgen.lapack import one_by_one
from jaxgen.tasks import Examples, Regression, Task
from jaxgen.training import Training, train

__version__ = "0.1.0"

__all__ = [
    "Examples",
    "Experiment",
    "FieldError",
    "Regression",
    "Task",
    "Training",
    "clamps",
    "filters",
    "leaf",
    "losses",
    "models",
    "one_by_one",
    "optimizers",
    "part",
    "positions",
    "probes",
    "schedules",
    "starts",
    "static",
    "tasks",
    "train",
]
