"""Fresh rows at every step: how many steps does sparse parity take, and at which width, if no row comes twice?

    python scripts/launch_sweep.py --sweep=examples/stream.py --workdir=out/stream
    python scripts/phase_diagram.py --workdir=out/stream --x=optimizer.learning_rate --y=model.init_scale

A task with `draw` is a stream: each step trains on `training.batch_size` rows that it draws from the run's seed and the
step. Its `rows` and `examples` are the finite tables on which it is evaluated.
"""

import flax.struct
import jax
import jax.numpy as jnp

import jaxgen as jg
import sweeps


@flax.struct.dataclass
class OnlineParity(jg.Task):
    """The parity of the first `relevant` of `bits` random bits, ±1 (Barak et al. 2022, arXiv 2207.08799)."""

    bits: int = jg.static(12, "[1, 1000]", "length of each row")
    relevant: int = jg.static(3, "[1, 1000]", "bits that decide")
    outputs: int = jg.static(2)

    def rows(self):
        return {"train": 128, "test": 512}

    def examples(self, key):
        return self.draw(key, 0, 640)

    def draw(self, key, step, rows):
        bits = jax.random.bernoulli(key, shape=(rows, self.bits))
        labels = jnp.sum(bits[:, : self.relevant], axis=1, dtype=jnp.int32) % 2
        return jg.Examples(inputs=1 - 2 * bits.astype(jnp.float32), labels=labels)


base = jg.Experiment(
    task=OnlineParity(),
    model=jg.models.MLP(width=64, depth=1, use_bias=True),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.SGD(learning_rate=0.1),
    training=jg.Training(steps=2000, evaluate_every=50, batch_size=32),
)
axes = sweeps.product(
    sweeps.sweep("optimizer.learning_rate", sweeps.logspace(0.03, 1, 7)),
    sweeps.sweep("model.init_scale", sweeps.logspace(0.3, 3, 5)),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.95})
