"""A sweep from the call to its stored runs: what is refused, planned, foretold, and trained in which order."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from jaxgen import Experiment, FieldError
from sweeps.axes.sweep import Sweep
from sweeps.execution import engine, executor, stages, widths
from sweeps.execution.options import Options
from sweeps.execution.plan import Plan, make_plan
from sweeps.execution.prediction import Prediction, predict
from sweeps.execution.preflight import Checked, check
from sweeps.execution.profile import set_up_jax
from sweeps.execution.progress import Progress
from sweeps.storage import checkpoint, launches, store, weights
from sweeps.storage.errors import Waits
from sweeps.storage.objects import Place
from sweeps.storage.workdir import Where, Workdir

Said = Mapping[str, Any]  # name, definition, description, changed: arguments of `Workdir.write_specification`
NAMED = 5  # files in one line


def launch(
    base: Experiment,
    sweep: Sweep,
    workdir: Workdir,
    said: Said,
    options: Mapping[str, Any],
) -> tuple[set[str], int | None]:
    """Trains every run of a sweep that is not stored yet; errors are those of `sweeps.run`.

    Args:
      base: the experiment that the sweep's points override.
      sweep: the points.
      workdir: of the results.
      said: name, definition, description and changed fields, as `sweep.json` keeps them; all but the name unseen.
      options: of `Options`, by name.

    Returns:
      The run_ids of the sweep, or of the share that was asked for, and the signal that stopped it, if one did.

    Raises:
      Waits: runs that others start from are of this share, and themselves start from runs of others.
    """
    begun, busy = time.monotonic(), time.process_time()
    settings, plan = _planned(base, sweep, workdir, said["name"], options)
    if settings.is_limited:
        settings.check(_foretold(plan, workdir, settings, busy))
        if settings.executor is not None:  # its shares are of all runs, stored or not
            settings, plan = _planned(base, sweep, workdir, said["name"], options)
    if settings.executor is not None and plan.run_ids - store.stored_ids(workdir, plan.run_ids):
        work = executor.Work(plan, workdir, said, settings.of_a_share)
        limits: dict[str, Any] = {"stop_after_hours": settings.stop_after_hours, "grace": settings.grace_seconds}
        return plan.run_ids, executor.train(work, settings.executor, **limits, quiet=settings.quiet)
    stopped_by = _train(workdir.owned(settings.share), settings, plan, said, begun)
    if stopped_by is None and settings.share is not None:
        _check_parents(plan, workdir)
    return plan.run_ids, stopped_by


def _check_parents(plan: Plan, workdir: Workdir) -> None:
    """Waits, where what a plan has to train for others is not all there though its own runs may be."""
    _, *parents = stages.levels(plan, workdir)
    if left := sum(len(first.run_ids - _done(place, first, True)) for first, place in parents):
        raise Waits(f"{left} runs of this share that others start from are not trained yet: the same command continues")


def _train(workdir: Workdir, settings: Options, plan: Plan, said: Said, begun: float, keep: bool = False) -> int | None:
    """Trains what a plan has left, after what its runs start from; gives the signal that stopped it.

    With `keep`, the weights that its runs end with are stored too.
    """
    with workdir.locked():
        workdir.check_same(said["name"], plan.base, plan.sweep)
        damaged = [part for room in (store, checkpoint, weights) for part in room.set_damaged_aside(workdir)]
        plan.drop(_done(workdir, plan, keep))
        workdir.write_specification(base=plan.base, sweep=plan.sweep, **said)
        told = launches.Launch(workdir, plan.sweep, len(plan.run_ids), len(plan.run_ids) - plan.pending)
        strangers, waiting = store.strangers(workdir), ""
        if plan.first is not None and plan.first.waiting:
            stopped_by = _train(workdir.parents, settings, plan.first, {**said, "definition": {}}, begun, keep=True)
            if stopped_by is not None:
                told.write(ended="stopped")
                return stopped_by
            settings = settings.less(time.monotonic() - begun)
            begun = time.monotonic()
        if plan.first is not None:
            waiting = _held_back(plan, weights.run_ids(workdir.parents, set(plan.starts_from.values())))
        stopped_by = None
        with Progress(plan.pending, plan.steps, settings.quiet, begun) as progress:
            for file in damaged:
                progress.note(engine.said_aside(file, workdir))
            if strangers:
                progress.note(left_alone(strangers))
            if plan.pending:
                stopped_by = engine.Engine(plan, workdir, settings, progress, keep, told).run()
            if waiting:
                progress.note(waiting)
        left = plan.run_ids - store.stored_ids(workdir, plan.run_ids)
        told.write(ended=f"{len(left)} runs left" if left else "all stored")
        if checkpoint.files(workdir) and not left:
            checkpoint.clear(workdir)  # blocks of another width, or of another attempt
    return stopped_by


def _held_back(plan: Plan, there: set[str]) -> str:
    """Takes runs off the plan whose parents are not there; one line on them, empty where there are none."""
    waiting = {run_id for run_id in plan.waiting if plan.starts_from.get(run_id, "") not in {*there, ""}}
    missing = {plan.starts_from[run_id] for run_id in waiting}
    for group in plan.groups:
        group.keep(lambda run_id: run_id not in waiting)
    who = "that another share trains" if plan.part else "that are not trained yet"
    return f"{len(waiting)} runs wait for {len(missing)} others {who}: the same command continues" if waiting else ""


def _done(workdir: Workdir, plan: Plan, keep: bool) -> set[str]:
    """The runs of a plan that need no training: stored, and their weights too where those are to be kept."""
    stored = store.stored_ids(workdir, plan.run_ids)
    return stored & weights.run_ids(workdir, stored) if keep else stored


def left_alone(strangers: list[Place]) -> str:
    """One line on files among the shards that are none."""
    names = ", ".join(file.name for file in strangers[:NAMED]) + (", …" if len(strangers) > NAMED else "")
    return f"{strangers[0].parent} holds what is no shard of this sweep, left alone and not read: {names}"


def foresee(
    base: Experiment,
    sweep: Sweep,
    workdir: Where,
    *,
    name: str = "sweep",
    **options: Any,
) -> tuple[Plan, Prediction]:
    """The plan of a sweep and what it will cost; arguments and errors are those of `launch`.

    Trains nothing of it and leaves nothing in the workdir.
    """
    held, begun = Workdir.at(workdir), time.process_time()
    settings, plan = _planned(base, sweep, held, name, options)
    if settings.tune:
        raise FieldError("tune", True, "measures before it trains: a dry run does not")
    prediction = _foretold(plan, held, settings, begun)
    settings.check(prediction)
    return plan, prediction


def _foretold(plan: Plan, workdir: Workdir, settings: Options, begun: float) -> Prediction:
    """What a plan will cost, less what is stored, which is taken off it; `begun`: see `predict`."""
    plan.drop(_done(workdir, plan, False))
    plan.note_saved({lane["run_id"] for lane in checkpoint.running(workdir)})
    prediction = predict(plan, workdir.written_widths(), settings.width, settings.devices, begun, settings.quiet)
    _, *parents = stages.levels(plan, workdir)
    for first, place in parents:
        first.drop(_done(place, first, True))
        before = predict(first, place.written_widths(), settings.width, settings.devices, quiet=settings.quiet)
        prediction = prediction.after(before, first)
    return prediction


def preflight(
    base: Experiment,
    sweep: Sweep,
    workdir: Where,
    *,
    topology: str,
    name: str = "sweep",
    **options: Any,
) -> Iterator[Checked]:
    """What `preflight.check` says of the programs that a sweep has left, first those of runs that others start from.

    Trains nothing and leaves nothing in the workdir. Other arguments and errors are those of `launch`.
    """
    held = Workdir.at(workdir)
    settings, plan = _planned(base, sweep, held, name, options)
    plan.drop(_done(held, plan, False))
    for one, place in reversed([*stages.levels(plan, held)]):
        yield from check(one, topology, place.written_widths(), settings.width)


def _planned(
    base: Experiment, sweep: Sweep, workdir: Workdir, name: str, options: Mapping[str, Any]
) -> tuple[Options, Plan]:
    """All that is checked before anything is written, and the plan."""
    settings = Options(**options)
    if not isinstance(base, Experiment):
        raise FieldError("base", base, "must be a jaxgen.Experiment")
    if not isinstance(sweep, Sweep):
        raise FieldError("sweep", sweep, "must be made by sweeps.sweep, product, …")
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise FieldError("name", name, "must be printable text")
    set_up_jax()
    workdir.check_same(name, base, sweep)
    plan = stages.in_order(make_plan(base, sweep, settings.max_compiles), settings.max_compiles)
    if settings.width is not None:
        for group in (group for one, _ in stages.levels(plan, workdir) for group in one.groups):
            widths.chosen(group.template, jax.local_devices()[0], {}, settings.width, group.lapack)
    return settings, plan if settings.share is None else plan.share(*settings.share)
