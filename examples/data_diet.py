"""Scores of rows that another run finds: which rows are worth training on?

    python scripts/launch_sweep.py --sweep=examples/data_diet.py --workdir=out/diet
    python scripts/phase_diagram.py --workdir=out/diet --x=task.share --y=task.task.share --facet=task.by

A probe with `keeps(memory)` keeps arrays for runs that start from its own: here, of a short first run, how wrong each
row is (EL2N: Paul et al. 2021, arXiv 2107.07075). `jg.tasks.Subset` trains on those with the smallest, or on any as a
control; `Rewind` as the first transform leaves nothing else of the parent.
"""

import flax.struct
import jax
import jax.numpy as jnp

import jaxgen as jg
import sweeps

NOISE = [0.0, 0.1, 0.2, 0.3]


@flax.struct.dataclass
class EL2N:
    """‖softmax(f(x)) - onehot(y)‖ of every row of the table, at the latest evaluation; its mean is "el2n"."""

    def init(self, e):
        return jnp.zeros(len(e.labels), jnp.float32)

    def measure(self, e, memory):
        wrong = jax.nn.softmax(e.outputs) - jax.nn.one_hot(e.labels, e.outputs.shape[-1])
        scores = jnp.linalg.norm(wrong, axis=-1)
        return {"el2n": jnp.mean(scores)}, scores.astype(jnp.float32)

    def keeps(self, memory):
        return {"el2n": memory}


noisy = jg.tasks.CorruptedLabels(task=jg.tasks.ModularAddition(p=23, train_fraction=0.8))
first = jg.Experiment(
    task=noisy,
    model=jg.models.QuadraticMLP(width=48),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=3e-3, weight_decay=1.0),
    training=jg.Training(steps=300, probes=("loss", "metrics", EL2N())),
)
start = jg.starts.FromRun(parent=first, transforms=(jg.starts.Rewind(),))
task = jg.tasks.Subset(task=noisy, by="el2n", largest=False)
base = first.override({"task": task, "training": jg.Training(steps=3000), "start": start})
axes = sweeps.product(
    sweeps.sweep("task.by", ["el2n", None]),
    sweeps.sweep("task.share", [0.4, 0.6, 0.8, 1.0]),
    sweeps.tie(sweeps.sweep("task.task.share", NOISE), sweeps.sweep("start.parent.task.share", NOISE)),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
