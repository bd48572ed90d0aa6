"""Training a stored run again, to see that it is what its record says."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import pyarrow as pa

from jaxgen import Experiment, FieldError
from jaxgen.kernel import Block, Program, Result
from sweeps import stages, store
from sweeps.profile import set_up_jax
from sweeps.workdir import environment, read_specification


def replay(workdir: str | Path, run_id: str) -> tuple[list[str], list[str]]:
    """Trains a run alone in the program that its provenance names.

    Returns:
      The names of what differs from the store in any bit (curves, steps, status, checksum of the final parameters), and
      notes on what is not as it was then (versions, device).

    Raises:
      FieldError: there is no such run, or no sweep.
    """
    if read_specification(Path(workdir)) is None:
        raise FieldError("workdir", str(workdir), "holds no sweep: give the directory that the run is stored in")
    table = store.read(Path(workdir))
    row = table.filter(pa.compute.equal(table["run_id"], run_id)).to_pylist()
    if not row:
        raise FieldError("run_id", run_id, f"is not among the {len(table)} runs stored in {workdir}")
    stored, made_by = row[0], json.loads(row[0]["provenance"])
    set_up_jax()
    experiment, device = Experiment.from_json(stored["experiment"]), jax.local_devices()[0]
    program = Program(experiment, made_by["width"])
    block = Block(program, device)
    block.assign(0, run_id, experiment, stages.given(Path(workdir), program, experiment))
    finished: list[Result] = []
    while not finished:
        block.launch(16)
        finished = block.harvest()
    again = store.table([(finished[0], "")]).to_pylist()[0]
    compared = [name for name in again | stored if name != "provenance"]
    differences = [name for name in compared if not _same(again.get(name), stored.get(name))]
    now = environment(device)
    notes = [f"{name} was {made_by.get(name)}, is {now[name]}" for name in now if made_by.get(name) != now[name]]
    return differences, notes


def _same(a: Any, b: Any) -> bool:
    """Whether two stored values are equal; NaN equals NaN, and -0 is not 0."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))
    return a == b
