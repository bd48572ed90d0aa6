"""What is measured on device: functions of one run's state at an evaluation, looked up by name."""

from jaxgen.probes.basic import accuracy, logit_scale, loss, tensor_norms, weight_norm
from jaxgen.probes.evaluation import Evaluation
from jaxgen.probes.stability import alignment, collapse, zeros

PROBES = {
    "loss": loss,
    "accuracy": accuracy,
    "weight_norm": weight_norm,
    "tensor_norms": tensor_norms,
    "logit_scale": logit_scale,
    "collapse": collapse,
    "zeros": zeros,
    "alignment": alignment,
}

__all__ = [
    "PROBES",
    "Evaluation",
    "accuracy",
    "alignment",
    "collapse",
    "logit_scale",
    "loss",
    "tensor_norms",
    "weight_norm",
    "zeros",
]
