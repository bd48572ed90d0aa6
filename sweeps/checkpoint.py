"""Lanes in mid-training on disk: what `kill -9` would otherwise lose of long runs.

One file per block, replaced atomically: the device state of its lanes as raw bytes, and the curves so far.
"""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np

from jaxgen.kernel import Block, Program, Status
from sweeps.files import write_atomically


def save(path: Path, block: Block, program: str) -> None:
    """Writes a block between a harvest and its next launch; `program` names what trains it."""
    carry, lanes = block.snapshot()
    arrays: dict[str, Any] = {}
    for i, leaf in enumerate(jax.tree.leaves(carry)):
        arrays[f"carry/{i}"] = np.frombuffer(np.asarray(leaf).tobytes(), np.uint8)
    header: dict[str, Any] = {"program": program, "lanes": []}
    for index, lane in enumerate(lanes):
        header["lanes"].append(None if lane is None else _described(lane))
        if lane is not None and lane.pieces:
            for name in lane.pieces[0]:
                arrays[f"curve/{index}/{name}"] = np.concatenate([p[name] for p in lane.pieces])
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)

    write_atomically(path, write)


def _described(lane: Any) -> dict[str, Any]:
    return {"run_id": lane.run_id, "step": lane.step, "fields": lane.experiment.flat()}


def running(folder: Path) -> list[dict[str, Any]]:
    """The runs that were in training when blocks were last saved: run_id, step, fields. Safe beside a running sweep."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        unreadable = contextlib.suppress(OSError, ValueError, KeyError, BadZipFile, EOFError)
        with unreadable, np.load(path, allow_pickle=False) as file:
            found += [lane for lane in json.loads(file["header"].tobytes())["lanes"] if lane is not None]
    return found


@dataclasses.dataclass(frozen=True)
class Saved:
    """A block as it was saved.

    Attributes:
      path: its file.
      program: what trains it.
      lanes: the run of each lane, {"run_id", "step", "fields"}, or None.
      arrays: device state and curves.
    """

    path: Path
    program: str
    lanes: list[dict[str, Any] | None]
    arrays: dict[str, np.ndarray]

    @property
    def run_ids(self) -> set[str]:
        """The runs in mid-training."""
        return {lane["run_id"] for lane in self.lanes if lane is not None}


def load(folder: Path) -> list[Saved]:
    """The saved blocks of a workdir; files that cannot be read are removed (their runs start anew)."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(arrays.pop("header").tobytes())
            found.append(Saved(path, header["program"], header["lanes"], arrays))
        except (OSError, ValueError, KeyError, BadZipFile, EOFError):
            path.unlink(missing_ok=True)
    return found


def restore(saved: Saved, program: Program, device: Any, pending: dict[str, Any]) -> Block:
    """A block that goes on where the saved one was.

    Args:
      saved: the saved block.
      program: the program of that name.
      device: where to go on.
      pending: experiments by run_id; those that the block has are taken out, its other lanes are free.
    """
    shapes, tree = jax.tree.flatten(program.shapes()[-1])
    buffers = [saved.arrays[f"carry/{i}"].tobytes() for i in range(len(shapes))]
    carry = jax.tree.unflatten(tree, [np.frombuffer(b, s.dtype).reshape(s.shape) for b, s in zip(buffers, shapes)])
    block, status = Block(program, device), carry.status.copy()
    for index, lane in enumerate(saved.lanes):
        experiment = pending.pop(lane["run_id"], None) if lane is not None else None
        if lane is None or experiment is None:
            status[index] = Status.IDLE
            continue
        prefix = f"curve/{index}/"
        curves = {name.removeprefix(prefix): a for name, a in saved.arrays.items() if name.startswith(prefix)}
        block.assign(index, lane["run_id"], experiment, lane["step"], [curves] if curves else [])
    block.restore(carry.replace(status=status))
    return block
