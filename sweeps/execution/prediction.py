"""What a plan will cost on this machine: time as a range, memory, and where the time goes.

Some of its programs are measured (`profile.measured`), those that take most of the time surely, others by lot, until
that has taken `SECONDS`. What the others take follows from their sizes, in the ratio that was found on the measured
ones. Where runs may stop early, some are trained as the sweep trains them and thrown away (`pilot`). With all times
busy seconds of a device, and n devices,

  seconds = start + (Σ compiling + Σ steps × milliseconds / 1000 + Σ runs × storing) / n,

where tracing counts between 1/n (others train meanwhile) and 1 (nothing does). The range has the errors of the parts
added in quadrature: those of `SPREAD`, of programs that were not measured, and of how many runs stop early.
"""

import dataclasses
import math
import time
from collections.abc import Mapping

import jax
import numpy as np

from jaxgen import training
from sweeps.execution import widths
from sweeps.execution.machine import Speed, speed
from sweeps.execution.pilot import UNKNOWN, Made, can_stop, made
from sweeps.execution.plan import Group, Plan
from sweeps.execution.profile import Measured, device_bytes, measured, step_flops
from sweeps.execution.progress import Line, clock
from sweeps.storage.workdir import Width

MEASURED_SHARE = 8  # only what is sure to take less than this part of the memory is timed
MEASURED, SECONDS = 10, 45.0  # programs at most; no other is begun after so long
SPREAD = {"start": 0.2, "compiling": 0.16, "training": 0.12, "storing": 0.5}  # relative errors of what was measured
OTHERS = 0.25  # of a program that was not
COMPILING = 1.5, 6.0  # busy seconds to trace and to compile a usual program: for ratios of programs
USUAL_TENSORS = 10  # of that program
TRACING = 0.8  # share that tracing, one thread's work, has in loading a program
STORING = 2e-3  # busy seconds of a run: its start, its curves, its rows in a file
FEW_RUNS, PILOTED = 0.1, 3  # share of the time from which it is tried how early runs stop; programs that are tried


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one program costs.

    Attributes:
      lanes: of a block.
      devices: that it is compiled for.
      steps: lane-steps that its runs are expected to make.
      milliseconds: of a device, busy, per lane-step.
      compiling: busy seconds to trace it and to compile it, or to load what is compiled.
      tracing: those of them in which other threads can neither trace nor start anything.
      bytes: of one block.
      is_measured: whether it was measured, and so is compiled already; else its times follow from its sizes.
      rate: FLOP/s of a device, padded rows included.
    """

    lanes: int
    devices: int
    steps: int
    milliseconds: float
    compiling: float
    tracing: float
    bytes: int
    is_measured: bool
    rate: float

    @property
    def training(self) -> float:
        """Busy seconds of training."""
        return self.steps * self.milliseconds / 1e3


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a plan will cost.

    Attributes:
      low, high: seconds from the start of planning to the last run that is stored, if this process has the machine to
        itself; wider where nothing could be measured.
      parts: seconds of it by what they are spent on: start, compiling, training, storing.
      costs: of each group that has runs to train, in the plan's order.
      devices: how many train.
      speed: of the machine when it was foretold.
      tried: runs that were trained and thrown away to see how early they stop.
      first: runs, lane-steps and programs of what others start from.
    """

    low: float
    high: float
    parts: dict[str, float]
    costs: list[Cost]
    devices: int
    speed: Speed
    tried: int = 0
    first: tuple[int, int, int] = (0, 0, 0)

    @property
    def seconds(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2

    @property
    def bytes(self) -> int:
        """On one device, of two blocks of the largest program."""
        return 2 * max((cost.bytes for cost in self.costs), default=0)

    @property
    def share(self) -> float:
        """Of the rate of products that training reaches, on average over its time."""
        busy = sum(cost.training for cost in self.costs)
        return sum(cost.rate * cost.training for cost in self.costs) / busy / self.speed.rate if busy else 0.0

    def after(self, other: "Prediction", plan: Plan) -> "Prediction":
        """This, after what a plan that runs start from will cost."""
        runs, steps, programs = self.first
        first = runs + plan.pending, steps + plan.steps, programs + sum(bool(g.pending) for g in plan.groups)
        parts = {name: seconds + other.parts[name] for name, seconds in self.parts.items()}
        low, high = self.low + other.low, self.high + other.high
        return dataclasses.replace(self, low=low, high=high, parts=parts, costs=self.costs + other.costs, first=first)


def predict(
    plan: Plan,
    held: Mapping[str, Width],
    width: int | None = None,
    devices: int | None = None,
    begun: float | None = None,
    quiet: bool = True,
) -> Prediction:
    """Foretells memory and time of what a plan has left. Nothing of the sweep is trained: what is are scratch copies.

    Where blocks might not fit into memory nothing is timed, and a step is taken to run at a usual rate.

    Args:
      plan: less what is stored.
      held: widths that are written down (`sweeps.execution.widths`).
      width: lanes of every block, if asked for.
      devices: how many train; all when None.
      begun: when planning did, on the clock of `time.process_time`; now when None.
      quiet: say nothing of what is being measured.
    """
    begun = time.process_time() if begun is None else begun
    used, groups = jax.local_devices()[:devices], [g for g in plan.groups if g.pending]
    lanes = [widths.chosen(g.template, used[0], held, width, g.lapack)["lanes"] for g in groups]
    places = widths.places([len(g.pending) for g in groups], lanes, used)
    usual = [_usual(group, n, len(some)) for group, n, some in zip(groups, lanes, places)]
    start = time.process_time() - begun  # a launch does the same: it plans, and lowers each program's step
    now = speed(used)
    found = _measured(groups, usual, places, now, quiet)
    costs = _costs(groups, usual, found, places)
    stops = _stops(plan, groups, costs, places)
    costs = [dataclasses.replace(c, steps=round(made.share * g.steps)) for c, g, made in zip(costs, groups, stops)]
    start_and_store = start, STORING * sum(len(g.pending) for g in groups)
    return _ranged(costs, stops, *start_and_store, now, len(used))


def _measured(
    groups: list[Group], usual: list[Measured], places: list[list[jax.Device]], now: Speed, quiet: bool
) -> dict[int, Measured]:
    """What was measured, by the group; the longest programs first."""
    busy = np.array([u.compile_seconds + g.steps * u.milliseconds / 1e3 for g, u in zip(groups, usual)])
    room = [device_bytes(some[0]) / MEASURED_SHARE for some in places]
    fits = [widths.lane_bytes(g.template) * u.width * len(p) < r for g, u, p, r in zip(groups, usual, places, room)]
    asked = sorted((i for i in chosen(busy) if fits[i]), key=lambda i: -busy[i])
    found: dict[int, Measured] = {}
    begun = time.monotonic()
    with Line(len(asked), quiet) as line:
        for i in asked:
            passed = time.monotonic() - begun
            if passed > SECONDS:
                break
            line.show(len(found), f"program {len(found) + 1} of {len(asked)} is compiled and timed  {clock(passed)}")
            found[i] = measured(groups[i].template, places[i], usual[i].width, now)
    return found


def chosen(busy: np.ndarray, most: int = MEASURED) -> list[int]:
    """Which programs to measure: each with a probability as its share of the time, those that take 1/most of it surely.

    By systematic sampling from the middle of the first interval: no random numbers, the same plan is measured alike.

    Args:
      busy: (programs,) what each may take.
      most: how many.
    """
    if len(busy) <= most:
        return list(range(len(busy)))
    ends = np.cumsum(busy)
    return sorted(set(np.searchsorted(ends, ends[-1] * (np.arange(most) + 0.5) / most).tolist()))


def _usual(group: Group, lanes: int, devices: int) -> Measured:
    """What a program may cost, by its sizes alone: to compare programs with, and where nothing can be measured."""
    tensors = len(jax.tree.leaves(training.shapes(group.template)[1]))  # with more of them there are more operations
    trace, compiling = (seconds * (USUAL_TENSORS + tensors) / 2 / USUAL_TENSORS for seconds in COMPILING)
    milliseconds = 1e3 * (group.flops / widths.RATE + widths.OVERHEAD)
    memory = int(widths.lane_bytes(group.template) * lanes)
    return Measured(lanes, milliseconds, trace + compiling * devices, trace, memory, widths.RATE)


def _costs(
    groups: list[Group], usual: list[Measured], found: dict[int, Measured], places: list[list[jax.Device]]
) -> list[Cost]:
    """What each program costs if no run ends early."""
    names = "milliseconds", "compile_seconds", "load_seconds", "bytes"
    times, compiles, loads, sizes = (_ratio(usual, found, name) for name in names)
    costs = []
    for i, group in enumerate(groups):
        own, by_size = found.get(i), usual[i]
        if own is None:
            milliseconds, compiling = times * by_size.milliseconds, compiles * by_size.compile_seconds
            loading = loads * by_size.load_seconds
            lanes, size = by_size.width, int(sizes * by_size.bytes)
        else:
            milliseconds = own.milliseconds * group.flops / step_flops(group.template)
            compiling = loading = own.load_seconds
            lanes, size = own.width, own.bytes
        rate, tracing = 1e3 * group.flops / milliseconds, TRACING * loading
        one = Cost(lanes, len(places[i]), group.steps, milliseconds, compiling, tracing, size, own is not None, rate)
        costs.append(one)
    return costs


def _ratio(usual: list[Measured], found: dict[int, Measured], name: str) -> float:
    """Σ measured / Σ by size, over the programs that were measured."""
    by_size = sum(getattr(usual[i], name) for i in found)
    return sum(getattr(one, name) for one in found.values()) / by_size if by_size else 1.0


def _stops(plan: Plan, groups: list[Group], costs: list[Cost], places: list[list[jax.Device]]) -> list[Made]:
    """How much of their steps the runs of each program make: tried where that decides much of the time."""
    whole = sum(cost.compiling + cost.training for cost in costs)
    may = [i for i, g in enumerate(groups) if can_stop(g.template)]
    tried = sorted((i for i in may if costs[i].is_measured), key=lambda i: -costs[i].training)[:PILOTED]
    found = {
        i: made(groups[i], plan.experiment, places[i], costs[i].lanes, costs[i].milliseconds)
        for i in tried
        if costs[i].training > FEW_RUNS * whole
    }
    others = max(found.values(), key=lambda one: one.runs, default=UNKNOWN)
    return [found.get(i, others) if i in may else Made(1.0, 0.0, 0) for i in range(len(groups))]


def _ranged(costs: list[Cost], stops: list[Made], start: float, storing: float, now: Speed, devices: int) -> Prediction:
    """Adds up what programs cost, and in quadrature how far each part may be wrong."""
    measured_ones = sum(cost.is_measured for cost in costs)
    alone = sum(cost.tracing for cost in costs) * (1 - 1 / devices)  # where nobody trains meanwhile
    parts = {
        "start": start,
        "compiling": sum(cost.compiling for cost in costs) / devices + alone / 2,
        "training": sum(cost.training for cost in costs) / devices,
        "storing": storing / devices,
    }
    errors = [SPREAD[name] * seconds for name, seconds in parts.items()] + [alone / 2]
    for part in ("compiling", "training"):
        by_size = sum(getattr(cost, part) for cost in costs if not cost.is_measured) / devices
        errors.append(OTHERS * by_size / math.sqrt(measured_ones) if measured_ones else by_size)
    errors.append(sum(one.error / one.share * cost.training for one, cost in zip(stops, costs)) / devices)
    middle = sum(parts.values())
    half = min(math.sqrt(sum(error**2 for error in errors)), 0.9 * middle)
    tried = sum(one.runs for one in dict.fromkeys(stops))
    return Prediction(middle - half, middle + half, parts, costs, devices, now, tried)
