"""Your own task, network and loss in one file: which is larger, with flipped labels?

python scripts/launch_sweep.py --sweep=examples/own_task.py --workdir=out/own
python scripts/phase_diagram.py --workdir=out/own --x=task.noise --y=loss.smoothing
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

import jaxgen as jg
import sweeps


@flax.struct.dataclass
class Larger(jg.Task):
    """Which of two random vectors has the larger sum? `noise` is the share of train labels that are flipped."""

    noise: float = jg.leaf(0.0, "[0, 1]", "share of train labels flipped")  # a number: swept without compiling again
    size: int = jg.static(8, "[1, 1000]", "numbers in each vector")  # structure: each value is a program
    outputs: int = jg.static(2)

    def rows(self):
        return {"train": 256, "test": 512}

    def examples(self, key):
        pair = jax.random.normal(key, (768, 2, self.size))
        labels = jnp.argmax(pair.sum(axis=2), axis=1)
        flip = jax.random.uniform(jax.random.fold_in(key, 1), (768,)) < self.noise * (jnp.arange(768) < 256)
        return jg.Examples(inputs=pair.reshape(768, -1), labels=jnp.where(flip, 1 - labels, labels))


class Net(nn.Module):
    """A flax module; fields named `outputs` and `vocabulary` are filled in from the task."""

    width: int = 64
    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.relu(nn.Dense(self.width)(x)))


@flax.struct.dataclass
class Smoothed:
    """Cross-entropy with smoothed labels: one loss per row."""

    smoothing: float = jg.leaf(0.0, "[0, 1)", "weight of the uniform distribution")

    def __call__(self, outputs, labels):
        target = (1 - self.smoothing) * jax.nn.one_hot(labels, 2) + self.smoothing / 2
        return optax.losses.softmax_cross_entropy(outputs, target)


base = jg.Experiment(Larger(), Net(), Smoothed(), jg.optimizers.AdamW(learning_rate=3e-3), jg.Training(steps=1000))
axes = sweeps.product(
    sweeps.sweep("task.noise", sweeps.linspace(0, 0.4, 9)),
    sweeps.sweep("loss.smoothing", sweeps.linspace(0, 0.8, 9)),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.8})
