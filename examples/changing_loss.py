"""A loss that knows the step: do soft labels in the beginning help, and for how long?

    python scripts/launch_sweep.py --sweep=examples/changing_loss.py --workdir=out/changing
    python scripts/phase_diagram.py --workdir=out/changing --x=loss.until --y=task.train_fraction

A loss whose `__call__` takes `step` is given how many steps were made, in training and in evaluations.
"""

import flax.struct
import jax
import jax.numpy as jnp
import optax

import jaxgen as jg
import sweeps


@flax.struct.dataclass
class SoftAtFirst:
    """Cross-entropy with smoothed labels up to the step `until`, and with the labels as they are from there on."""

    smoothing: float = jg.leaf(0.5, "[0, 1)", "weight of the uniform distribution")
    until: int = jg.leaf(200, "[0, 1000000000]", "steps with smoothed labels")

    def __call__(self, outputs, labels, step):
        classes = outputs.shape[-1]
        weight = jnp.where(step < self.until, self.smoothing, 0.0).astype(outputs.dtype)
        target = (1 - weight) * jax.nn.one_hot(labels, classes, dtype=outputs.dtype) + weight / classes
        return optax.losses.softmax_cross_entropy(outputs, target)


base = jg.Experiment(
    task=jg.tasks.ModularAddition(p=31),
    model=jg.models.QuadraticMLP(width=64),
    loss=SoftAtFirst(),
    optimizer=jg.optimizers.AdamW(learning_rate=3e-3, weight_decay=1.0),
    training=jg.Training(steps=1000),
)
axes = sweeps.product(
    sweeps.sweep("loss.until", [0, 50, 100, 200, 400, 800]),
    sweeps.sweep("task.train_fraction", sweeps.linspace(0.3, 0.8, 6)),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
