"""The experiment: one training run written down as a pytree.

Its numeric fields are leaves and vary from lane to lane; everything else is structure. `jax.tree.structure(experiment)`
is therefore the compiled signature, and stacking the leaves of many experiments is batching them.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxgen import components, kinds, models, notebook
from jaxgen.errors import FieldError
from jaxgen.kinds import Component, Plain
from jaxgen.starts import is_continuing
from jaxgen.tasks.subset import Subset
from jaxgen.tasks.task import Task, is_stream
from jaxgen.training import Training

SCHEMA = 2
SEEDS = {"seed": int, "split_seed": int | None}
SEED = "[0, 2147483647]"
MAX_ROWS = 16_777_216
"""Rows of a task at most, of all splits together: those of p = 4096."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One training run.

    Attributes:
      task: what is learned (`jaxgen.tasks`).
      model: a flax linen module (`jaxgen.models`, or your own).
      loss: the per-example loss (`jaxgen.losses`).
      optimizer: an optax chain built from numbers that can be swept (`jaxgen.optimizers`).
      training: length, evaluation, precision, stop rule (`jaxgen.Training`).
      start: where it begins (`jaxgen.starts`); None: with weights that the seed draws.
      seed: initialisation and the order of minibatches.
      split_seed: the data: which rows are trained on, and any random rows or labels. None follows `seed`.

    Raises:
      FieldError: a field has a value that is not allowed.
    """

    task: Task
    model: nn.Module
    loss: kinds.Loss | kinds.ChangingLoss
    optimizer: kinds.Optimizer
    training: Training = Training()
    start: kinds.Start | None = None
    seed: int = 0
    split_seed: int | None = None

    def __post_init__(self):
        self._check([f.name for f in dataclasses.fields(self)])

    def _check(self, names: Collection[str]) -> None:
        for name in names:
            object.__setattr__(self, name, checked_part(name, getattr(self, name)))
        self.check_together()

    def check_together(self) -> None:
        """Checks what no part can check alone; the parts are those of `checked_part`.

        Raises:
          FieldError: two parts do not go together.
        """
        if self.training.stop_frozen and not getattr(self.optimizer, "can_rest", False):
            why = "this optimizer's steps depend on more than its state: nothing can be proved"
            raise FieldError("training.stop_frozen", True, why)
        if self.training.stop_frozen and models.is_random(self.model):
            raise FieldError("training.stop_frozen", True, "this network is random in training: nothing can be proved")
        if is_continuing(self.start):
            parts = [part for path, part in self.walk() if path.partition(".")[0] == "task"]
            for subset in [part for part in parts if isinstance(part, Subset) and part.by is not None]:
                subset.check_start(self, self.start.run(self))
        batch = self.training.batch_size
        if is_stream(self.task):
            if batch is None:
                raise FieldError("training.batch_size", None, "must be given: the task draws so many rows at each step")
        elif batch is not None and batch > (rows := self.task.rows()["train"]):
            raise FieldError("training.batch_size", batch, f"must be at most the {rows} rows that are trained on")

    @property
    def signature(self) -> jax.tree_util.PyTreeDef:
        """The structure that decides the compiled program."""
        return jax.tree.structure(self)

    @property
    def drawn_from(self) -> int:
        """The seed of the data: `split_seed`, or the run's own."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def run_id(self) -> str:
        """20 hex digits that identify the run: sha256 of the canonical JSON of all fields and the schema version."""
        return run_id_of(self.to_json())

    def override(self, values: Mapping[str, object]) -> "Experiment":
        """A copy with the fields at dotted paths replaced, e.g. `{"optimizer.weight_decay": 0.1, "seed": 3}`.

        Raises:
          FieldError: a path does not exist, or a value is not allowed.
        """
        if not isinstance(values, Mapping) or not all(isinstance(path, str) for path in values):
            raise FieldError("override", values, "must be a table of dotted paths and their values")
        changes = components.by_head(values)
        experiment = assembled(vars(self) | {head: self.changed_part(head, new) for head, new in changes.items()})
        experiment.check_together()
        return experiment

    def changed_part(self, head: str, changes: Mapping[str, object]) -> object:
        """The part called `head` with some of its fields replaced; a change of "" replaces the whole part, and first.

        Raises:
          FieldError: there is no such part or field, or a value is not allowed.
        """
        if head not in vars(self) or (head in SEEDS and changes.keys() != {""}):
            raise components.unknown(next(f"{head}.{tail}".rstrip(".") for tail in changes), self.paths())
        part = changes.get("", getattr(self, head))
        fields = {tail: value for tail, value in changes.items() if tail}
        if fields:
            part = components.checked(part, head) if "" in changes else part
            part = components.changed(part, fields, head, self.paths)
        return checked_part(head, part)

    def paths(self) -> list[str]:
        """Every field that can be set or swept, as dotted paths; whole parts (`loss`) are among them."""
        return [path for name in components.KINDS for path in components.paths(getattr(self, name), name)] + list(SEEDS)

    def flat(self) -> dict[str, Plain]:
        """All values by dotted path, with each part's type: `{"task.type": "ModularAddition", "task.p": 31, …}`."""
        flat: dict[str, Plain] = {}
        for name in components.KINDS:
            for path, value in components.flat(getattr(self, name), name).items():
                flat[path] = json.dumps(value) if isinstance(value, list) else value
        return flat | {"seed": self.seed, "split_seed": self.split_seed}

    def leaf_paths(self) -> set[str]:
        """The dotted paths whose values are leaves: sweeping them compiles nothing new."""
        return set(SEEDS).union(*(components.leaf_paths(getattr(self, name), name) for name in components.KINDS))

    def walk(self) -> Iterator[tuple[str, Component]]:
        """Every component with its path, those within others too."""
        for name in components.KINDS:
            yield from components.walk(getattr(self, name), name)

    def to_dict(self) -> dict[str, Plain]:
        """Plain data for JSON or TOML."""
        parts = {name: _plain(getattr(self, name)) for name in components.KINDS}
        return {"schema": SCHEMA, **parts, "seed": self.seed, "split_seed": self.split_seed}

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, shortest decimal form of every float. Lossless."""
        return _canonical(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "Experiment":
        """The experiment that plain data (from `to_dict`, JSON or TOML) describes; fields left out take their defaults.

        Raises:
          FieldError: an unknown field or type, a value that is not allowed, or data of a newer schema.
        """
        if not isinstance(data, Mapping):
            raise FieldError("experiment", data, "must be a table")
        schema = data.get("schema", SCHEMA)
        if schema != SCHEMA or isinstance(schema, bool):
            raise FieldError("schema", schema, f"this version reads schema {SCHEMA}: use the jaxgen that wrote it")
        known = [f.name for f in dataclasses.fields(cls)]
        for name in data:
            if name not in [*known, "schema"]:
                raise components.unknown(str(name), known)
        arguments: dict[str, Any] = dict(data)
        arguments.pop("schema", None)
        for name in components.KINDS:
            if name in arguments:
                table = arguments[name]
                if name == "training" and isinstance(table, Mapping):
                    table = {"type": "Training", **table}
                arguments[name] = None if name == "start" and table is None else components.from_dict(table, name)
            elif name not in ("training", "start"):
                raise FieldError(name, None, "is missing")
        return cls(**arguments)

    @classmethod
    def from_json(cls, text: str) -> "Experiment":
        """The experiment written by `to_json`."""
        return cls.from_dict(components.parsed(text))

    def _repr_html_(self) -> str:
        rows = []
        for name in components.KINDS:
            fields = {
                path.removeprefix(f"{name}."): v for path, v in self.flat().items() if path.startswith(f"{name}.")
            }
            kind = str(fields.pop("type", None)).partition("#")[0]
            rows.append((name, kind, ", ".join(f"{path}={value}" for path, value in fields.items())))
        rows += [(name, "", getattr(self, name)) for name in SEEDS]
        return notebook.table(f"Experiment {self.run_id}", ("part", "type", "fields"), rows)

    def structure_json(self) -> str:
        """The signature as text: canonical JSON with every leaf replaced by null; the same in every process."""
        return _structure_json(*(components.structure(getattr(self, name)) for name in components.KINDS))

    @property
    def structure_id(self) -> str:
        """12 hex digits of the signature: sha256 of `structure_json`."""
        return hashlib.sha256(self.structure_json().encode()).hexdigest()[:12]


def checked_part(name: str, value: object) -> object:
    """A part of an experiment, or a seed, with every value in its canonical type.

    Raises:
      FieldError: a value is not allowed.
    """
    if name in SEEDS:
        seed = components.coerced(value, SEEDS[name], name, True)
        components.check_allowed(seed, SEED, name)
        return seed
    if name == "start" and value is None:
        return None
    if isinstance(value, str):  # the component of that name with its defaults
        value = components.from_dict({"type": value}, name)
    part = components.checked(value, name)
    if name == "training" and not isinstance(part, Training):
        raise FieldError(name, type(part).__qualname__, "must be a jaxgen.Training")
    if name == "task":
        _check_task(part)
    return part


def part_json(name: str, part: object) -> str:
    """What `Experiment.to_json` says of one part or seed."""
    return _canonical(part if name in SEEDS else _plain(part))


def run_id_of(text: str) -> str:
    """The run_id of an experiment's canonical JSON."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _plain(part: object) -> Plain:
    return None if part is None else components.to_dict(part, canonical=True)


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _check_task(task: Task) -> None:
    """That a task's sizes are what the rest relies on."""
    splits = task.rows()
    if not isinstance(splits, Mapping) or not all(_is_size(n, 0) for n in splits.values()):
        raise FieldError("task.rows", splits, "must give how many rows each split has: {'train': 100, 'test': 50}")
    if next(iter(splits), None) != "train":
        raise FieldError("task.rows", list(splits), 'must have "train" as its first split')
    if not splits["train"]:
        raise FieldError("task.rows", dict(splits), "must have at least one row to train on")
    if sum(splits.values()) > MAX_ROWS:
        raise FieldError("task.rows", sum(splits.values()), f"a task has at most {MAX_ROWS:,} rows")
    for name in ("outputs", "vocabulary"):
        size = getattr(task, name)
        if not _is_size(size, 1) and not (size is None and name == "vocabulary"):
            raise FieldError(f"task.{name}", size, "must be a whole number of at least 1")


def _is_size(value: object, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= least


@functools.lru_cache(maxsize=1024)
def _structure_json(*parts: tuple) -> str:
    data = {name: components.structure_data(part) for name, part in zip(components.KINDS, parts)}
    return json.dumps({"schema": SCHEMA, **data}, sort_keys=True, separators=(",", ":"))


def _flatten(experiment: Experiment):
    """The numbers as children; the rest is structure, with the classes, which JAX would not tell apart otherwise.

    A split seed that follows the seed is a number here, so that both kinds of run have one program.
    """
    parts = {**vars(experiment), "split_seed": experiment.drawn_from}
    parts |= {name: components.dissolve(getattr(experiment, name)) for name in components.KINDS}
    children = [(jax.tree_util.GetAttrKey(f.name), parts[f.name]) for f in dataclasses.fields(experiment)]
    return children, tuple(components.structure(getattr(experiment, name)) for name in components.KINDS)


def _unflatten(structures, children) -> Experiment:
    parts = {f.name: child for f, child in zip(dataclasses.fields(Experiment), children)}
    whole = {n: components.assemble(s, parts[n]) for n, s in zip(components.KINDS, structures)}
    return assembled(parts | whole)  # leaves may be tracers: nothing to check


def assembled(parts: Mapping[str, object]) -> Experiment:
    """An experiment of parts that need no check."""
    experiment = object.__new__(Experiment)
    for name, value in parts.items():
        object.__setattr__(experiment, name, value)
    return experiment


jax.tree_util.register_pytree_with_keys(Experiment, _flatten, _unflatten)
