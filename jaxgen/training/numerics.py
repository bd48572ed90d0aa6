"""In which types, and with which options of the compiler, a run is computed."""

import contextlib
import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment

REQUIRED_OPTIONS: dict[str, bool | str] = {
    "xla_allow_excess_precision": False
}  # or XLA computes bfloat16 losses in float32
# jaxlib 0.10.2's library of fused products and sums is wrong on CPUs: of a product with a constant, and of sums over
# products of 32,769 rows (https://github.com/jax-ml/jax/issues/39103); nothing is slower without (docs/performance.md).
WELCOME_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@functools.cache
def compiler_options() -> dict[str, bool | str]:
    """XLA's options for every program of ours: those that results need, as far as this jaxlib knows them."""
    options = REQUIRED_OPTIONS | WELCOME_OPTIONS
    try:
        jax.jit(lambda: jnp.int32(0), compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return dict(REQUIRED_OPTIONS)
    return options


def needs_x64(experiment: "Experiment") -> bool:
    """Whether any part of the run is in float64."""
    return "float64" in (experiment.training.dtype, getattr(experiment.loss, "dtype", None))


def numerics(experiment: "Experiment") -> contextlib.ExitStack:
    """Context in which a run is traced and called: 64-bit types if it needs them, its matrix precision."""
    stack = contextlib.ExitStack()
    stack.enter_context(jax.enable_x64(needs_x64(experiment)))
    stack.enter_context(jax.default_matmul_precision(experiment.training.matmul_precision))
    return stack


def numbers(experiment: "Experiment") -> "Experiment":
    """The experiment with its leaves as numpy scalars in the dtypes of the program: int32 and the training dtype."""
    real = np.dtype(experiment.training.dtype)
    return jax.tree.map(lambda v: np.int32(v) if isinstance(v, (int, np.integer)) else real.type(v), experiment)
