"""Labels at every position, and rows of different length: running sums modulo p with a recurrent network.

    python scripts/launch_sweep.py --sweep=examples/sequence.py --workdir=out/sequence
    python scripts/phase_diagram.py --workdir=out/sequence --x=optimizer.weight_decay --y=task.rows_trained

`Examples.weights` says how much each label counts; padding has weight 0. "test/accuracy" is the share of positions,
"test/exact_match" the share of rows with every position right.
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

import jaxgen as jg
import sweeps


@flax.struct.dataclass
class RunningSum(jg.Task):
    """At each position the sum modulo p of the digits so far; rows have 1 to `length` digits."""

    p: int = jg.static(5, "[2, 100]", "modulus")
    length: int = jg.static(6, "[1, 100]", "longest row")
    rows_trained: int = jg.static(64, "[1, 100000]", "rows trained on")
    outputs: int = jg.static(5)
    vocabulary: int = jg.static(5)

    def rows(self):
        return {"train": self.rows_trained, "test": 256}

    def examples(self, key):
        count = self.rows_trained + 256
        digits = jax.random.randint(key, (count, self.length), 0, self.p, jnp.int32)
        length = jax.random.randint(jax.random.fold_in(key, 1), (count, 1), 1, self.length + 1, jnp.int32)
        weights = (jnp.arange(self.length, dtype=jnp.int32)[None] < length).astype(jnp.float32)
        return jg.Examples(digits, jnp.cumsum(digits, axis=1) % self.p, weights=weights)


class Recurrent(nn.Module):
    """Tokens (rows, length) → outputs (rows, length, outputs)."""

    width: int = 32
    outputs: int | None = None
    vocabulary: int | None = None

    @nn.compact
    def __call__(self, tokens):
        x = nn.RNN(nn.SimpleCell(self.width))(nn.Embed(self.vocabulary, self.width)(tokens))
        return nn.Dense(self.outputs)(x)


base = jg.Experiment(RunningSum(), Recurrent(), jg.losses.CrossEntropy(), jg.optimizers.AdamW(learning_rate=3e-3))
axes = sweeps.product(
    sweeps.sweep("optimizer.weight_decay", [0.01, 0.1, 1.0]),
    sweeps.sweep("task.rows_trained", [64, 128, 256]),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
