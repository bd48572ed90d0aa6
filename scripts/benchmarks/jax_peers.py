"""The same trainings in plain JAX, and in our own kernel."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen import models, training
from jaxgen.kernel import Block, Program

CHECK_STEPS = 50


def write_check(experiment: Any, path: str) -> None:
    """Weights, rows and the losses of the first steps of one run, for a peer to agree with."""
    values, rows = training.numbers(experiment), training.Rows.of(experiment.task)
    with training.numerics(experiment):
        data = training.load(values, rows)
        state, count = training.init(values, data), int(rows.counts[0])
        leaves = jax.tree_util.tree_leaves_with_path(state.params)
        name = lambda path: "param/" + jax.tree_util.keystr(path, simple=True, separator=".")  # noqa: E731
        weights = {name(path): np.asarray(w) for path, w in leaves}

        def step(state, _):
            loss = training.evaluate(values, data, count, state)["train/loss"]
            return training.step(values, data, count, state), loss

        _, losses = jax.jit(lambda s: jax.lax.scan(step, s, length=CHECK_STEPS))(state)
    tokens, labels = np.asarray(data.inputs[:count]), np.asarray(data.labels[:count])
    np.savez(path, tokens=tokens, labels=labels, losses=np.asarray(losses), **weights)


def plain(experiment: Any, check: Any) -> Callable[[int], np.ndarray]:
    """`jit` of a `scan` over steps, one configuration after another: dense one-hot inputs, `optax.adamw`."""
    task, o = experiment.task, experiment.optimizer
    network: Any = models.bind(experiment.model, task)
    tokens, labels = jnp.asarray(check["tokens"]), jnp.asarray(check["labels"])
    dense = not isinstance(experiment.model, (models.EmbeddingMLP, models.Transformer))
    x = jnp.concatenate([jax.nn.one_hot(tokens[:, i], task.p) for i in range(2)], 1) if dense else tokens
    optimizer = optax.adamw(o.learning_rate, o.b1, o.b2, o.eps, weight_decay=o.weight_decay)

    def loss(params):
        return jnp.mean(experiment.loss(network.apply({"params": params}, x), labels))

    def step(carry, _):
        params, state = carry
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), value

    run = jax.jit(lambda carry, steps: jax.lax.scan(step, carry, length=steps), static_argnums=1)
    params: dict = {}
    for name in check.files:
        if name.startswith("param/"):
            *path, last = name.removeprefix("param/").split(".")
            place = params
            for part in path:
                place = place.setdefault(part, {})
            place[last] = jnp.asarray(check[name])
    carry = [(params, optimizer.init(params))]

    def work(steps: int) -> np.ndarray:
        carry[0], losses = run(carry[0], steps)
        return np.asarray(losses)

    return work


class Blocks:
    """Blocks of one program on some devices, each always busy.

    Args:
      experiment: what lanes train; seeds count up.
      width: lanes of each block.
      intervals: evaluation intervals of a chunk.
      devices: one block each; a device may stand several times.
    """

    def __init__(self, experiment: Any, width: int, intervals: int, devices: list):
        self.program, self.intervals = Program(experiment, width), intervals
        self.blocks = [Block(self.program, device) for device in devices]
        runs = ((str(seed), experiment.override({"seed": seed})) for seed in itertools.count())
        for block in self.blocks:
            block.refill(runs)
            block.launch(intervals)

    def work(self) -> int:
        """Reads each block's chunk and starts its next one; returns the lane-steps made."""
        done = 0
        for block in self.blocks:
            before = block.useful_steps
            block.harvest()
            block.launch(self.intervals)
            done += block.useful_steps - before
        return done


def matrix_rate() -> Callable[[], float]:
    """One device per core multiplies float32 matrices of 1024²; a function that returns GFLOP/s of all together."""
    import time

    size, repeats = 1024, 8
    product = jax.jit(lambda a, b: a @ b)
    pairs = [jax.device_put((np.ones((size, size), np.float32),) * 2, d) for d in jax.local_devices()]
    for pair in pairs:
        product(*pair).block_until_ready()

    def measure() -> float:
        start = time.perf_counter()
        found = [product(*pair) for _ in range(repeats) for pair in pairs]
        jax.block_until_ready(found)
        return 2e-9 * size**3 * len(found) / (time.perf_counter() - start)

    return measure
