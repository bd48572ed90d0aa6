"""What runs ended with, for others to start from: a file for each in `weights/`, named by its run and its content."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sweeps.storage.files import digest, intact, set_aside, write_atomically


def save(workdir: Path, run_id: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays by name; the file appears only when it is complete."""
    folder = workdir / "weights"
    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    content = buffer.getvalue()
    path = folder / f"{run_id}-{digest(content)}.npz"
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def run_ids(workdir: Path) -> set[str]:
    """The runs whose weights a workdir holds, in files whose content is what their name says."""
    return {path.stem.partition("-")[0] for path in (workdir / "weights").glob("*-*.npz") if intact(path)}


def set_damaged_aside(workdir: Path) -> list[Path]:
    """Moves files whose content is not what their name says to `damaged/`."""
    moved = [path for path in sorted((workdir / "weights").glob("*-*.npz")) if not intact(path)]
    for path in moved:
        set_aside(workdir, path)
    return moved


def load(workdir: Path, run_id: str) -> dict[str, np.ndarray] | None:
    """The arrays of a run; None where there are none."""
    for path in sorted((workdir / "weights").glob(f"{run_id}-*.npz")):
        if intact(path):
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    return None
