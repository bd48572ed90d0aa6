"""Your own probes: the spectrum of a layer as a vector, and how long a run has been rising, with a memory.

    python scripts/launch_sweep.py --sweep=examples/own_probe.py --workdir=out/probe
    python -c 'import sweeps; print(sweeps.Results("out/probe").curves("spectrum")["spectrum"].shape)'

A probe sees the experiment, the inputs, the network as a function, the parameters and the initial ones, the optimizer's
state, the step, the gradient and the update. It may give vectors and matrices; one with `init` carries a memory.
"""

import flax.struct
import jax.numpy as jnp

import jaxgen as jg
import sweeps


@jg.one_by_one  # lanes call LAPACK in turn: without, a block has one lane on a CPU
def singular_values(matrix):
    """Of a matrix, largest first."""
    return jnp.linalg.svd(matrix, compute_uv=False)


@flax.struct.dataclass
class Spectrum:
    """The singular values of the first layer, largest first: "spectrum", (count,)."""

    count: int = jg.static(4, "[1, 1000]", "how many")

    def measure(self, e):
        return {"spectrum": singular_values(e.params["Linear_0"]["kernel"])[: self.count]}


@flax.struct.dataclass
class Highest:
    """The highest test accuracy so far, "highest", and at which step it was seen, "highest_at"."""

    def init(self, e):
        return {"value": jnp.float32(-1), "step": jnp.int32(0)}

    def measure(self, e, memory):
        now = e.means(lambda outputs, labels, _: {"accuracy": e.experiment.task.correct(outputs, labels)})
        higher = now["test/accuracy"] > memory["value"]
        value = jnp.where(higher, now["test/accuracy"], memory["value"])
        step = jnp.where(higher, e.step, memory["step"])
        return {"highest": value, "highest_at": step}, {"value": value, "step": step}


base = jg.Experiment(
    task=jg.tasks.ModularAddition(p=23),
    model=jg.models.QuadraticMLP(width=48),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=3e-3, weight_decay=1.0),
    training=jg.Training(steps=1000, probes=("loss", "metrics", "weight_norm", "distance", Spectrum(), Highest())),
)
axes = sweeps.product(
    sweeps.sweep("task.train_fraction", sweeps.linspace(0.3, 0.8, 6)),
    sweeps.sweep("optimizer.weight_decay", [0.1, 1.0, 5.0]),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
