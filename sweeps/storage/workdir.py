"""A sweep's directory: one process at a time writes to it, and it knows which sweep it holds.

sweep.json   name, base experiment, sweep, axes, definitions, widths, the user's own files, launches with their versions
runs/        the result set (`sweeps.storage.store`)
inflight/    lanes in mid-training (`sweeps.storage.checkpoint`)
damaged/     shards and lanes that could not be read
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

import jaxgen
from jaxgen import Experiment, FieldError, training
from jaxgen.components import type_name
from sweeps.axes.sweep import Sweep, used
from sweeps.storage.files import clear_temporaries, write_text

SCHEMA = 2
LISTED = 1000  # values of an axis that are written out
WRITTEN = 10_000  # values of a sweep that are
FOLDERS = "runs", "inflight", "damaged", "weights", "parents"


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the directory for this process; it is made if it does not exist, and rid of what killed writers left.

    Raises:
      FieldError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / "lock", "a+", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FieldError("workdir", str(workdir), f"is in use by process {file.read().strip() or '?'}") from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        for folder in (workdir, *(workdir / name for name in FOLDERS)):
            clear_temporaries(folder)
        yield


def read_specification(workdir: Path) -> dict[str, Any] | None:
    """What `sweep.json` says; None where there is none yet.

    Raises:
      FieldError: it is of a newer schema, or damaged.
    """
    path = workdir / "sweep.json"
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        found = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(found, ensure_ascii=False, indent=1).encode()  # raises where it could not be written again
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise _unusable(path, f"cannot be read ({error})") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if type(schema) is int and schema != SCHEMA and 0 < schema < 2**31:
        rest = "update jaxgen" if schema > SCHEMA else "use the jaxgen that wrote it, or another workdir"
        raise FieldError("workdir", str(workdir), f"has schema {schema}, this version reads {SCHEMA}: {rest}")
    damage = _damage(found) if schema == SCHEMA else "schema"
    if damage:
        raise damaged(workdir, damage)
    return found


def damaged(workdir: Path, part: str) -> FieldError:
    """The error that a part of `sweep.json` is not what was written."""
    return _unusable(workdir / "sweep.json", f"is damaged ({part})")


def _unusable(path: Path, why: str) -> FieldError:
    remedy = f"the stored runs do not need it, move {path} away and launch again"
    return FieldError("workdir", str(path.parent), f"its {path.name} {why}: {remedy}")


def _damage(held: dict[str, Any]) -> str:
    """The first part of a specification that `write_specification` has not written so; empty where all is well."""
    kinds = {"name": str, "fields": dict, "axes": dict, "definition": dict, "launches": list}
    for key, kind in kinds.items():
        if not isinstance(held.get(key), kind):
            return key
    axes = [[v.get("first"), v.get("last")] if isinstance(v, dict) else v for v in held["axes"].values()]
    runs, launches = held.get("runs", 0), held["launches"]
    sound = {
        "name": bool(held["name"]),
        "sources": _are_texts(held.get("sources", [])),
        "changed": _are_texts(held.get("changed", [])),
        "description": isinstance(held.get("description", ""), str),
        "axes": all(isinstance(values, list) and values and all(map(_is_value, values)) for values in axes),
        "sweep": isinstance(held.get("sweep", {}), dict),
        "runs": isinstance(runs, int) and 0 <= runs < 2**63,
        "launches": all(isinstance(one, dict) and isinstance(one.get("command", []), list) for one in launches),
    }
    return next((key for key, well in sound.items() if not well), "")


def _is_value(value: Any) -> bool:
    """Whether it can stand on an axis: a text, a truth value, None, or a number that 64 bits hold."""
    if isinstance(value, int):
        return abs(value) < 2**63
    return value is None or isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def check_same(workdir: Path, name: str, base: Experiment, sweep: Sweep) -> None:
    """Refuses a directory of another sweep: another name, or a base that differs in a field that neither sweeps over.

    Raises:
      FieldError: what differs, or cannot be written, and what to do.
    """
    check_place(workdir)
    held = read_specification(workdir)
    if held is None:
        return
    if held["name"] != name:
        raise FieldError(
            "workdir", str(workdir), f"holds the sweep {held['name']!r}, not {name!r}: use another directory"
        )
    free = {*sweep.axes, *held["axes"], "seed", "split_seed"}
    old, new = (_without_fingerprints(f) for f in (held["fields"], json.loads(json.dumps(base.flat()))))
    for path in sorted(old.keys() | new.keys()):
        swept = any(path == axis or path.startswith(f"{axis}.") for axis in free)
        if not swept and old.get(path) != new.get(path):
            why = f"holds a sweep with {path} = {old.get(path)!r}, not {new.get(path)!r}"
            raise FieldError("workdir", str(workdir), f"{why}: use another directory, or sweep over it")


def check_place(workdir: Path) -> None:
    """Refuses a place that holds other things, or where a sweep cannot be written; trying that leaves nothing there.

    Raises:
      FieldError: which path, and what to do.
    """
    where = workdir.resolve()
    if where == Path.cwd() or any(where in (place, *place.parents) for place in _places()):
        raise FieldError("workdir", str(workdir), f"must be a directory of its own, not {where}")
    if os.path.lexists(workdir) and not os.path.isdir(workdir):
        raise FieldError("workdir", str(workdir), "is a file: it must be a directory")
    for name, kind in (("lock", "file"), ("runs", "directory"), ("damaged", "directory")):
        path = workdir / name
        if os.path.lexists(path) and not (os.path.isfile if kind == "file" else os.path.isdir)(path):
            raise FieldError("workdir", str(workdir), f"its {name} must be a {kind}: move {path} away")
    folders = [folder for folder in (workdir, *(workdir / name for name in FOLDERS)) if os.path.isdir(folder)]
    tried = workdir
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat(workdir)
        for tried in folders or [next(place for place in where.parents if os.path.exists(place))]:
            os.rmdir(tempfile.mkdtemp(prefix=".", dir=tried))
        tried = workdir / "lock"
        if tried.exists():
            open(tried, "a+").close()
    except OSError as error:
        why = f"{tried} cannot be written ({error.strerror}): use another directory"
        raise FieldError("workdir", str(workdir), why) from None


def write_specification(
    workdir: Path,
    name: str,
    base: Experiment,
    sweep: Sweep,
    definition: dict[str, Any],
    description: str = "",
    changed: Sequence[str] = (),
) -> None:
    """Writes `sweep.json`: the specification as it is now, and one more entry in the list of launches."""
    held = read_specification(workdir) or {}
    launch = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        **environment(jax.local_devices()[0]),
        "devices": len(jax.local_devices()),
        **{name: len(sweep.axes.get(path, [None])) for name, path in (("seeds", "seed"), ("splits", "split_seed"))},
        "runs": len(sweep),
    }
    data = {
        "schema": SCHEMA,
        "name": name,
        "description": description,
        "changed": list(dict.fromkeys([*held.get("changed", []), *changed])),
        "base": base.to_dict(),
        "fields": base.flat(),
        "axes": {path: _summary(values) for path, values in sweep.axes.items()},
        "sources": _sources(base, sweep, held.get("sources", [])),
        **({"sweep": sweep.to_dict()} if sweep.entries <= WRITTEN else {}),
        "runs": len(sweep),
        "definition": definition,
        "widths": held.get("widths", {}),
        "launches": [*held.get("launches", []), launch],
    }
    write_text(workdir / "sweep.json", json.dumps(data, indent=1))


def finish_launch(workdir: Path, facts: dict[str, Any]) -> None:
    """Adds to the last launch in `sweep.json` what it did."""
    held = read_specification(workdir)
    if held and held["launches"]:
        held["launches"][-1] |= facts
        write_text(workdir / "sweep.json", json.dumps(held, indent=1))


def written_widths(workdir: Path) -> dict[str, dict[str, Any]]:
    """The lanes of each program that `sweep.json` says (see `sweeps.execution.widths`).

    Raises:
      FieldError: they are not what was written.
    """
    found = (read_specification(workdir) or {}).get("widths", {})
    for width in found.values() if isinstance(found, dict) else [found]:
        lanes = width.get("lanes") if isinstance(width, dict) else None
        if not isinstance(lanes, int) or isinstance(lanes, bool) or lanes < 1:
            raise FieldError("workdir", str(workdir), f"its sweep.json is damaged (widths: {width!r})")
    return found


def write_widths(workdir: Path, widths: dict[str, dict[str, Any]]) -> None:
    """Notes in `sweep.json` how many lanes each program has."""
    held = read_specification(workdir)
    if held and held.get("widths") != widths:
        write_text(workdir / "sweep.json", json.dumps({**held, "widths": widths}, indent=1))


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


def _sources(base: Experiment, sweep: Sweep, held: list[str]) -> list[str]:
    """The files to load before runs can be read again: those that define the user's own components, or import them."""
    parts = map(type, used(base, sweep))
    own = [cls for cls in dict.fromkeys(parts) if dataclasses.is_dataclass(cls) and "#" in type_name(cls)]
    known = [file for file in held if os.path.isfile(file)]
    return list(dict.fromkeys(file for file in (*known, *map(_source, own)) if file))


def _source(cls: type) -> str | None:
    """The file that was given to `--sweep` and has the class or its module, else the class's own."""
    module = sys.modules.get(cls.__module__)
    given = [m for name, m in sys.modules.items() if name.startswith("sweep_file_")]
    importing = [m for m in given if m is module or any(v is cls or v is module for v in vars(m).values())]
    file = getattr(importing[-1] if importing else module, "__file__", None)
    return file and os.path.abspath(file)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


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
