"""One training run as a pytree, and the kernel that trains thousands of them side by side."""

from jaxgen import losses, models, optimizers, probes, tasks
from jaxgen.component import FieldError, leaf, static
from jaxgen.experiment import Experiment
from jaxgen.tasks import Examples, Task
from jaxgen.training import Training, train

__version__ = "0.1.0"

__all__ = [
    "Examples",
    "Experiment",
    "FieldError",
    "Task",
    "Training",
    "leaf",
    "losses",
    "models",
    "optimizers",
    "probes",
    "static",
    "tasks",
    "train",
]
