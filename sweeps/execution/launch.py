"""A sweep from the call to its stored runs: what is refused, planned, foretold, and trained in which order."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen import Experiment, FieldError
from sweeps.axes.sweep import Sweep
from sweeps.execution import engine, stages
from sweeps.execution.options import Options
from sweeps.execution.plan import Plan, Prediction, make_plan, predict
from sweeps.execution.profile import set_up_jax
from sweeps.execution.progress import Progress
from sweeps.storage import checkpoint, store, weights
from sweeps.storage.workdir import check_same, locked, write_specification, written_widths

NAMED = 5  # files in one line


def launch(
    base: Experiment,
    sweep: Sweep,
    workdir: str | Path,
    *,
    name: str = "sweep",
    definition: dict[str, Any] | None = None,
    description: str = "",
    changed: Sequence[str] = (),
    **options: Any,
) -> tuple[set[str], int | None]:
    """Trains every run of a sweep that is not stored yet; arguments and errors are those of `sweeps.run`.

    What is in a definition is not looked at.

    Returns:
      The run_ids of the sweep, and the signal that stopped it, if one did.
    """
    begun = time.monotonic()
    path, settings, plan = _planned(base, sweep, workdir, name, options)
    said = {"name": name, "definition": definition or {}, "description": description, "changed": changed}
    return plan.run_ids, _train(path, settings, plan, said, begun)


def _train(
    path: Path, settings: Options, plan: Plan, said: dict[str, Any], begun: float, keep: bool = False
) -> int | None:
    """Trains what a plan has left, after what its runs start from; gives the signal that stopped it.

    With `keep`, the weights that its runs end with are stored too.
    """
    with locked(path):
        check_same(path, said["name"], plan.base, plan.sweep)
        damaged = [part for room in (store, checkpoint, weights) for part in room.set_damaged_aside(path)]
        plan.drop(_done(path, keep))
        write_specification(path, base=plan.base, sweep=plan.sweep, **said)
        strangers = store.strangers(path)
        if plan.first is not None and (needed := plan.first.waiting):
            folder = path / stages.FOLDER
            stopped_by = _train(folder, settings, plan.first, {**said, "definition": {}}, begun, keep=True)
            if stopped_by is not None or not needed <= _done(folder, True):
                return stopped_by
            settings = settings.less(time.monotonic() - begun)
            begun = time.monotonic()
        stopped_by = None
        with Progress(plan.pending, plan.steps, settings.quiet, begun) as progress:
            for file in damaged:
                progress.note(engine.said_aside(file, path))
            if strangers:
                progress.note(left_alone(strangers))
            if plan.pending:
                stopped_by = engine.Engine(plan, path, settings, progress, keep).run()
        if any((path / "inflight").glob("*.block")) and plan.run_ids <= store.stored_ids(path):
            checkpoint.clear(path)  # blocks of another width
    return stopped_by


def _done(path: Path, keep: bool) -> set[str]:
    """The runs of a workdir that need no training: stored, and their weights too where those are to be kept."""
    return store.stored_ids(path) & weights.run_ids(path) if keep else store.stored_ids(path)


def left_alone(strangers: list[Path]) -> str:
    """One line on files among the shards that are none."""
    names = ", ".join(file.name for file in strangers[:NAMED]) + (", …" if len(strangers) > NAMED else "")
    return f"{strangers[0].parent} holds what is no shard of this sweep, left alone and not read: {names}"


def foresee(
    base: Experiment,
    sweep: Sweep,
    workdir: str | Path,
    *,
    name: str = "sweep",
    **options: Any,
) -> tuple[Plan, Prediction]:
    """The plan of a sweep and what it will cost; arguments and errors are those of `launch`.

    Trains nothing of it and leaves nothing in the workdir.
    """
    path, settings, plan = _planned(base, sweep, workdir, name, options)
    if settings.tune:
        raise FieldError("tune", True, "measures before it trains: a dry run does not")
    plan.drop(store.stored_ids(path))
    prediction = predict(plan, written_widths(path), settings.width, settings.devices)
    first = plan.first
    while first is not None:
        path /= stages.FOLDER
        first.drop(_done(path, True))
        before = predict(first, written_widths(path), settings.width, settings.devices)
        prediction, first = prediction.after(before, first), first.first
    return plan, prediction


def _planned(
    base: Experiment, sweep: Sweep, workdir: Any, name: str, options: dict[str, Any]
) -> tuple[Path, Options, Plan]:
    """All that is checked before anything is written, and the plan."""
    path, settings = Path(workdir), Options(**options)
    if not isinstance(base, Experiment):
        raise FieldError("base", base, "must be a jaxgen.Experiment")
    if not isinstance(sweep, Sweep):
        raise FieldError("sweep", sweep, "must be made by sweeps.sweep, product, …")
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise FieldError("name", name, "must be printable text")
    set_up_jax()
    check_same(path, name, base, sweep)
    return path, settings, stages.in_order(make_plan(base, sweep, settings.max_compiles), settings.max_compiles)
