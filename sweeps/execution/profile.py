"""What a step costs on this machine: its FLOPs, and its time and memory measured, to foretell a sweep or to tune it."""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

import jaxgen
from jaxgen import Experiment, training
from jaxgen.kernel import MAX_INTERVALS, Block, Program
from jaxgen.training import computed
from sweeps.storage.files import write_text

CHUNK_SECONDS = 0.1
WIDER, MAX_WIDTH = 8, {"cpu": 64}  # elsewhere memory is the limit
BETTER = 0.9  # a wider block must take less than this share of the time per lane


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured for one signature on one kind of device.

    Attributes:
      width: lanes per block.
      milliseconds: per lane-step.
      compile_seconds: of one program.
      bytes: on the device while one block runs.
    """

    width: int
    milliseconds: float
    compile_seconds: float
    bytes: int


def measured(experiment: Experiment, devices: Sequence[jax.Device], width: int) -> Measured:
    """`measure_width`, remembered in the user's cache. What is in it decides no result, only what is foretold."""
    path, name = cache_folder() / "profile.json", _key(experiment, devices[0], width)
    with contextlib.suppress(KeyError, TypeError):  # not what we wrote: as if nothing were known
        found = Measured(**_load(path)[name])
        if found.width == width and found.milliseconds > 0:
            return found
    found = _measure_fitting(experiment, devices, width)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(_load(path) | {name: dataclasses.asdict(found)}, indent=1, sort_keys=True))
    return found


def tuned(experiment: Experiment, devices: Sequence[jax.Device]) -> int:
    """The fastest width on these devices: timed on all at once, growing until it is no faster or memory ends."""
    device = devices[0]
    width = 1 if device.platform == "cpu" else 64
    limit = device_bytes(device)
    best = _measure_fitting(experiment, devices, width)
    while width * WIDER <= MAX_WIDTH.get(device.platform, 65536) and 2 * WIDER * best.bytes < 0.8 * limit:
        width *= WIDER
        found = _measure_fitting(experiment, devices, width)
        if found.milliseconds > BETTER * best.milliseconds or found.width < width:
            break
        best = found
    return best.width


def device_bytes(device: jax.Device) -> int:
    """The memory that JAX may use on a device; on a CPU, that of the machine."""
    told = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    return told or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def out_of_memory(error: Exception) -> bool:
    """Whether an error of JAX says that the device's memory does not suffice."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def step_flops(experiment: Experiment, rows: int | None = None) -> float:
    """Floating-point operations of one step of one run, as XLA counts them, with so many rows, or those it computes.

    Minibatches have their own number of rows.
    """
    own = rows is None or experiment.training.batch_size is not None
    return _flops(experiment, computed(experiment) if own else rows)


@functools.lru_cache(1024)
def _flops(experiment: Experiment, rows: int) -> float:
    data, state, _ = training.shapes(experiment)
    data = dataclasses.replace(data, passes=None, capacity=rows)
    with training.numerics(experiment):
        analysis = jax.jit(training.step).lower(training.numbers(experiment), data, state).cost_analysis() or {}
    return analysis.get("flops") or 1.0


def cache_folder() -> Path:
    """Where this user keeps what can be made again: `$XDG_CACHE_HOME/jaxgen` or `~/.cache/jaxgen`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"


def _measure_fitting(experiment: Experiment, devices: Sequence[jax.Device], width: int) -> Measured:
    """Measured at this width, or at the largest half, quarter, … of it that fits into memory."""
    while True:
        try:
            return _measure_width(experiment, devices, width)
        except jax.errors.JaxRuntimeError as error:
            if width == 1 or not out_of_memory(error):
                raise
        width //= 2


def _measure_width(experiment: Experiment, devices: Sequence[jax.Device], width: int) -> Measured:
    start = time.perf_counter()
    program = Program(experiment, width)
    with ThreadPoolExecutor() as pool:
        list(pool.map(program.compiled, devices))
    compiled = time.perf_counter() - start
    every = experiment.training.evaluate_every
    endless = experiment.override({"training.steps": (2**31 - 1) // every * every, "training.stop_patience": 0})
    given = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), program.given)
    blocks, runs = [Block(program, device) for device in devices], ((str(i), endless, given) for i in itertools.count())

    def milliseconds(intervals: int) -> float:
        before, start = sum(b.computed_steps for b in blocks), time.perf_counter()
        for block in blocks:
            block.refill(runs)  # all lanes at first, later those that diverged
            block.launch(intervals)
        for block in blocks:
            block.harvest()
        seconds = time.perf_counter() - start
        return 1e3 * seconds * len(devices) / (sum(b.computed_steps for b in blocks) - before)

    milliseconds(1)  # warm
    intervals, per_step = 1, milliseconds(1)
    while per_step * every * width * intervals < CHUNK_SECONDS * 500 and intervals < MAX_INTERVALS:
        intervals *= 2
        per_step = milliseconds(intervals)
    per_step = min([per_step] + [milliseconds(intervals) for _ in range(2)])
    size = program.memory(devices[0])
    return Measured(width, round(per_step, 6), round(compiled, 2), size)


def _key(experiment: Experiment, device: jax.Device, width: int) -> str:
    program = f"{experiment.structure_id}-r{computed(experiment)}-w{width} {device.device_kind}"
    return f"{program} jaxgen {jaxgen.__version__} jaxlib {jaxlib.__version__}"


def _load(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def set_up_jax() -> None:
    """One XLA device per CPU core, and compiled programs kept on disk; leaves alone what the user has set."""
    config: Any = jax.config
    if not config.jax_compilation_cache_dir:
        config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if config.jax_num_cpu_devices < 1 and not chosen:
        with contextlib.suppress(RuntimeError):  # JAX is running already: its devices are what there is
            config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
