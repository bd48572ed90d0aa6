"""Training a stored run again, to see that it is what its record says."""

import json
import math
from typing import Any

import jax

from jaxgen import Experiment, FieldError, starts
from jaxgen.kernel import Block, Program, Result
from jaxgen.starts import parent
from sweeps.execution import stages
from sweeps.execution.profile import set_up_jax
from sweeps.storage import store, weights
from sweeps.storage.specification import environment
from sweeps.storage.workdir import Where, Workdir


def replay(workdir: Where, run_id: str) -> tuple[list[str], list[str]]:
    """Trains a run alone in the program that its provenance names.

    Returns:
      The names of what differs from the store in any bit (curves, steps, status, checksum of the final parameters), and
      notes on what is not as it was then (versions, device).

    Raises:
      FieldError: there is no such run, or no sweep.
    """
    held = Workdir.at(workdir)
    if held.read_specification() is None:
        raise FieldError("workdir", str(workdir), "holds no sweep: give the directory that the run is stored in")
    set_up_jax()
    result, stored = _again(held, run_id)
    made_by, device = json.loads(stored["provenance"]), jax.local_devices()[0]
    again = store.table([(result, "")]).to_pylist()[0]
    compared = [name for name in again | stored if name != "provenance"]
    differences = [name for name in compared if not _same(again.get(name), stored.get(name))]
    now = environment(device)
    notes = [f"{name} was {made_by.get(name)}, is {now[name]}" for name in now if made_by.get(name) != now[name]]
    return differences, notes


def _again(workdir: Workdir, run_id: str, keep: bool = False) -> tuple[Result, dict[str, Any]]:
    """A stored run trained anew, after its parent if what that ended with is gone; and what is stored of it."""
    row = store.read(workdir, run_ids={run_id}).to_pylist()
    if not row:
        stored = len(store.read(workdir, ["run_id"]))
        raise FieldError("run_id", run_id, f"is not among the {stored} runs stored in {workdir}")
    experiment = Experiment.from_json(row[0]["experiment"])
    program = Program(experiment, json.loads(row[0]["provenance"])["width"])
    first, folder = parent(experiment), workdir.parents
    if first is None or first.run_id in weights.run_ids(folder):
        given = stages.given(workdir, program, experiment)
    else:
        ended = _again(folder, first.run_id, keep=True)[0].ended_with or {}
        given = starts.given(experiment, program.given, ended)
    block = Block(program, jax.local_devices()[0], keep)
    block.assign(0, run_id, experiment, given)
    finished: list[Result] = []
    while not finished:
        block.launch(16)
        finished = block.harvest()
    return finished[0], row[0]


def _same(a: object, b: object) -> bool:
    """Whether two stored values are equal; NaN equals NaN, and -0 is not 0."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))
    return a == b
