"""A network that keeps statistics beside its parameters: does batch norm change when modular addition is learned?

    python scripts/launch_sweep.py --sweep=examples/batch_norm.py --workdir=out/norm
    python scripts/phase_diagram.py --workdir=out/norm --x=task.train_fraction --y=model.momentum

Flax collections beside the parameters are part of a run's state: trained, stopped and continued with it. A network
that takes `train` is told; one that is trained on full batches takes `mask` too, for it must leave out the rows that
only fill the batch up.
"""

import flax.linen as nn

import jaxgen as jg
import sweeps


class Normalised(nn.Module):
    """Embeddings of two tokens → Dense → BatchNorm → relu → Dense."""

    width: int = 64
    momentum: float = jg.leaf(0.9, "[0, 1]", "of the running statistics")
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, tokens, train, mask):
        x = nn.Embed(self.vocabulary, self.width)(tokens).reshape(len(tokens), -1)
        x = nn.Dense(self.width)(x)
        kept = None if mask is None else mask[:, None]
        x = nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(x, mask=kept)
        return nn.Dense(self.outputs)(nn.relu(x))


base = jg.Experiment(
    task=jg.tasks.ModularAddition(p=31),
    model=Normalised(),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=3e-3, weight_decay=1.0),
    training=jg.Training(steps=2000),
)
axes = sweeps.product(
    sweeps.sweep("task.train_fraction", sweeps.linspace(0.3, 0.9, 7)),
    sweeps.sweep("model.momentum", [0.5, 0.9, 0.99]),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
