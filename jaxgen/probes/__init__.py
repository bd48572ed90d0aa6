"""What is measured on device: functions of one run's state at an evaluation, looked up by name."""

from jaxgen.probes.basic import Evaluation, accuracy, loss, weight_norm

PROBES = {"loss": loss, "accuracy": accuracy, "weight_norm": weight_norm}

__all__ = ["PROBES", "Evaluation", "accuracy", "loss", "weight_norm"]
