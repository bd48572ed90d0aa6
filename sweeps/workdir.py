"""A sweep's directory: one process at a time writes to it, and it knows which sweep it holds.

sweep.json   name, base experiment, axes, definitions, launches with versions and devices
runs/        the result set (`sweeps.store`)
inflight/    lanes in mid-training (`sweeps.checkpoint`)
profile.json measured widths (`sweeps.profile`)
damaged/     shards that could not be read
"""

import contextlib
import datetime
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

import jaxgen
from jaxgen import Experiment, FieldError, training
from sweeps.files import write_text
from sweeps.spec import Sweep

SCHEMA = 1
LISTED = 1000  # values of an axis that are written out


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the directory for this process; it is made if it does not exist.

    Raises:
      FieldError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FieldError("workdir", str(workdir), f"is in use by process {file.read().strip() or '?'}") from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def read_specification(workdir: Path) -> dict[str, Any] | None:
    """What `sweep.json` says; None where there is none yet.

    Raises:
      FieldError: it is of a newer schema, or is not readable.
    """
    try:
        found = json.loads((workdir / "sweep.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise FieldError("workdir", str(workdir), f"its sweep.json cannot be read: {error}") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        why = f"was written with schema {schema}, this version reads {SCHEMA}: update jaxgen"
        raise FieldError("workdir", str(workdir), why)
    kinds = {"name": str, "fields": dict, "axes": dict, "definition": dict, "launches": list}
    for key, kind in kinds.items():
        if schema != SCHEMA or not isinstance(found.get(key), kind):
            raise FieldError("workdir", str(workdir), f"its sweep.json is damaged ({key}): use another directory")
    return found


def check_same(workdir: Path, name: str, base: Experiment, sweep: Sweep) -> None:
    """Refuses a directory of another sweep: another name, or a base that differs in a field that neither sweeps over.

    Raises:
      FieldError: what differs, and what to do.
    """
    where = workdir.resolve()
    if where == Path.cwd() or any(where in (place, *place.parents) for place in _places()):
        raise FieldError("workdir", str(workdir), f"must be a directory of its own, not {where}")
    held = read_specification(workdir)
    if held is None:
        if workdir.exists() and not workdir.is_dir():
            raise FieldError("workdir", str(workdir), "is a file: it must be a directory")
        return
    if held["name"] != name:
        raise FieldError(
            "workdir", str(workdir), f"holds the sweep {held['name']!r}, not {name!r}: use another directory"
        )
    free = {*sweep.axes, *held["axes"], "seed", "split_seed"}
    old, new = (_without_fingerprints(f) for f in (held["fields"], json.loads(json.dumps(base.flat()))))
    for path in sorted(old.keys() | new.keys()):
        if path not in free and path.split(".")[0] not in free and old.get(path) != new.get(path):
            why = f"holds a sweep with {path} = {old.get(path)!r}, not {new.get(path)!r}"
            raise FieldError("workdir", str(workdir), f"{why}: use another directory, or sweep over it")


def write_specification(
    workdir: Path, name: str, base: Experiment, sweep: Sweep, definition: dict[str, Any], description: str = ""
) -> None:
    """Writes `sweep.json`: the specification as it is now, and one more entry in the list of launches."""
    held = read_specification(workdir) or {}
    launch = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        **environment(jax.local_devices()[0]),
        "devices": len(jax.local_devices()),
    }
    data = {
        "schema": SCHEMA,
        "name": name,
        "description": description,
        "base": base.to_dict(),
        "fields": base.flat(),
        "axes": {path: _summary(values) for path, values in sweep.axes.items()},
        "runs": len(sweep),
        "definition": definition,
        "launches": [*held.get("launches", []), launch],
    }
    write_text(workdir / "sweep.json", json.dumps(data, indent=1))


def finish_launch(workdir: Path, facts: dict[str, Any]) -> None:
    """Adds to the last launch in `sweep.json` what it did."""
    held = read_specification(workdir)
    if held and held["launches"]:
        held["launches"][-1] |= facts
        write_text(workdir / "sweep.json", json.dumps(held, indent=1))


def environment(device: Any) -> dict[str, str]:
    """Versions, device and flags that decide a run's bits."""
    return {
        "jaxgen": jaxgen.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "platform": device.platform,
        "device_kind": device.device_kind,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "compiler_options": ", ".join(f"{k}={v}" for k, v in training.compiler_options().items()),
    }


def _places() -> list[Path]:
    """Directories that hold other things, as their parents do: the project and the user's home."""
    return [Path(jaxgen.__file__).resolve().parents[1], Path.home().resolve()]


def _without_fingerprints(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the names of users' types alone: an edited component is still the same sweep."""
    return {k: v.partition("#")[0] if k.endswith(".type") and isinstance(v, str) else v for k, v in fields.items()}


def _summary(values: list) -> Any:
    if len(values) > LISTED:
        return {"values": len(values), "first": _text(values[0]), "last": _text(values[-1])}
    return [_text(v) for v in values]


def _text(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else repr(value).replace("\n", " ")
