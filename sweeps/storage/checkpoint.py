"""Lanes in mid-training on disk: what `kill -9` would otherwise lose of long runs.

One file per block, replaced atomically: what it is, a SHA-256 of all that follows, and in numpy's format the device
state of its lanes as raw bytes and the curves so far. Where a workdir has an owner, its share's files bear the name of
the share, and of the attempt that writes them: the next attempt goes on from them, wherever it runs.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen import Experiment
from jaxgen.kernel import Assignment, Block, Program, Status
from jaxgen.kinds import Given
from sweeps.storage.errors import TryAgain
from sweeps.storage.files import listed, read_bytes, write_bytes
from sweeps.storage.objects import Object, Place
from sweeps.storage.workdir import Workdir

Described = dict[str, Any]  # a lane's {"run_id", "step", "fields"}, as JSON
MAGIC = b"jaxgen block 1\n"


def save(path: Place, block: Block, program: str) -> None:
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
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, b"".join([MAGIC, hashlib.sha256(content).digest(), content]))


def _described(lane: Assignment) -> Described:
    return {"run_id": lane.run_id, "step": lane.step, "fields": lane.experiment.flat()}


@dataclasses.dataclass(frozen=True)
class Saved:
    """A block as it was saved.

    Attributes:
      path: its file.
      program: what trains it.
      lanes: the run of each lane, {"run_id", "step", "fields"}, or None.
      arrays: device state and curves.
    """

    path: Place
    program: str
    lanes: list[Described | None]
    arrays: dict[str, np.ndarray]

    @property
    def run_ids(self) -> set[str]:
        """The runs in mid-training."""
        return {lane["run_id"] for lane in self.lanes if lane is not None}


def new(workdir: Workdir) -> Place:
    """A file for a block that has none yet."""
    name = uuid.uuid4().hex if workdir.owner is None else f"{workdir.owner}-{uuid.uuid4().hex}"
    return workdir.inflight / f"{name}.block"


def adopt(workdir: Workdir, saved: Saved) -> Place:
    """The file in which a saved block goes on: a new one where another attempt at the share may still write this."""
    if workdir.owner is None:
        return saved.path
    path = new(workdir)
    with contextlib.suppress(FileNotFoundError):  # the other attempt has trained its runs to their ends
        write_bytes(path, read_bytes(saved.path))
        saved.path.unlink(missing_ok=True)
    return path


def files(workdir: Workdir, pattern: str = "*.block") -> list[Place]:
    """The files of saved blocks of a workdir, where it has an owner those of its share."""
    return listed(workdir.inflight, pattern if workdir.owner is None else f"{workdir.owner.share}-{pattern}")


def load(workdir: Workdir) -> list[Saved]:
    """The blocks in `files`; those that cannot be read are passed over."""
    return [saved for path in files(workdir) if (saved := _read(path)) is not None]


def running(workdir: Workdir) -> list[Described]:
    """The runs that were in training when blocks were last saved: run_id, step, fields. Safe beside a running sweep."""
    return [lane for saved in load(workdir) for lane in saved.lanes if lane is not None]


def set_damaged_aside(workdir: Workdir) -> list[Place]:
    """Moves what is no block from where blocks are saved, as `files` says, to `damaged/`; its runs start anew."""
    moved = damaged(workdir)
    for path in moved:
        workdir.set_aside(path)
    return moved


def damaged(workdir: Workdir) -> list[Place]:
    """What is no block where blocks are saved."""
    folder = workdir.inflight
    there = os.path.lexists(folder) if isinstance(folder, Path) else folder.exists()
    found = [folder] if there and not folder.is_dir() else files(workdir, "*")
    return [path for path in found if path.suffix != ".block" or _read(path) is None]


def clear(workdir: Workdir) -> None:
    """Removes the blocks in `files`: their runs are stored."""
    for path in files(workdir):
        path.unlink(missing_ok=True)


def _read(path: Place) -> Saved | None:
    """What `save` wrote; None for anything else, be it another in a single bit."""
    try:
        with np.load(io.BytesIO(_content(path)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        saved = Saved(path, header["program"], header["lanes"], arrays)
        lanes = [(lane["run_id"], lane["step"], lane["fields"]) for lane in saved.lanes if lane is not None]
        kinds = [tuple(map(type, lane)) for lane in lanes]
    except TryAgain:
        raise
    except Exception:  # bytes that others wrote may raise anything
        return None
    return saved if all(kind == (str, int, dict) for kind in kinds) else None


def _content(path: Place) -> bytes:
    if not path.is_file():
        raise ValueError("it is a directory, or something that may never end")
    with io.BytesIO(read_bytes(path)) if isinstance(path, Object) else path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it is no block")
        digest, content = file.read(hashlib.sha256().digest_size), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("it is damaged")
    return content


def fits(saved: Saved, program: Program) -> bool:
    """Whether a block has as many lanes as its program, device state of its shapes, and the curves of its probes."""
    shapes = {f"carry/{i}": shape for i, shape in enumerate(jax.tree.leaves(program.shapes()[-1]))}
    state = {name: a for name, a in saved.arrays.items() if not name.startswith("curve/")}
    if len(saved.lanes) != program.width or state.keys() != shapes.keys():
        return False
    if any(a.nbytes != math.prod(shapes[name].shape) * shapes[name].dtype.itemsize for name, a in state.items()):
        return False
    kinds = {"step": ("i", ()), **{name: ("f", shape) for name, shape in program.probes.items()}}
    for index, lane in enumerate(saved.lanes):
        curves = _curves(saved, index)
        if curves and {name: (a.dtype.kind, a.shape[1:]) for name, a in curves.items()} != kinds:
            return False
        lengths = {len(a) if a.ndim else 0 for a in curves.values()}
        if 0 in lengths or len(lengths) > 1:
            return False
        if lane is not None and lane["step"] != (curves["step"][-1] if curves else 0):
            return False
    return True


def restore(saved: Saved, block: Block, pending: dict[str, Experiment], given: Callable[[Experiment], Given]) -> None:
    """Has a block of the saved one's program go on where that one was.

    Args:
      saved: the saved block; it `fits` the program.
      block: of that program, empty.
      pending: experiments by run_id; those that the block has are taken out, its other lanes are free.
      given: what an experiment starts with.
    """
    shapes, tree = jax.tree.flatten(block.program.shapes()[-1])
    buffers = [saved.arrays[f"carry/{i}"].tobytes() for i in range(len(shapes))]
    carry = jax.tree.unflatten(tree, [np.frombuffer(b, s.dtype).reshape(s.shape) for b, s in zip(buffers, shapes)])
    status = carry.status.copy()
    for index, lane in enumerate(saved.lanes):
        experiment = pending.pop(lane["run_id"], None) if lane is not None else None
        if lane is None or experiment is None:
            status[index] = Status.IDLE
            continue
        curves = _curves(saved, index)
        pieces = [curves] if curves else []
        block.assign(index, lane["run_id"], experiment, given(experiment), lane["step"], pieces)
    block.restore(carry.replace(status=status))


def _curves(saved: Saved, index: int) -> dict[str, np.ndarray]:
    prefix = f"curve/{index}/"
    return {name.removeprefix(prefix): a for name, a in saved.arrays.items() if name.startswith(prefix)}
