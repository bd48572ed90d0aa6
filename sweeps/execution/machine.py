"""How fast this machine is at the moment, and how much of it other processes leave: one short product, timed twice."""

import dataclasses
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp

SIZE, PRODUCTS = 512, 8  # of the matrices; in a call
SECONDS = 0.15


@dataclasses.dataclass(frozen=True)
class Speed:
    """What a device gets done.

    Attributes:
      rate: FLOP per busy second of one device in float32 products of 512² matrices while all devices multiply.
      free: share of the devices' time that this process is given, in (0, 1]; 1 where nothing else runs.
    """

    rate: float
    free: float


def busy_seconds(wall: float, cpu: float, devices: Sequence[jax.Device]) -> float:
    """Seconds for which devices worked, added up.

    On a CPU those of the process's threads, which stay the same while others have the processor; elsewhere, where the
    host knows nothing of them, those that went by, of each device.
    """
    whole = wall * len(devices)
    return min(cpu, whole) if devices[0].platform == "cpu" else whole


def speed(devices: Sequence[jax.Device]) -> Speed:
    """The `Speed` of these devices now, all at once, in about 0.3 s."""
    ones = jnp.full((SIZE, SIZE), 1 / SIZE, jnp.float32)

    @jax.jit
    def multiply(x):
        return jax.lax.fori_loop(0, PRODUCTS, lambda _, y: jnp.dot(x, y, precision="highest"), x)

    operands = [jax.device_put(ones, device) for device in devices]
    jax.block_until_ready([multiply(x) for x in operands])  # compiled
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while (spent := time.perf_counter() - wall) < SECONDS:
        jax.block_until_ready([multiply(x) for x in operands])
        done += 2 * SIZE**3 * PRODUCTS * len(devices)
    busy = busy_seconds(spent, time.process_time() - cpu, devices)
    return Speed(done / busy, min(busy / (spent * len(devices)), 1.0))
