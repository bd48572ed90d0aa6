"""The names of component classes in files and hashes, and the classes of names."""

import contextlib
import dataclasses
import difflib
import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import jax

from jaxgen import identity
from jaxgen.errors import SHOWN, FieldError

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment

KINDS = {
    "task": "jaxgen.tasks",
    "model": "jaxgen.models",
    "loss": "jaxgen.losses",
    "optimizer": "jaxgen.optimizers",
    "training": "jaxgen.training",
    "start": "jaxgen.starts",
}
"""The parts of an experiment, and where ours are."""

NESTED = {
    "schedule": "jaxgen.schedules",
    "filter": "jaxgen.filters",
    "clamp": "jaxgen.clamps",
    "positions": "jaxgen.positions",
    "probe": "jaxgen.probes",
    "transform": "jaxgen.starts",
}
"""Kinds of components that are only found within others, and where ours are."""

MODULES = KINDS | NESTED
RUN = "experiment"
"""Kind of a field that holds a whole experiment: part of the identity, but neither leaf nor structure."""


def unknown(name: str, known: list[str]) -> FieldError:
    """The error for a field that does not exist, with the nearest one that does."""
    name = name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
    cases = {one.lower(): one for one in known}
    near = [cases[one] for one in difflib.get_close_matches(name.lower(), cases, 1, 0.5)]
    some = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    hint = f"did you mean {near[0]}?" if near else f"known: {some}"
    error = FieldError(name, None, hint)
    error.args = (f"unknown field {name}: {hint}",)
    return error


def type_name(cls: type) -> str:
    """The name a class has in files and hashes.

    Ours are called by their name. Anyone else's carry a fingerprint of what they are made of (`jaxgen.identity`), so
    that runs of an edited component are new runs.
    """
    if cls not in _NAMES:
        own = identity.is_ours(cls)
        _NAMES[cls] = cls.__qualname__ if own else f"{cls.__qualname__}#{identity.fingerprint(cls)}"
    return _NAMES[cls]


def look_again(classes: Iterable[type]) -> list[type]:
    """Names users' classes anew, and gives those whose name is another: what they use has changed, as in a notebook.

    Where it has, JAX forgets what it has traced, which would go on with the old values under `jax.jit`.
    """
    changed = []
    for cls in classes:
        before = _NAMES.pop(cls, None)
        if before not in (None, type_name(cls)):
            changed.append(cls)
    if changed:
        jax.clear_caches()
    return changed


def run_class() -> "type[Experiment]":
    """The class of experiments, which are made of components."""
    return importlib.import_module("jaxgen.experiment").Experiment


def remember(cls: type) -> None:
    """Keeps a class that was used, so that its name can be read again."""
    _SEEN[type_name(cls)] = cls


_NAMES: dict[type, str] = {}
_SEEN: dict[str, type] = {}


def find_class(name: str, where: str, kind: str) -> type:
    """The class of a name that `type_name` gave.

    Raises:
      FieldError: there is none, or it has changed since.
    """
    if "#" in name and name not in _SEEN:
        _SEEN.update(_imported(name.partition("#")[0]))
    if name in _SEEN:
        look_again([_SEEN[name]])
        if type_name(_SEEN[name]) == name:
            return _SEEN[name]
    module = importlib.import_module(MODULES[kind])
    if name.startswith("optax.") and kind in ("optimizer", "loss"):
        return importlib.import_module("jaxgen.from_optax").component_class(kind, name.removeprefix("optax."))
    ours = [n for n in module.__all__ if dataclasses.is_dataclass(getattr(module, n))]
    if kind == "probe" and name.islower():
        name = "".join(word.capitalize() for word in name.split("_"))
    if name in ours:
        return getattr(module, name)
    if "#" in name:
        same = [type_name(seen) for seen in reversed(_SEEN.values()) if seen.__qualname__ == name.split("#")[0]]
        how = "import the file that defines it first (scripts: --sweep=FILE)"
        why = f"what it is made of has changed (now {same[0]})" if same else how
        raise FieldError(f"{where}.type", name, why)
    raise unknown(f"{where}.type.{name}", [f"{where}.type.{n}" for n in ours])


def _imported(name: str) -> dict[str, type]:
    """The users' components of that name in the modules that are imported."""
    found = {}
    for cls in [vars(module).get(name) for module in list(sys.modules.values())]:
        if dataclasses.is_dataclass(cls) and isinstance(cls, type):
            with contextlib.suppress(FieldError):  # one of that name that cannot be followed is not the one
                found[type_name(cls)] = cls
    return found
