"""The whole suite runs under JAX's strict modes, on two CPU devices, with caches of its own."""

import os
import tempfile

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="jaxgen-test-")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

import jaxgen as jg

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def toy() -> jg.Experiment:
    """The smallest experiment that does everything: 100 steps of (a + b) mod 7."""
    return jg.Experiment(
        task=jg.tasks.ModularAddition(p=7, train_fraction=0.6),
        model=jg.models.QuadraticMLP(width=12),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1),
        training=jg.Training(steps=100, evaluate_every=10),
    )
