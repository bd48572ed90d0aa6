"""W lanes on one device, seen from the host."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from jaxgen import training
from jaxgen.experiment import Experiment
from jaxgen.kernel.program import MAX_INTERVALS, Lane, Program, Status
from jaxgen.kinds import Given

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Result:
    """A run that ended.

    Attributes:
      run_id, experiment: the run.
      status: "finished", "stopped", "diverged", "frozen" or "exact".
      steps: how many it made.
      checksum: of its final parameters' bits.
      curves: "step" and every probe by name, (evaluations, …).
      ended_with: what runs that start from it are given (`training.named`), where the block was asked to keep it.
    """

    run_id: str
    experiment: Experiment
    status: str
    steps: int
    checksum: int
    curves: dict[str, np.ndarray]
    ended_with: dict[str, np.ndarray] | None = None


@dataclasses.dataclass
class Assignment:
    """The run in a lane: how far it is, and the pieces of its curves so far."""

    run_id: str
    experiment: Experiment
    step: int
    pieces: list[dict[str, np.ndarray]]


class Block:
    """W lanes on one device, seen from the host: `refill`, `launch`, `harvest`, again.

    With `keep`, results have what runs that start from them are given.
    """

    def __init__(self, program: Program, device: jax.Device, keep: bool = False):
        self.program, self.device, self.keep = program, device, keep
        self.lanes: list[Assignment | None] = [None] * program.width
        self.useful_steps = self.computed_steps = 0
        self._reals, self._wholes, given, _, lanes = program.shapes()
        self._given = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), given)
        self._fresh = np.zeros(program.width, bool)
        self._arguments: tuple | None = None
        self._output: Any = None  # an `Output` on its way
        idle = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), lanes)
        self._carry = self._put(idle.replace(status=np.full(program.width, Status.IDLE, np.int32)))

    @property
    def free(self) -> int:
        """Lanes without a run."""
        return self.lanes.count(None)

    def refill(self, runs: Iterator[tuple]) -> None:
        """Gives each free lane the next run: run_id, experiment and, where it starts from another, what it is given.

        Raises:
          ValueError: a run belongs to another program; names the field that differs.
        """
        for index, lane in enumerate(self.lanes):
            if lane is None and (run := next(runs, None)) is not None:
                self.assign(index, *run)

    def assign(
        self,
        index: int,
        run_id: str,
        experiment: Experiment,
        given: Given | None = None,
        step: int = 0,
        pieces: Sequence[dict[str, np.ndarray]] = (),
    ) -> None:
        """Puts a run into a lane: a new one, or one that has curves already and whose state `restore` brings."""
        if experiment.signature != self.program.signature:
            raise ValueError(f"run {run_id} needs another program: {_difference(experiment, self.program.template)}")
        numbers = training.numbers(experiment), self.program.rows_of(experiment)
        self._reals[index], self._wholes[index] = self.program.pack(*numbers)
        if self._given:
            if given is None:
                raise ValueError(f"run {run_id} starts from another: give what that one ended with")
            jax.tree.map(lambda all_, one: all_.__setitem__(index, one), self._given, given)
        self.lanes[index] = Assignment(run_id, experiment, step, list(pieces))
        self._fresh[index] = not pieces
        self._arguments = None

    def launch(self, intervals: int, least: int = 1) -> None:
        """Starts a chunk on the device and returns at once.

        Args:
          intervals: at most so many evaluation intervals.
          least: the chunk ends before that once fewer than so many lanes run, at least 1.
        """
        call = self.program.compiled(self.device)
        if self._arguments is None:
            self._arguments = self._put(jax.tree.map(np.copy, (self._reals, self._wholes, self._given)))
        control = self._put(np.array([min(intervals, MAX_INTERVALS), max(least, 1), *self._fresh], np.int32))
        with training.numerics(self.program.template), jax.transfer_guard("disallow"):
            self._carry, self._output = call(*self._arguments, control, self._carry)
        self._fresh[:] = False

    @property
    def ready(self) -> bool:
        """Whether the launched chunk has ended."""
        return self._output is not None and bool(self._output.ended.is_ready())

    def harvest(self) -> list[Result]:
        """Waits for the chunk and returns the runs that ended in it; their lanes are free."""
        if self._output is None:
            return []
        output, self._output = jax.device_get(self._output), None
        every, read = self.program.template.training.evaluate_every, self.program.unstacked
        statuses, steps_made, checksums = output.ended[0].astype(np.int32), output.ended[1].tolist(), output.ended[2]
        opening, longest = self.program.opening, 0
        done: dict[int, Result] = {}
        if any(lane is not None and not lane.pieces for lane in self.lanes):
            self.computed_steps += int(opening[-1]) * self.program.width
        for index, lane in enumerate(self.lanes):
            if lane is None:
                continue
            if not lane.pieces:
                lane.pieces.append({"step": opening, **read(output.first[:, :, index])})
                lane.step = int(opening[-1])
                self.useful_steps += lane.step
            count = (steps_made[index] - lane.step) // every
            steps = lane.step + every * np.arange(1, count + 1, dtype=np.int32)
            lane.pieces.append({"step": steps, **read(output.later[:count, :, index])})
            lane.step, longest = steps_made[index], max(longest, count)
            self.useful_steps += count * every
            if (status := Status(int(statuses[index]))) != Status.RUNNING:
                done[index] = _result(lane, status, int(checksums[index]), self._ended_with(index))
        self.computed_steps += longest * every * self.program.width
        for index in done:  # not before all are read: memory may not suffice for one
            self.lanes[index] = None
        return [*done.values()]

    def _ended_with(self, index: int) -> dict[str, np.ndarray] | None:
        if not self.keep:
            return None
        state = jax.device_get(jax.tree.map(lambda a: a[index], self._carry.state))
        return training.named(self.program.template, state)

    def snapshot(self) -> tuple[Lane, list[Assignment | None]]:
        """The lanes' device state as numpy arrays and their runs, between a harvest and the next launch."""
        return jax.device_get(self._carry), self.lanes

    def restore(self, carry: Lane) -> None:
        """Puts a snapshot's device state back; the runs are given back by `assign`."""
        self._carry = self._put(carry)

    def _put(self, tree: T) -> T:
        with training.numerics(self.program.template):
            return jax.device_put(tree, self.device)


def _result(lane: Assignment, status: Status, checksum: int, ended_with: dict[str, np.ndarray] | None) -> Result:
    curves = {name: np.concatenate([p[name] for p in lane.pieces]) for name in lane.pieces[0]}
    return Result(lane.run_id, lane.experiment, status.name.lower(), lane.step, checksum, curves, ended_with)


def _difference(a: Experiment, b: Experiment) -> str:
    mine, theirs = a.flat(), b.flat()
    leaves = a.leaf_paths()
    for path in sorted(mine.keys() | theirs.keys()):
        if path not in leaves and mine.get(path) != theirs.get(path):
            return f"{path} is {mine.get(path)!r}, not {theirs.get(path)!r}"
    return "its structure differs"
