"""Solved, not trained: random features with a ridge, and the peak of the test error where rows and features are equal.

    python scripts/launch_sweep.py --sweep=examples/random_features.py --workdir=out/rf
    python scripts/phase_diagram.py --workdir=out/rf --x=model.width --y=start.ridge

`jg.starts.Solve` finds the read-out by ridge regression on the train rows, with a first layer as the seed draws it, and
with `training.steps=0` nothing else happens. Double descent: Belkin et al. 2019, arXiv 1812.11118.
"""

import flax.struct
import jax
import jax.numpy as jnp

import jaxgen as jg
import sweeps


@flax.struct.dataclass
class Linear(jg.Regression):
    """y = v · x / √size + noise, with one v for all runs."""

    noise: float = jg.leaf(0.3, "[0, inf)", "standard deviation of the noise in labels")
    size: int = jg.static(20, "[1, 1000]", "numbers in each row")
    outputs: int = jg.static(1)

    def rows(self):
        return {"train": 40, "test": 400}

    def examples(self, key):
        teacher = jax.random.normal(jax.random.key(0, impl="threefry2x32"), (self.size,), jnp.float32)
        x = jax.random.normal(key, (440, self.size), jnp.float32)
        noise = jax.random.normal(jax.random.fold_in(key, 1), (440,), jnp.float32)
        return jg.Examples(x, x @ teacher / self.size**0.5 + self.noise * noise)


base = jg.Experiment(
    task=Linear(),
    model=jg.models.MLP(width=40, depth=1),
    loss=jg.losses.MeanSquaredError(),
    optimizer=jg.optimizers.SGD(),
    training=jg.Training(steps=0, stop_metric=None),
    start=jg.starts.Solve(parameters=("Linear_1",)),
)
axes = sweeps.product(
    sweeps.sweep("model.width", [5, 10, 20, 30, 40, 50, 80, 160, 320]),
    sweeps.sweep("start.ridge", [0.0, 1e-4, 1e-2, 1.0]),
    sweeps.seeds(10),
)
recipe = sweeps.Recipe(base, axes, definition={"metric": "error", "below": True, "threshold": 0.5})
