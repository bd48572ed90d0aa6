"""No classes and no accuracy: a student network learns a teacher's outputs, and R² is what is looked at.

    python scripts/launch_sweep.py --sweep=examples/regression.py --workdir=out/teacher
    python scripts/phase_diagram.py --workdir=out/teacher --x=task.noise --y=optimizer.weight_decay

The metrics of a `Regression` are "r2" and "error". The stop rule takes one by name, with its direction (`stop_below`).
"""

import flax.struct
import jax
import jax.numpy as jnp

import jaxgen as jg
import sweeps


@flax.struct.dataclass
class Teacher(jg.Regression):
    """y = v · relu(W x) + noise on the train rows, with W and v that are the same in every run."""

    noise: float = jg.leaf(0.0, "[0, inf)", "standard deviation of the noise in train labels")
    size: int = jg.static(6, "[1, 1000]", "numbers in each row")
    outputs: int = jg.static(1)

    def rows(self):
        return {"train": 96, "test": 256}

    def examples(self, key):
        fixed = jax.random.key(0, impl="threefry2x32")
        x = jax.random.normal(key, (352, self.size), jnp.float32)
        hidden = jax.nn.relu(x @ jax.random.normal(fixed, (self.size, 4), jnp.float32))
        clean = hidden @ jax.random.normal(jax.random.fold_in(fixed, 1), (4,), jnp.float32)
        error = jax.random.normal(jax.random.fold_in(key, 1), clean.shape, jnp.float32) * self.noise
        return jg.Examples(x, clean + jnp.where(jnp.arange(352) < 96, error, 0))


base = jg.Experiment(
    task=Teacher(),
    model=jg.models.MLP(width=64, depth=1),
    loss=jg.losses.MeanSquaredError(),
    optimizer=jg.optimizers.AdamW(learning_rate=3e-3),
    training=jg.Training(steps=2000, stop_metric="error", stop_below=True, stop_threshold=1e-3, stop_patience=100),
)
axes = sweeps.product(
    sweeps.sweep("task.noise", sweeps.linspace(0, 2, 6)),
    sweeps.sweep("optimizer.weight_decay", [0.01, 0.1, 1.0, 10.0]),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"metric": "r2", "threshold": 0.9})
