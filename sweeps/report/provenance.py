"""Where the runs of a picture come from, as its caption and page say it."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from sweeps.storage.runs import Runs

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "replay.py"
VERSIONS = "jaxgen", "jax", "jaxlib", "numpy", "device_kind"


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What a workdir says of its sweep.

    Attributes:
      name, description: of the sweep.
      fields: the base experiment, by dotted path.
      changed: paths in which the description may not hold.
      planned: runs of the sweep.
      launches: of each what was installed, the device, the command and its times.
      unread: files of launches that cannot be read.
      replay: what trains a run again, for a shell in any directory, up to the run_id.
    """

    name: str
    description: str
    fields: Mapping[str, object]
    changed: Sequence[str]
    planned: int
    launches: Sequence[Mapping[str, object]]
    unread: Sequence[str]
    replay: str

    @classmethod
    def of(cls, results: Runs) -> Self:
        """That of a workdir's runs."""
        held = results.specification
        name, description = (str(held.get(key) or "") for key in ("name", "description"))
        base = held.get("fields", {}), held.get("changed", [])
        told = held.get("launches") or [], held.get("unread") or []
        return cls(name, description, *base, held.get("runs", 0), *told, replay_command(results, ""))

    def unfinished(self, results: Runs) -> str:
        """How many of the sweep's runs are stored where some are not; else empty."""
        stored = len(results.run_ids or ())
        return f"{stored} of the sweep's {self.planned} runs are stored" if stored < self.planned else ""

    @property
    def versions(self) -> str:
        """What the last launch trained with, and on."""
        last = self.launches[-1] if self.launches else {}
        known = ", ".join(f"{name} {last[name]}" for name in VERSIONS if name in last) or "unknown versions"
        return f"{known} ({', '.join(self.unread)} of its launches cannot be read)" if self.unread else known


def replay_command(results: Runs, run_id: str) -> str:
    """What trains a run of `sweeps.Results` again, for a shell in any directory; the run_id stands last."""
    files = [("sweep", str(Path(file).absolute())) for file in results.specification.get("sources", [])]
    said = [f"--{name}={shlex.quote(file)}" for name, file in (("workdir", str(results.workdir.absolute())), *files)]
    program = shlex.quote(str(SCRIPT)) if SCRIPT.is_file() else "-m sweeps replay"  # as `pip install .` has it
    return " ".join(["python", program, *said, f"--run_id={run_id}"])
