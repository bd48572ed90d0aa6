"""Compiles a plan's programs for a TPU that is not there, and says what each would take and what bounds it.

libtpu (`pip install -e .[tpu]`) compiles for a named topology on any machine. Nothing runs: times are bounds by the
chip's published peaks, no measurement. What was found is kept in `folder`, under the hash of the program's text.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from jax.experimental import topologies

from jaxgen import Experiment, FieldError, training
from jaxgen.errors import first_line
from jaxgen.kernel import Program
from sweeps.execution import hlo, widths
from sweeps.execution.chips import Chip, tpu
from sweeps.execution.plan import Group, Plan
from sweeps.execution.profile import cache_folder, step_flops
from sweeps.storage.files import write_text
from sweeps.storage.workdir import Width

NOT_THERE = {
    "float64": "float64 is emulated on a TPU, and no result was compared: take float32, or train on a CPU or GPU",
    "float16": "a TPU has no float16 unit, and no rounding was compared: take bfloat16, or train on a CPU or GPU",
}


@dataclasses.dataclass(frozen=True)
class Found:
    """What the compiler says of one program.

    Attributes:
      seconds: that compiling took.
      memory: bytes of one block on the chip's main memory.
      flops: of a step of one lane, with all rows that the program can compute, as XLA counts them.
      main, on_chip: bytes that this step reads and writes, in main memory and in memory on the chip.
      padding: share of these bytes that are padding of tiles.
    """

    seconds: float
    memory: int
    flops: float
    main: float
    on_chip: float
    padding: float


@dataclasses.dataclass(frozen=True)
class Checked:
    """One program of a plan, checked for a chip.

    Attributes:
      runs, lanes: of the plan; of a block.
      target: the chip.
      precision: of its matrix products.
      found: None where it does not compile.
      kept: whether it was known from an earlier call.
      notes: what does not compile, does not fit or is not to be relied on, and what to do instead.
    """

    runs: int
    lanes: int
    target: Chip
    precision: str
    found: Found | None
    kept: bool
    notes: tuple[str, ...]

    @property
    def by_products(self) -> float:
        """Least seconds of a lane-step by the peak of the matrix unit."""
        return self.found.flops / self.target.rate("float32", self.precision) if self.found else 0.0

    @property
    def by_memory(self) -> float:
        """Least seconds of a lane-step by the bandwidth of the main memory."""
        return self.found.main / self.target.bandwidth if self.found else 0.0


def folder() -> Path:
    """Where findings are kept; compiled programs are where JAX keeps them (`jax_compilation_cache_dir`)."""
    return cache_folder() / "preflight"


def device_of(topology: str) -> jax.Device:
    """A device to compile for, of a topology such as "v5e:2x2".

    Raises:
      FieldError: the chip is not in the table, libtpu is not installed, or it has no such topology.
    """
    tpu(topology.partition(":")[0])
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # of a machine in Google's cloud
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # nothing is run: others may compile or train beside it
    if not _libtpu():
        raise FieldError("preflight", topology, "needs libtpu: pip install -e .[tpu]")
    try:
        return topologies.get_topology_desc(topology, platform="tpu").devices[0]
    except Exception as error:
        raise FieldError("preflight", topology, f"is no topology, such as v5e:2x2: {first_line(error)}") from error


def check(plan: Plan, topology: str, held: Mapping[str, Width], width: int | None = None) -> Iterator[Checked]:
    """Compiles the programs that a plan has left, several at a time, and gives what is found of each in its order.

    Args:
      plan: less what is stored.
      topology: "v5e:2x2": a chip of the table and a shape.
      held: widths that are written down (`sweeps.execution.widths`).
      width: lanes of every block, if asked for.

    Raises:
      FieldError: see `device_of`.
    """
    device, target = device_of(topology), tpu(topology.partition(":")[0])
    groups = [group for group in plan.groups if group.pending]

    def one(group: Group) -> tuple[int, Found | str, bool]:
        lanes = widths.chosen(group.template, device, held, width, group.lapack)["lanes"]
        try:
            return lanes, *_found(group.template, lanes, device, topology)
        except jax.errors.JaxRuntimeError as error:
            return lanes, first_line(error), False

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for group, (lanes, found, kept) in zip(groups, pool.map(one, groups)):
            t, notes = group.template, []
            if isinstance(found, str):
                notes.append(f"does not compile: {found}")
            elif 2 * found.memory > target.memory:
                notes.append(f"two blocks take more than the {target.memory / 1e9:.0f} GB of the chip: --width")
            types = {t.training.dtype, getattr(t.loss, "dtype", None)}
            notes += [why for dtype, why in NOT_THERE.items() if dtype in types]
            read = found if isinstance(found, Found) else None
            yield Checked(len(group.pending), lanes, target, t.training.matmul_precision, read, kept, tuple(notes))


def _found(template: Experiment, lanes: int, device: jax.Device, topology: str) -> tuple[Found, bool]:
    program = Program(template, lanes, device.platform)
    lowered, options = program.lowered(device), training.compiler_options()
    told = f"{lowered.as_text()} {topology} {_libtpu()} {sorted(options)} {hlo.VERSION}"
    path = folder() / f"{hashlib.sha256(told.encode()).hexdigest()}.json"
    try:
        return Found(**json.loads(path.read_text())), True
    except (OSError, ValueError, TypeError):  # not there, or not what we wrote
        pass
    begun = time.perf_counter()
    compiled = program.compiled(device)
    seconds = time.perf_counter() - begun
    module, slices = hlo.Module(compiled.as_text() or ""), program.rows.passes
    rounds = {training.SLICES: -(-program.capacity // slices.size)} if isinstance(slices, training.Slices) else {}
    bodies = [module.moved(body, rounds) for body in module.loops(training.STEPS)]
    step = max(bodies, key=lambda m: m.bytes, default=hlo.Moved())
    padding = step.padding / step.bytes if step.bytes else 0.0
    flops = step_flops(template, program.capacity, device.platform)
    found = Found(seconds, program.memory(device), flops, step.main / lanes, step.chip / lanes, padding)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(dataclasses.asdict(found)))
    return found, False


def _libtpu() -> str:
    """The version of libtpu; empty where there is none."""
    try:
        return importlib.metadata.version("libtpu")
    except importlib.metadata.PackageNotFoundError:
        return ""
