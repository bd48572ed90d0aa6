"""The files of a batch, and writing them."""

import itertools
from pathlib import Path

from jaxgen import FieldError
from sweeps.batch import gcloud, gke, image, slurm
from sweeps.batch.request import MARK, Batch
from sweeps.storage.files import write_text


def contents(batch: Batch) -> dict[str, str]:
    """The text of each file that a batch needs, by name."""
    if batch.target == "gke":
        found = dict([gke.manifest(batch)])
    elif batch.target == "slurm":
        found = {"array.sh": slurm.array(batch)}
    else:
        found = gcloud.scripts(batch)
    return found if batch.image is None else {**found, "Dockerfile": image.dockerfile(batch)}


def write(batch: Batch, folder: Path) -> list[Path]:
    """Writes them, each at once or not at all; the paths.

    Raises:
      FieldError: one would take the place of a file that is not of a batch; nothing is written then.
    """
    found = {folder / name: text for name, text in contents(batch).items()}
    for path in found:
        if path.is_symlink() or (path.exists() and not _is_ours(path)):
            raise FieldError("out", str(folder), f"{path} is no file of a batch: move it, or give another directory")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in found.items():
        write_text(path, text)
    return list(found)


def _is_ours(path: Path) -> bool:
    """Whether a file begins as those that `write` leaves."""
    if not path.is_file():
        return False
    with path.open(errors="replace") as file:
        return any(line.startswith(f"# {MARK}") for line in itertools.islice(file, 2))
