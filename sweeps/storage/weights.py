"""What runs ended with, for others to start from: a file for each, named by its run and its content."""

import io
from collections.abc import Mapping, Set

import numpy as np

from sweeps.storage.files import digest, intact, listed, write_bytes
from sweeps.storage.objects import Place
from sweeps.storage.workdir import Workdir


def save(workdir: Workdir, run_id: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays by name; the file appears only when it is complete."""
    workdir.weights.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    content = buffer.getvalue()
    write_bytes(workdir.weights / f"{run_id}-{digest(content)}.npz", content)


def run_ids(workdir: Workdir, among: Set[str] | None = None) -> set[str]:
    """The runs, of all or among these, whose weights are held in files whose content is what their name says."""
    there = ((path.stem.partition("-")[0], path) for path in listed(workdir.weights, "*-*.npz"))
    return {run_id for run_id, path in there if (among is None or run_id in among) and intact(path)}


def set_damaged_aside(workdir: Workdir) -> list[Place]:
    """Moves files whose content is not what their name says to `damaged/`; leaves them where others write them too."""
    if workdir.owner is not None:
        return []
    moved = damaged(workdir)
    for path in moved:
        workdir.set_aside(path)
    return moved


def damaged(workdir: Workdir) -> list[Place]:
    """The files whose content is not what their name says."""
    return [path for path in listed(workdir.weights, "*-*.npz") if not intact(path)]


def load(workdir: Workdir, run_id: str) -> dict[str, np.ndarray] | None:
    """The arrays of a run; None where there are none."""
    for path in listed(workdir.weights, f"{run_id}-*.npz"):
        if intact(path):
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    return None
