"""A sweep from the call to its results."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen import Experiment
from sweeps.axes.sweep import Sweep
from sweeps.diagrams.phases import check_definition
from sweeps.diagrams.results import Results, check_held
from sweeps.execution import launch
from sweeps.execution.plan import Plan
from sweeps.execution.prediction import Prediction
from sweeps.storage.workdir import Where, Workdir


def run(
    base: Experiment,
    sweep: Sweep,
    workdir: Where,
    *,
    name: str = "sweep",
    definition: Mapping[str, object] | None = None,
    description: str = "",
    changed: Sequence[str] = (),
    **options: Any,
) -> Results:
    """Trains every run of a sweep that is not stored in `workdir` yet, and returns the sweep's results.

    Stopped at any moment, by Ctrl-C, `kill` or a crash, the same call goes on where it was.

    Args:
      base: the experiment that the sweep's points override.
      sweep: the points.
      workdir: directory of the results, or its URI; made if it does not exist.
      name: what the sweep is called; a workdir holds one sweep.
      definition: default metric, below, threshold, budget, gap for its diagrams (`sweeps.Definition`).
      description: one line that is kept with the sweep.
      changed: fields that are not as the description says: captions tell their values after it.
      **options: see `Options`.

    Raises:
      FieldError: something in the input is not allowed; nothing was written or compiled.
      sweeps.storage.store.StoreError: results cannot be written.
    """
    _check_definitions(workdir, definition)
    said = {"name": name, "definition": definition or {}, "description": description, "changed": changed}
    held = Workdir.at(workdir)
    return Results(held, *launch.launch(base, sweep, held, said, options))


def foresee(
    base: Experiment,
    sweep: Sweep,
    workdir: Where,
    *,
    name: str = "sweep",
    definition: Mapping[str, object] | None = None,
    **options: Any,
) -> tuple[Plan, Prediction]:
    """The plan of a sweep and what it will cost; arguments and errors are those of `run`.

    Trains nothing of it and leaves nothing in the workdir.
    """
    _check_definitions(workdir, definition)
    return launch.foresee(base, sweep, workdir, name=name, **options)


def _check_definitions(workdir: Where, definition: object) -> None:
    """FieldError where the definition that is given, or that the workdir holds, is none, or the workdir cannot be."""
    check_definition(definition or {})
    held = Workdir.at(workdir)
    held.check_place()
    check_held(held, held.read_specification() or {})
