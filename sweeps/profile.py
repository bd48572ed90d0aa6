"""How wide a block should be, and how long a chunk: measured once per signature and machine, then remembered.

The measurements are kept in the workdir, so that a continued or replayed sweep uses the same programs, and in the
user's cache, so that the next sweep of the same signature need not measure again.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jaxlib

import jaxgen
from jaxgen import training
from jaxgen.kernel import MAX_INTERVALS, Block, Program, capacity
from sweeps.files import write_text

CHUNK_SECONDS = 0.1
WIDER, MAX_WIDTH = 8, {"cpu": 64}  # elsewhere memory is the limit
BETTER = 0.9  # a wider block must take less than this share of the time per lane
LONG_STEP = 2e7  # FLOPs: on a CPU no wider block was ever faster for a lane-step with so many
USUAL_RATE = 5e10  # FLOP/s of a CPU core in such steps, to choose a chunk's length by


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured for one signature on one kind of device.

    Attributes:
      width: lanes per block.
      intervals: evaluation intervals per chunk.
      milliseconds: per lane-step, with `capacity` rows computed in each.
      capacity: see `jaxgen.kernel.capacity`.
      compile_seconds: of one program.
      bytes: on the device while one block runs.
    """

    width: int
    intervals: int
    milliseconds: float
    capacity: int
    compile_seconds: float
    bytes: int


class Profile:
    """The measurements of a workdir, completed from the user's cache and by measuring."""

    def __init__(self, path: Path | None = None):
        self._paths = [p for p in (path, cache_folder() / "profile.json") if p is not None]

    def lookup(self, experiment: Any, device: Any) -> Measured | None:
        """What is known of the experiment's signature on this kind of device."""
        for path in self._paths:
            with contextlib.suppress(KeyError, TypeError):  # not what we wrote: as if nothing were known
                found = Measured(**_load(path)[_key(experiment, device)])
                if found.width >= 1 and found.intervals >= 1 and found.milliseconds > 0:
                    return found
        return None

    def choose(self, experiment: Any, devices: Sequence[Any]) -> tuple[int, int]:
        """Lanes per block, and evaluation intervals per chunk: measured, but for long steps on a CPU, which take 1."""
        if not is_long(experiment, devices[0]):
            found = self.measure(experiment, devices)
            return found.width, found.intervals
        interval = experiment.training.evaluate_every * step_flops(experiment) / USUAL_RATE
        return 1, int(min(max(CHUNK_SECONDS / interval, 1), MAX_INTERVALS))

    def measure(self, experiment: Any, devices: Sequence[Any]) -> Measured:
        """What is known; if nothing is, measured on scratch copies of the experiment. Kept in either case."""
        found = self.lookup(experiment, devices[0]) or measure(experiment, devices)
        self._keep(experiment, devices[0], found)
        return found

    def narrow(self, experiment: Any, device: Any, width: int) -> None:
        """Remembers that a wider block did not fit."""
        if found := self.lookup(experiment, device):
            size = found.bytes * width // found.width
            self._keep(experiment, device, dataclasses.replace(found, width=width, bytes=size))

    def _keep(self, experiment: Any, device: Any, found: Measured) -> None:
        for path in self._paths:
            known, new = _load(path), {_key(experiment, device): dataclasses.asdict(found)}
            if known | new != known:
                ignored: Any = OSError if path == cache_folder() / "profile.json" else ()
                with contextlib.suppress(ignored):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_text(path, json.dumps(known | new, indent=1, sort_keys=True))


def measure(experiment: Any, devices: Sequence[Any]) -> Measured:
    """Times blocks of growing width, on all devices at once, until a wider one is no faster per lane or memory ends."""
    device = devices[0]
    width = 1 if device.platform == "cpu" else 64
    limit = (device.memory_stats() or {}).get("bytes_limit", math.inf) if device.platform != "cpu" else math.inf
    best = _measure_fitting(experiment, devices, width)
    if is_long(experiment, device) or best.width < width:
        return best
    while width * WIDER <= MAX_WIDTH.get(device.platform, 65536) and 2 * WIDER * best.bytes < 0.8 * limit:
        width *= WIDER
        found = _measure_fitting(experiment, devices, width)
        if found.milliseconds > BETTER * best.milliseconds or found.width < width:
            break
        best = found
    return best


def out_of_memory(error: Exception) -> bool:
    """Whether an error of JAX says that the device's memory does not suffice."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def is_long(experiment: Any, device: Any) -> bool:
    """Whether a step is so long that on this device no block wider than one lane is worth a measurement."""
    return device.platform == "cpu" and step_flops(experiment) > LONG_STEP


@functools.lru_cache(1024)
def step_flops(experiment: Any) -> float:
    """Floating-point operations of one step of one run, as XLA counts them."""
    data, state, _ = training.shapes(experiment)
    step = lambda e, d, s: training.step(e, d, capacity(experiment), s)  # noqa: E731
    with training.numerics(experiment):
        analysis = jax.jit(step).lower(training.numbers(experiment), data, state).cost_analysis() or {}
    return analysis.get("flops") or 1.0


def cache_folder() -> Path:
    """Where this user keeps what can be made again: `$XDG_CACHE_HOME/jaxgen` or `~/.cache/jaxgen`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"


def _measure_fitting(experiment: Any, devices: Sequence[Any], width: int) -> Measured:
    """Measured at this width, or at the largest half, quarter, … of it that fits into memory."""
    while True:
        try:
            return _measure_width(experiment, devices, width)
        except jax.errors.JaxRuntimeError as error:
            if width == 1 or not out_of_memory(error):
                raise
        width //= 2


def _measure_width(experiment: Any, devices: Sequence[Any], width: int) -> Measured:
    start = time.perf_counter()
    program = Program(experiment, width)
    with ThreadPoolExecutor() as pool:
        list(pool.map(program.compiled, devices))
    compiled = time.perf_counter() - start
    every = experiment.training.evaluate_every
    endless = experiment.override({"training.steps": (2**31 - 1) // every * every, "training.stop_patience": 0})
    blocks, runs = [Block(program, device) for device in devices], ((str(i), endless) for i in itertools.count())

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
    return Measured(width, intervals, round(per_step, 6), program.capacity, round(compiled, 2), size)


def _key(experiment: Any, device: Any) -> str:
    return f"{experiment.structure_id} {device.device_kind} jaxgen {jaxgen.__version__} jaxlib {jaxlib.__version__}"


def _load(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
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
