"""The trainings in our own kernel, as one wide vmap, and in plain JAX."""

import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.cases import takes_inputs
from jaxgen import models, optimizers, training
from jaxgen.kernel import Block, Program
from jaxgen.paths import by_name

CHECK_STEPS = 50
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4  # that one wide vmap may take


def write_check(experiment: Any, path: str) -> None:
    """Weights, rows and the losses of the first steps of one run, for a peer to agree with."""
    values, rows = training.numbers(experiment), training.Rows.of(experiment)
    with training.numerics(experiment):
        count = int(rows.counts[0])
        data = training.load(values, rows.exactly(count))
        state = training.init(values, data)

        def step(state, _):
            loss = training.evaluate(values, data, state)[0]["train/loss"]
            return training.step(values, data, state), loss

        _, losses = jax.jit(lambda s: jax.lax.scan(step, s, length=CHECK_STEPS))(state)
    tokens, labels = np.asarray(data.inputs[:count]), np.asarray(data.labels[:count])
    np.savez(path, tokens=tokens, labels=labels, losses=np.asarray(losses), **weights(state.params))


def weights(params: Any) -> dict[str, np.ndarray]:
    """Parameters as arrays by "param/" and their dotted path."""
    return {f"param/{name}": np.asarray(w) for name, w in by_name(params).items()}


def plain(experiment: Any, check: Any) -> Callable[[int], np.ndarray]:
    """`jit` of a `scan` over steps, one configuration after another: dense one-hot inputs, `optax.adamw`."""
    task, o = experiment.task, experiment.optimizer
    network: Any = models.bind(experiment.model, task)
    tokens, labels = jnp.asarray(check["tokens"]), jnp.asarray(check["labels"])
    one_hot = lambda: jnp.concatenate([jax.nn.one_hot(tokens[:, i], task.p) for i in range(2)], 1)  # noqa: E731
    x = tokens if takes_inputs(experiment.model) else one_hot()
    if isinstance(o, optimizers.SGD):
        optimizer = optax.sgd(o.learning_rate)
    else:
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


def compile_seconds(experiment: Any, devices: list) -> float:
    """Seconds to trace a program of one lane and to compile it for all devices at once, with nothing cached."""
    program, start = Program(experiment, 1), time.perf_counter()
    with ThreadPoolExecutor() as pool:
        list(pool.map(program.compiled, devices))
    return time.perf_counter() - start


class Blocks:
    """Two blocks on each device, always busy while a round lasts, as in the engine.

    Args:
      experiment: what lanes train; seeds count up.
      width: lanes of each block.
      intervals: evaluation intervals of a chunk.
      devices: where.
    """

    def __init__(self, experiment: Any, width: int, intervals: int, devices: list):
        self.program, self.intervals = Program(experiment, width), intervals
        self.blocks = [Block(self.program, device) for device in devices * 2]
        runs = ((str(seed), experiment.override({"seed": seed})) for seed in itertools.count())
        for block in self.blocks:
            block.refill(runs)

    def round(self, seconds: float) -> float:
        """Lane-steps per second of one round; nothing is in flight before or after it."""
        before, begin = sum(b.useful_steps for b in self.blocks), time.perf_counter()
        for block in self.blocks:
            block.launch(self.intervals)
        while time.perf_counter() - begin < seconds:
            for block in self.blocks:
                block.harvest()
                block.launch(self.intervals)
        for block in self.blocks:
            block.harvest()
        return (sum(b.useful_steps for b in self.blocks) - before) / (time.perf_counter() - begin)


class Wide:
    """One vmap over many lanes of the same train step, on one device that has all cores.

    Args:
      experiment: what lanes train; seeds count up.
      lanes: how many; fewer, in powers of two, where they would take more than a quarter of the machine's memory.
    """

    def __init__(self, experiment: Any, lanes: int):
        self.experiment = experiment
        one, two = self._compiled(1)[1], self._compiled(2)[1]
        while lanes > 1 and one + (lanes - 1) * (two - one) > MEMORY:
            lanes //= 2
        self.lanes, start = lanes, time.perf_counter()
        (self.call, self.arguments, self.states), _ = self._compiled(lanes, filled=True)
        self.compile_seconds = time.perf_counter() - start

    def round(self, seconds: float) -> float:
        """Lane-steps per second of one round."""
        done, steps, begin = 0, 1, time.perf_counter()
        while (spent := time.perf_counter() - begin) < seconds:
            if done:
                steps = max(1, round(seconds / 10 * done / self.lanes / spent))
            self.states = jax.block_until_ready(self.call(*self.arguments, self.states, np.int32(steps)))
            done += self.lanes * steps
        return done / spent

    def _compiled(self, lanes: int, filled: bool = False) -> tuple[Any, int]:
        runs = [training.numbers(self.experiment.override({"seed": seed})) for seed in range(lanes)]
        stacked = jax.tree.map(lambda *v: np.stack(v), *runs)
        rows = training.Rows.of(self.experiment)
        rows = rows.exactly(int(rows.counts[0]))

        def many(experiments, data, states, steps):
            return jax.lax.fori_loop(0, steps, lambda _, s: jax.vmap(training.step)(experiments, data, s), states)

        def begin(experiment):
            data = training.load(experiment, rows)
            return data, training.init(experiment, data)

        with training.numerics(self.experiment):
            data, states = (jax.jit if filled else _shapes)(jax.vmap(begin))(stacked)
            lowered = jax.jit(many, donate_argnums=2).lower(stacked, data, states, np.int32(0))
            call = lowered.compile(compiler_options=training.compiler_options())
        size = call.memory_analysis()
        return (call, (stacked, data), states), size.temp_size_in_bytes + size.argument_size_in_bytes


def _shapes(function: Callable) -> Callable:
    return lambda *arguments: jax.eval_shape(function, *arguments)


def matrix_rate() -> Callable[[float], float]:
    """One device per core multiplies float32 matrices of 1024²; a function that returns GFLOP/s of all together."""
    size, repeats = 1024, 4
    product = jax.jit(lambda a, b: a @ b)
    pairs = [jax.device_put((np.ones((size, size), np.float32),) * 2, d) for d in jax.local_devices()]
    for pair in pairs:
        product(*pair).block_until_ready()

    def measure(seconds: float) -> float:
        done, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < seconds:
            jax.block_until_ready([product(*pair) for _ in range(repeats) for pair in pairs])
            done += repeats * len(pairs)
        return 2e-9 * size**3 * done / spent

    return measure
