"""Rounds of runs that close in on the boundary of an event over two axes; `proposal` says where they are.

Rounds do not end before the largest disc without runs is within the goal, either.
"""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxgen import Experiment, FieldError
from jaxgen.components import unknown
from sweeps.axes.algebra import Points, Sweep
from sweeps.axes.scales import Range
from sweeps.diagrams import gather
from sweeps.diagrams.labels import Labelling, find
from sweeps.diagrams.plane import SEEDS, check_fields
from sweeps.diagrams.results import Results
from sweeps.execution.options import Options
from sweeps.storage.workdir import Where, Workdir
from sweeps.studies.proposal import Plane, Point, Side, check_count, propose, unseen
from sweeps.studies.run import run

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Rounds:
    """How many runs are added, and until when.

    Attributes:
      budget: runs in all rounds together, at most 100,000.
      batch: runs in a round, at most 10,000.
      goal: stop when `Boundary.uncertainty`, and the largest disc without runs, are at most this share of the plane.
      seeds: how many runs a point may have, with seeds 0 … seeds - 1.
      key: of the random numbers: equal input gives equal rounds.

    Raises:
      FieldError: one is not allowed.
    """

    budget: int
    batch: int = 64
    goal: float | None = None
    seeds: int = 16
    key: int = 0

    def __post_init__(self):
        for count in ("budget", "batch", "seeds"):
            check_count(count, getattr(self, count))
        key, goal = self.key, self.goal
        if isinstance(key, bool) or not isinstance(key, int) or key < 0:
            raise FieldError("key", key, "must be a whole number of at least 0")
        if goal is not None and not (isinstance(goal, (int, float)) and not isinstance(goal, bool) and 0 <= goal <= 1):
            raise FieldError("goal", goal, "must be a share of the plane, in [0, 1]")


def _disc(radius: float) -> float:
    """The share of the plane in a disc within it."""
    return min(np.pi * radius**2, 1.0)


def outcomes(
    results: Results, x: str, y: str, *, labels: str | Labelling = "four_phases"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `propose` has to know of stored runs: x, y, event (NaN where undecided) and seeds, each (runs,).

    Args:
      results: the runs.
      x, y: dotted paths of the axes.
      labels: what runs are called, and which labels are the event; the sweep's own definition decides, with a budget
        within the training.

    Raises:
      FieldError: there is no such field, labelling or curve.
    """
    labelling, runs = find(labels), results.runs
    check_fields((x, y), runs)
    definition = gather.within_training(results.definition(), runs)
    label = labelling(gather.observe(runs, gather.read_curves(results, definition, labelling), definition))
    return runs[x].to_numpy(float), runs[y].to_numpy(float), labelling.events(label), runs["seed"].to_numpy(int)


def refine(
    base: Experiment,
    axes: Mapping[str, Side],
    workdir: Where,
    rounds: Rounds,
    *,
    labels: str | Labelling = "four_phases",
    name: str = "refinement",
    **of_run: Any,
) -> Results:
    """Trains rounds of runs around the boundary of an event, until it is known well enough or the budget is used up.

    Stopped at any moment, the same call goes on where it was: the workdir holds the points of each
    round before it is trained. A larger budget, or a smaller goal, adds rounds; a round that was begun is finished.

    Args:
      base: the experiment that the points override.
      axes: two dotted paths, x and y, each with a `Range`, out of which any value of six digits is taken, or with the
        list of values that are allowed.
      workdir: directory of the results, or its URI; made if it does not exist.
      rounds: how many runs there are, and until when.
      labels: what runs are called, and which labels are the event (`sweeps.labels`); undecided runs are not fitted.
      name: as in `sweeps.run`.
      **of_run: definition, description, changed and options of `sweeps.run`; `stop_after_hours` is of all rounds.

    Returns:
      The results of all rounds; where they were stopped, of fewer runs than `run_ids` names.

    Raises:
      FieldError: an argument is not allowed, an axis is structure, so that each value would be a compiled program, or
        the workdir holds rounds over other axes, or of another key.
    """
    held, labelling, begun = Workdir.at(workdir), find(labels), time.monotonic()
    plane, settings, points = checked(base, axes, held, rounds)
    hours, key, size = Options(**_options(of_run)).stop_after_hours, rounds.key, min(rounds.batch, rounds.budget)
    held.check_same(name, base, as_sweep(axes, points or [propose([], [], [], [], plane, 1)]))
    if not points:
        _begin(held, settings, points, propose([], [], [], [], plane, size, key=key))
    while True:
        if hours is not None:
            of_run["stop_after_hours"] = max(hours - (time.monotonic() - begun) / 3600, 1e-9)
        sweep = as_sweep(axes, points)
        results = run(base, sweep, held, name=name, **of_run)
        x, y, event, seed = outcomes(results, *axes, labels=labelling)
        left = rounds.budget - len(sweep)
        if len(x) < len(sweep) or left <= 0:
            return results
        fitted = plane.fit(x, y, event, seed, key)
        goal = rounds.goal
        if goal is not None and fitted is not None and max(fitted.uncertainty, _disc(unseen(plane, x, y))) <= goal:
            return results
        more = propose(x, y, event, seed, plane, min(rounds.batch, left), key=key, fitted=fitted)
        if not more:
            return results
        _begin(held, settings, points, more)
        if hours is not None and time.monotonic() - begun >= 3600 * hours:
            return Results(held, {base.override(point).run_id for point in as_sweep(axes, points)})


def _options(of_run: Mapping[str, Any]) -> dict[str, Any]:
    """Those of them that say how the sweep is run, not what is said of it."""
    return {name: value for name, value in of_run.items() if name not in ("definition", "description", "changed")}


def checked(
    base: Experiment, axes: Mapping[str, Side], workdir: Where, rounds: Rounds
) -> tuple[Plane, dict[str, object], list[list[Point]]]:
    """What `refine` may sample, what its workdir must hold, and the rounds that were begun there; raises as it does."""
    plane = _plane(base, axes, rounds.seeds)
    settings = {"axes": {axis: _plain(side) for axis, side in zip(axes, (plane.x, plane.y))}, "key": rounds.key}
    held = Workdir.at(workdir)
    held.check_place()
    begun = _stored(held, settings)
    if not begun and held.read_specification() is not None:
        raise FieldError("workdir", str(held), "holds a sweep that was not refined: use another directory")
    return plane, settings, begun


def _begin(workdir: Workdir, settings: dict[str, object], rounds: list[list[Point]], points: list[Point]) -> None:
    """Adds a round, on disk too."""
    rounds.append(points)
    workdir.write_refinement({"schema": SCHEMA, **settings, "rounds": rounds})


def _plane(base: Experiment, axes: Mapping[str, Side], seeds: int) -> Plane:
    """The plane of these fields of an experiment, all checked."""
    if not isinstance(axes, Mapping) or len(axes) != 2:
        raise FieldError("axes", axes, "must be two dotted paths, each with a Range or a list of values")
    for path in axes:
        if path not in base.paths():
            raise unknown(path, base.paths())
        if path in SEEDS or path not in base.leaf_paths():
            why = "is set for each point" if path in SEEDS else "is structure: each value is a compiled program"
            raise FieldError(path, None, f"{why}; refined are fields that hold a number per run")
        if isinstance(axes[path], Range) and isinstance(base.flat()[path], int):
            raise FieldError(path, axes[path], "takes whole numbers: give the list of values that are allowed")
    try:
        x, y = axes.values()
        plane = Plane(x, y, seeds)
    except FieldError as error:
        raise FieldError(dict(zip("xy", axes)).get(error.field, error.field), error.value, error.allowed) from None
    for path, side in zip(axes, (plane.x, plane.y)):
        for value in (side.low, side.high) if isinstance(side, Range) else side:
            base.override({path: value})
    return plane


def _plain(side: Side) -> dict[str, float] | list[float]:
    return dataclasses.asdict(side) if isinstance(side, Range) else list(side)


def as_sweep(axes: Iterable[str], rounds: list[list[Point]]) -> Sweep:
    """The points of all rounds as a sweep; `axes` are the dotted paths of x and y."""
    return Points((*axes, "seed"), tuple(point for one in rounds for point in one))


def _stored(workdir: Workdir, settings: dict[str, object]) -> list[list[Point]]:
    """The rounds that were begun in a workdir; none where it has no file of them."""
    read = workdir.read_refinement(lambda held: (held, _rounds(held["rounds"])))
    if read is None:
        return []
    held, rounds = read
    if held.get("schema") != SCHEMA:
        raise workdir.unsound_rounds(f"has schema {held.get('schema')}, not {SCHEMA}")
    for name, value in settings.items():
        if held.get(name) != json.loads(json.dumps(value)):
            why = f"holds rounds with {name} = {held.get(name)}: use another directory"
            raise FieldError(name, value, why)
    return rounds


def _rounds(stored: Iterable[Iterable[tuple[float, float, int]]]) -> list[list[Point]]:
    return [[(float(x), float(y), int(seed)) for x, y, seed in one] for one in stored]
