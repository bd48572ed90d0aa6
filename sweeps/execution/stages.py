"""Runs that others start from: found in a plan, each once, and kept in a workdir of their own within the sweep's."""

import dataclasses
from collections.abc import Iterator

from jaxgen import Experiment, starts
from jaxgen.kernel import Program
from jaxgen.kinds import Given
from jaxgen.starts import parent
from sweeps.axes.algebra import Points
from sweeps.execution.plan import Plan, make_plan
from sweeps.storage import weights
from sweeps.storage.store import StoreError
from sweeps.storage.workdir import Workdir

PARTS = [field.name for field in dataclasses.fields(Experiment)]


def in_order(plan: Plan, max_compiles: int) -> Plan:
    """The plan, with that of the runs that its runs start from, each once, and so on.

    Raises:
      FieldError: as `make_plan`.
    """
    found: dict[str, Experiment] = {}
    for group in plan.groups:
        if parent(group.template) is not None:
            for run_id, index in group.pending:
                if (first := parent(plan.experiment(index))) is not None:
                    plan.starts_from[run_id] = first.run_id
                    found.setdefault(first.run_id, first)
    if found:
        plan.first = in_order(_planned(list(found.values()), max_compiles), max_compiles)
    return plan


def levels(plan: Plan, workdir: Workdir) -> Iterator[tuple[Plan, Workdir]]:
    """A plan with its workdir, then that of the runs that its runs start from, and so on."""
    yield plan, workdir
    if plan.first is not None:
        yield from levels(plan.first, workdir.parents)


def _planned(runs: list[Experiment], max_compiles: int) -> Plan:
    points = Points(tuple(PARTS), tuple(tuple(getattr(run, name) for name in PARTS) for run in runs))
    return make_plan(runs[0], points, max_compiles)


def given(workdir: Workdir, program: Program, experiment: Experiment) -> Given:
    """What a run of a program starts with: nothing but its seed, or what the run that it starts from ended with.

    Raises:
      StoreError: that is not stored.
      FieldError: it is of other shapes.
    """
    first = parent(experiment)
    if first is None:
        return {}
    stored = weights.load(workdir.parents, first.run_id)
    if stored is None:
        why = f"has nothing of the run {first.run_id}: launch the sweep again to train it"
        raise StoreError(f"{workdir.parents.weights} {why}")
    return starts.given(experiment, program.given, stored)
