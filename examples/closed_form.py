"""Runs without steps: how wide must the network be whose weights are a formula, and how exactly written down?

    python scripts/launch_sweep.py --sweep=examples/closed_form.py --workdir=out/formula
    python scripts/phase_diagram.py --workdir=out/formula --x=model.width --y=model.noise

Gromov (arXiv 2301.02679) solves modular addition with a quadratic network of cosines. `training.steps` is 0: such runs
are evaluated, stored and drawn like any others, and end as "exact".
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

import jaxgen as jg
import sweeps


class Formula(nn.Module):
    """W (W₁ x₁ + W₂ x₂)², W₁[k, a] = cos(2π k a / p + φ), W₂ with ψ, W[c, k] = cos(2π k c / p + φ + ψ); and noise."""

    width: int = jg.static(64, "[1, 100000]", "hidden units")
    noise: float = jg.leaf(0.0, "[0, inf)", "standard deviation of what is added to each weight")
    vocabulary: int | None = None
    outputs: int | None = None

    @nn.compact
    def __call__(self, tokens):
        p, key = self.vocabulary, self.param("key", lambda key: jax.random.uniform(key, (3, self.width)))
        turn = 2 * jnp.pi * jnp.arange(p, dtype=jnp.float32)[:, None] / p
        wave = jnp.ceil(key[0] * (p // 2))[None]
        first, second = 2 * jnp.pi * key[1][None], 2 * jnp.pi * key[2][None]
        tables = [jnp.cos(wave * turn + phase) for phase in (first, second, first + second)]
        spoil = lambda name, w: w + self.noise * self.param(name, nn.initializers.normal(1.0), w.shape)  # noqa: E731
        a, b, c = (spoil(f"noise_{i}", w) for i, w in enumerate(tables))
        return jnp.square(a[tokens[:, 0]] + b[tokens[:, 1]]) @ c.T


base = jg.Experiment(
    task=jg.tasks.ModularAddition(p=23),
    model=Formula(),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.SGD(),
    training=jg.Training(steps=0),
)
axes = sweeps.product(
    sweeps.sweep("model.width", [8, 16, 32, 64, 128, 256]),
    sweeps.sweep("model.noise", sweeps.linspace(0, 2, 9)),
    sweeps.seeds(8),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
