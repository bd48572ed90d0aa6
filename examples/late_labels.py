"""What a step trains on: wrong labels until some step. How late is too late for the true ones?

    python scripts/launch_sweep.py --sweep=examples/late_labels.py --workdir=out/late
    python scripts/phase_diagram.py --workdir=out/late --x=task.until --y=optimizer.weight_decay

A task with `practice(key, step, examples)` says what a step trains on in place of the rows of its table, which
evaluations see as it is. After critical learning periods (Achille et al. 2019, arXiv 1711.08856). `until` is a number
of the run: all its values have one program.
"""

import flax.struct
import jax.numpy as jnp

import jaxgen as jg
import sweeps


@flax.struct.dataclass
class LateLabels(jg.tasks.ModularAddition):
    """(a + b) mod p, answered with (a + 2 b) mod p while fewer than `until` steps are made."""

    until: int = jg.leaf(0, "[0, 2147483647]", "steps with wrong labels")

    def practice(self, key, step, examples):
        wrong = (examples.labels + examples.inputs[:, 1]) % self.p
        return examples.replace(labels=jnp.where(step < self.until, wrong, examples.labels))


base = jg.Experiment(
    task=LateLabels(p=23, train_fraction=0.7),
    model=jg.models.QuadraticMLP(width=48),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=3e-3, weight_decay=1.0),
    training=jg.Training(steps=3000),
)
axes = sweeps.product(
    sweeps.sweep("task.until", [0, 100, 200, 400, 800, 1600]),
    sweeps.sweep("optimizer.weight_decay", [0.1, 1.0, 3.0]),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
