"""What a program costs on this machine: FLOPs, and time and memory measured, to foretell a sweep or to tune it.

What was measured is remembered in the user's cache (`profile.json`), with the rate of products at that time. Times are
those for which devices were busy (`machine.busy_seconds`), so that other processes on the machine change them little;
where the rate of products is another one now, they are scaled by it, and measured again where it has changed much.
"""

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
from sweeps.execution import compilations
from sweeps.execution.machine import Speed, busy_seconds
from sweeps.storage.files import write_text

CHUNK_SECONDS = 0.1
WIDER, MAX_WIDTH = 8, {"cpu": 64}  # elsewhere memory is the limit
BETTER = 0.9  # a wider block must take less than this share of the time per lane
COMPILED = "for-all"  # what one compilation serves: what was remembered before is measured anew
CHANGED = 1.25  # how much faster or slower the machine may be than when a program was measured


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured for one signature on one kind of device.

    Attributes:
      width: lanes per block.
      milliseconds: of a device, busy, per lane-step.
      compile_seconds: busy, to trace the program and compile it for all devices that it was measured on.
      load_seconds: busy, to do so once more: with compiled programs kept on disk, as the next process does it.
      bytes: on the device while one block runs.
      rate: FLOP/s of the device's products then (`machine.Speed`).
    """

    width: int
    milliseconds: float
    compile_seconds: float
    load_seconds: float
    bytes: int
    rate: float

    def at(self, rate: float) -> "Measured":
        """What it would have been while the device's products had another rate."""
        slower = self.rate / rate
        times = {name: slower * getattr(self, name) for name in ("milliseconds", "compile_seconds", "load_seconds")}
        return dataclasses.replace(self, **times, rate=rate)


def measured(experiment: Experiment, devices: Sequence[jax.Device], width: int, now: Speed) -> Measured:
    """A program's cost at the machine's present speed. It decides no result, only what is foretold.

    Remembered, unless the machine's rate has changed by more than `CHANGED`: then steps are timed again, and what
    compiling took the first time is kept.
    """
    name = _key(experiment, devices, width)
    found = remembered(name, width)
    if found is not None and 1 / CHANGED <= found.rate / now.rate <= CHANGED:
        return found.at(now.rate)
    fresh = dataclasses.replace(_measure_fitting(experiment, devices, width), rate=now.rate)
    if found is not None:
        fresh = dataclasses.replace(fresh, compile_seconds=found.at(now.rate).compile_seconds)
    remember({name: fresh})
    return fresh


def remembered(name: str, width: int) -> Measured | None:
    """What is known of a program by its `_key`; None where nothing is, or it is not what we wrote."""
    try:
        found = Measured(**_load(_path())[name])
        return found if found.width == width and found.milliseconds > 0 and found.rate > 0 else None
    except (KeyError, TypeError):
        return None


def remember(found: dict[str, Measured]) -> None:
    """Writes it into the user's cache, if that can be written to."""
    with contextlib.suppress(OSError):
        _path().parent.mkdir(parents=True, exist_ok=True)
        known = _load(_path()) | {name: dataclasses.asdict(one) for name, one in found.items()}
        write_text(_path(), json.dumps(known, indent=1, sort_keys=True))


def _path() -> Path:
    return cache_folder() / "profile.json"


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


def step_flops(experiment: Experiment, rows: int | None = None, platform: str | None = None) -> float:
    """Floating-point operations of one step of one run, as XLA counts them, with so many rows, or those it computes.

    Minibatches have their own number of rows. `platform` is whose form of the step is counted, this machine's if None:
    on a TPU look-ups are products.
    """
    own = rows is None or experiment.training.batch_size is not None
    return _counted(experiment, computed(experiment) if own else rows, platform)[0]


def step_bytes(experiment: Experiment) -> float:
    """Bytes that the operations of one step of one run read and write, as XLA counts them before it fuses any."""
    return _counted(experiment, computed(experiment))[1]


@functools.lru_cache(4096)
def _counted(experiment: Experiment, rows: int, platform: str | None = None) -> tuple[float, float]:
    """FLOPs and bytes of a step."""
    data, state, _ = training.shapes(experiment)
    data = dataclasses.replace(data, passes=None, capacity=rows)
    with training.numerics(experiment):
        traced = jax.jit(training.step).trace(training.numbers(experiment), data, state)
        analysis = traced.lower(lowering_platforms=(platform,) if platform else None).cost_analysis() or {}
    return analysis.get("flops") or 1.0, analysis.get("bytes accessed") or 0.0


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
    program, compiled = _compiled(experiment, devices, width)
    _, loaded = _compiled(experiment, devices, width)
    every = experiment.training.evaluate_every
    endless = experiment.override({"training.steps": (2**31 - 1) // every * every, "training.stop_patience": 0})
    given = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), program.given)
    blocks, runs = [Block(program, device) for device in devices], ((str(i), endless, given) for i in itertools.count())

    def milliseconds(intervals: int) -> float:
        before, clocks = sum(b.computed_steps for b in blocks), _clocks()
        for block in blocks:
            block.refill(runs)  # all lanes at first, later those that diverged
            block.launch(intervals)
        for block in blocks:
            block.harvest()
        return 1e3 * _busy_since(clocks, devices) / (sum(b.computed_steps for b in blocks) - before)

    milliseconds(1)  # warm
    intervals, per_step = 1, milliseconds(1)
    while per_step * every * width * intervals < CHUNK_SECONDS * 500 and intervals < MAX_INTERVALS:
        intervals *= 2
        per_step = milliseconds(intervals)
    per_step = min([per_step] + [milliseconds(intervals) for _ in range(2)])
    size = program.memory(devices[0])
    return Measured(width, round(per_step, 6), round(compiled, 3), round(min(loaded, compiled), 3), size, 0.0)


def _compiled(experiment: Experiment, devices: Sequence[jax.Device], width: int) -> tuple[Program, float]:
    """A program for all devices, and the busy seconds that it took."""
    clocks, program = _clocks(), Program(experiment, width)
    with ThreadPoolExecutor() as pool:
        list(pool.map(program.compiled, devices))
    return program, time.process_time() - clocks[1]


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _busy_since(clocks: tuple[float, float], devices: Sequence[jax.Device]) -> float:
    wall, cpu = (now - then for now, then in zip(_clocks(), clocks))
    return busy_seconds(wall, cpu, devices)


def _key(experiment: Experiment, devices: Sequence[jax.Device], width: int) -> str:
    where = f"{devices[0].device_kind} {','.join(str(device.id) for device in devices)}"  # compiled for each of them
    program = f"{experiment.structure_id}-r{computed(experiment)}-w{width} {where}"
    return f"{program} jaxgen {jaxgen.__version__}-{COMPILED} jaxlib {jaxlib.__version__}"


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
    compilations.serve_all_devices()
    compilations.keep_whole()
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if config.jax_num_cpu_devices < 1 and not chosen:
        with contextlib.suppress(RuntimeError):  # JAX is running already: its devices are what there is
            config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
