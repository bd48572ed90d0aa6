"""Trains a plan on the local devices: blocks are launched, harvested and refilled until every run is stored."""

import collections
import contextlib
import dataclasses
import functools
import gc
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from jaxgen import Experiment
from jaxgen.kernel import MAX_INTERVALS, Block, Program, crowded
from jaxgen.kinds import Given
from jaxgen.training import capacity
from sweeps import interruptible
from sweeps.execution import stages, widths
from sweeps.execution.options import Options
from sweeps.execution.plan import Group, Plan
from sweeps.execution.profile import out_of_memory, tuned
from sweeps.execution.progress import Progress
from sweeps.storage import checkpoint, store, weights
from sweeps.storage.errors import TryAgain
from sweeps.storage.launches import Launch
from sweeps.storage.objects import Place
from sweeps.storage.specification import environment
from sweeps.storage.workdir import Workdir

BLOCKS_PER_DEVICE = 2  # one is read and refilled while the other runs
COMPILED_AHEAD = 2  # groups for each device; small ones train faster than the next one compiles
FULL = 0.95  # share of a block's lanes that must run for a chunk to go on while runs wait
TOLD_SECONDS = 10.0  # between what a launch says of how far it is
KEPT = 32  # programs that a process keeps for its next sweep

_PROGRAMS: dict[str, Program] = {}


def said_aside(file: Place, workdir: Workdir) -> str:
    """One line on a file that was set aside."""
    return f"{file} could not be read: set aside in {workdir.damaged}, its runs start anew"


@dataclasses.dataclass
class _Work:
    """A group in training: its program, the devices that train it, and an iterator over runs that no lane has taken."""

    template: Experiment
    plan: Plan
    workdir: Workdir
    program: Program
    devices: list[Any]
    intervals: int
    name: str
    pending: collections.deque[tuple[str, int]]
    saved: list[checkpoint.Saved]
    resumed: dict[str, Experiment]
    returned: list[tuple[str, Experiment]] = dataclasses.field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether there are runs that no block has."""
        return bool(self.pending or self.saved or self.returned)

    def pace(self, seconds: float) -> None:
        """Makes chunks longer or shorter, after one that took so long: no bit of a run depends on it."""
        if seconds < widths.CHUNK_SECONDS:  # while the device's other block trained for as long
            self.intervals = min(2 * self.intervals, MAX_INTERVALS)
        elif seconds > 4 * widths.CHUNK_SECONDS:
            self.intervals = max(self.intervals // 2, 1)

    def __iter__(self) -> Iterator[tuple[str, Experiment, Given]]:
        return self

    def __next__(self) -> tuple[str, Experiment, Given]:
        if self.returned:
            run_id, experiment = self.returned.pop(0)
        elif self.pending:
            run_id, index = self.pending.popleft()
            experiment = self.plan.experiment(index)
        else:
            raise StopIteration  # until runs are returned
        return run_id, experiment, stages.given(self.workdir, self.program, experiment)


@dataclasses.dataclass
class _Slot:
    """A block in training, in one of a device's places."""

    device: Any
    block: Block
    work: _Work
    path: Place
    saved_at: float
    provenance: str
    launched_at: float = 0.0


class Engine:
    """Trains what a plan has left into a workdir; with `keep`, stores what its runs end with too."""

    def __init__(self, plan: Plan, workdir: Workdir, options: Options, progress: Progress, keep: bool, told: Launch):
        self.plan, self.workdir, self.options, self.progress, self.keep = plan, workdir, options, progress, keep
        self.told, self.told_at = told, time.monotonic()
        self.devices = jax.local_devices()[: options.devices]
        self.saved = checkpoint.load(workdir)
        self.widths = workdir.written_widths()
        self.useful = self.computed = 0
        self.stop = threading.Event()
        self.stopped_by: int | None = None
        self.slots: list[_Slot] = []

    def run(self) -> int | None:
        """Trains until all runs are stored, or until it is stopped: the signal that did."""
        deadline = time.monotonic() + 3600 * (self.options.stop_after_hours or 1e9)
        groups = [g for g in self.plan.groups if g.pending]
        self._choose_widths(groups)
        self.works = [self._work(group) for group in groups]
        self._share_out()
        with (
            _frozen(len(self.works) > KEPT),
            interruptible.asked(self._ask, self.options.grace_seconds),
            ThreadPoolExecutor(len(self.devices)) as pool,
            store.Writer(self.workdir, self.options.checkpoint_seconds) as self.writer,
        ):
            self.pool, self.compiling = pool, 0
            self._fill()
            begun = time.monotonic()
            while self.slots:
                ready = [slot for slot in self.slots if slot.block.ready]
                for slot in ready:
                    if slot in self.slots and not self._attempt(slot.work, self._go_on, slot):
                        self._fill()
                self.progress.update(self.useful, self.computed)
                self._tell()
                if time.monotonic() > deadline:
                    self.stop.set()
                if not ready:
                    time.sleep(0.0005)
            pool.shutdown(wait=False, cancel_futures=True)
        self.progress.update(self.useful, self.computed)
        seconds = round(time.monotonic() - begun, 3)
        made = {"lane_steps": self.useful, "computed_lane_steps": self.computed}
        self.told.write(seconds=seconds, left_seconds=None, trained=self.progress.done, **made)
        if self.stop.is_set():
            self.progress.note("stopped: the same command continues")
        return self.stopped_by

    def _ask(self, number: int) -> None:
        self.stopped_by = number
        self.stop.set()

    def _tell(self) -> None:
        """Says now and then how far it is."""
        if time.monotonic() - self.told_at > TOLD_SECONDS:
            self.told_at = time.monotonic()
            left = self.progress.left_seconds
            self.told.write(trained=self.progress.done, left_seconds=round(left) if math.isfinite(left) else None)

    def _choose_widths(self, groups: list[Group]) -> None:
        """Decides how many lanes each program has, and writes it down before anything is trained."""
        for group in groups:
            device = self.devices[0]
            found = widths.chosen(group.template, device, self.widths, self.options.width, group.lapack)
            if self.options.tune and found["by"] != "tuned" and not widths.alone(group.lapack, device):
                found = {"lanes": tuned(group.template, self.devices), "by": "tuned"}
            self.widths[widths.entry(group.template, device)] = found
        self.workdir.write_widths(self.widths)

    def _work(self, group: Group) -> _Work:
        width = self.widths[widths.entry(group.template, self.devices[0])]["lanes"]
        program, name = _program(group.template, width)
        saved = self._fitting(name, program)
        taken = {run_id for s in saved for run_id in s.run_ids}
        resumed = {run_id: self.plan.experiment(index) for run_id, index in group.pending if run_id in taken}
        longest_first = sorted(zip(group.budgets, group.pending), key=lambda run: (-run[0][0], -run[0][2]))
        pending = collections.deque(run for _, run in longest_first if run[0] not in taken)
        intervals = self.options.intervals or widths.first_intervals(group.template, width)
        return _Work(
            group.template, self.plan, self.workdir, program, self.devices, intervals, name, pending, saved, resumed
        )

    def _fitting(self, name: str, program: Program) -> list[checkpoint.Saved]:
        """The saved blocks of a program; those whose arrays are not of its shapes are set aside."""
        found = []
        for saved in [s for s in self.saved if s.program == name]:
            if checkpoint.fits(saved, program):
                found.append(saved)
            else:
                self.workdir.set_aside(saved.path)
                self.progress.note(said_aside(saved.path, self.workdir))
        return found

    def _share_out(self) -> None:
        """Gives each small group to one device, in turn, where there are many groups: it is compiled only once."""
        runs = [len(work.pending) + len(work.resumed) for work in self.works]
        found = widths.places(runs, [work.program.width for work in self.works], self.devices)
        for work, devices in zip(self.works, found):
            work.devices = devices

    def _compile_ahead(self, reached: int) -> None:
        """Has the next few groups after the one that is `reached` compiled while others train."""
        while self.compiling < min(reached + 1 + COMPILED_AHEAD * len(self.devices), len(self.works)):
            work = self.works[self.compiling]
            for device in work.devices:
                self.pool.submit(work.program.compiled, device)
            self.compiling += 1

    def _fill(self) -> None:
        """Starts blocks on the devices that have too few of them, while there are runs that no lane has taken."""
        self._forget()
        for count in range(1, BLOCKS_PER_DEVICE + 1):
            for device in self.devices:
                while sum(slot.device is device for slot in self.slots) < count and self._start(device):
                    pass

    def _forget(self) -> None:
        """Gives up the executables of groups that have ended, and where there are many those kept for the next too."""
        training = {id(slot.work) for slot in self.slots}
        needed = {work.name for work in self.works if work.waits or id(work) in training}
        if crowded():
            for name in _PROGRAMS.keys() - needed:
                del _PROGRAMS[name]
        for work in self.works:
            if work.name not in needed and work.name not in _PROGRAMS:
                work.program.forget()

    def _start(self, device: jax.Device) -> bool:
        """Launches a block of the first program for this device that has runs left; False when all are taken."""
        left = [i for i, work in enumerate(self.works) if work.waits and device in work.devices]
        if not left or self.stop.is_set():
            return False
        self._compile_ahead(left[0])
        work = self.works[left[0]]
        self._attempt(work, self._begin, work, device)
        return True

    def _begin(self, work: _Work, device: jax.Device) -> bool:
        """Puts a block into a place of a device, as it was saved if one was, and launches it; False when it ends."""
        block = Block(work.program, device, self.keep)
        saved = work.saved.pop() if work.saved else None
        path = checkpoint.new(self.workdir) if saved is None else checkpoint.adopt(self.workdir, saved)
        slot = _Slot(device, block, work, path, time.monotonic(), provenance(work.name, block))
        self.slots.append(slot)
        if saved is not None:
            checkpoint.restore(saved, block, work.resumed, functools.partial(stages.given, self.workdir, work.program))
        return self._proceed(slot)

    def _attempt(self, work: _Work, action: Callable[..., bool], *arguments: object) -> bool:
        """Does it; False when a block has ended. Without enough memory its group goes on at half the width."""
        try:
            return action(*arguments)
        except jax.errors.JaxRuntimeError as error:
            if work.program.width == 1 or not out_of_memory(error):
                raise
            self._narrow(work)
            return False

    def _narrow(self, work: _Work) -> None:
        """Half as many lanes for a group whose blocks do not fit into memory; runs in mid-training start anew."""
        width = work.program.width // 2
        for slot in [slot for slot in self.slots if slot.work is work]:
            self.slots.remove(slot)
            slot.path.unlink(missing_ok=True)
            work.returned.extend((lane.run_id, lane.experiment) for lane in slot.block.lanes if lane)
        for saved in work.saved:
            saved.path.unlink(missing_ok=True)
        work.returned.extend(work.resumed.items())
        work.saved.clear()
        work.resumed.clear()
        work.program, work.name = _program(work.template, width)
        self.widths[widths.entry(work.template, self.devices[0])] = {"lanes": width, "by": "memory"}
        self.workdir.write_widths(self.widths)
        self.progress.note(f"{2 * width} lanes of a block do not fit into memory: going on with {width}")

    def _go_on(self, slot: _Slot) -> bool:
        if self.options.intervals is None:
            slot.work.pace(time.monotonic() - slot.launched_at)
        self._harvest(slot)
        return self._proceed(slot)

    def _proceed(self, slot: _Slot) -> bool:
        """Refills a block and launches its next chunk, saving it first when that is due; False when it ends."""
        if not self.stop.is_set():
            slot.block.refill(slot.work)
        if slot.block.free == slot.block.program.width:
            slot.path.unlink(missing_ok=True)
            self.slots.remove(slot)
            return False
        if self.stop.is_set() or time.monotonic() - slot.saved_at > self.options.checkpoint_seconds:
            try:
                checkpoint.save(slot.path, slot.block, slot.work.name)
            except TryAgain as error:
                self.progress.note(f"lanes in mid-training are not saved: {error}")
            slot.saved_at = time.monotonic()
        if self.stop.is_set():
            self.slots.remove(slot)
            return False
        slot.launched_at = time.monotonic()
        self.progress.begin()
        full = slot.block.free == 0  # else no run waits, and the last ones may as well end together
        slot.block.launch(slot.work.intervals, math.ceil(FULL * slot.block.program.width) if full else 1)
        return True

    def _harvest(self, slot: _Slot) -> None:
        block = slot.block
        useful, computed = block.useful_steps, block.computed_steps
        for result in block.harvest():
            if result.ended_with is not None:
                weights.save(self.workdir, result.run_id, result.ended_with)
            self.writer.put(result, slot.provenance)
            self.progress.finished(result.steps, result.experiment.training.steps)
        self.useful += block.useful_steps - useful
        self.computed += block.computed_steps - computed


@contextlib.contextmanager
def _frozen(wanted: bool) -> Iterator[None]:
    """Leaves what there is out of garbage collections: with hundreds of programs each takes a second of all threads."""
    if wanted:
        gc.collect()
        gc.freeze()
    try:
        yield
    finally:
        if wanted:
            gc.unfreeze()


def _program(template: Experiment, width: int) -> tuple[Program, str]:
    """The program that trains such runs, and its name; one that this process has made before is not traced again."""
    name = program_name(template, width)
    held = _PROGRAMS.get(name)
    if held is None or held.signature != template.signature:  # a class that was defined anew is another to JAX
        if len(_PROGRAMS) >= KEPT:
            _PROGRAMS.pop(next(iter(_PROGRAMS)))
        _PROGRAMS[name] = Program(template, width)
    return _PROGRAMS[name], name


def program_name(experiment: Experiment, width: int) -> str:
    """What a compiled program is called in files: its structure's hash, rows computed per step, lanes."""
    return f"{experiment.structure_id}-r{capacity(experiment)}-w{width}"


def provenance(name: str, block: Block) -> str:
    """What trained a run, as JSON: program, width, rows, device, versions, flags."""
    program = {"program": name, "width": block.program.width, "rows": block.program.capacity}
    return json.dumps({**program, **environment(block.device)}, sort_keys=True)
