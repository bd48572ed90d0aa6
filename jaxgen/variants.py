"""Many overrides of one experiment at little cost: what runs share is built, checked and written down once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxgen import components
from jaxgen.experiment import SCHEMA, SEEDS, Experiment, assembled, part_json, run_id_of
from jaxgen.training import capacity, computed

KEPT = 100_000  # parts that are remembered


@dataclasses.dataclass(frozen=True)
class Kind:
    """What runs of one program, task and length have in common.

    Attributes:
      template: one of them.
      program: its signature as text, and the rows that a step can compute.
      budget: steps, rows that are trained on, and rows that a step computes.
    """

    template: Experiment
    program: tuple[str, int]
    budget: tuple[int, int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """A part of some runs, told apart by identity: its value, its canonical JSON, a number of its structure."""

    value: Any
    text: str
    structure: int


class Variants:
    """The experiments `base.override(point)` for many points, by their run_ids and kinds."""

    def __init__(self, base: Experiment):
        self._base = base
        self._structures: dict[tuple | None, int] = {}
        self._own = {name: self._part(name, value) for name, value in vars(base).items()}
        self._parts: dict[tuple, _Part] = {}
        self._kinds: dict[tuple, Kind] = {}
        self._heads: dict[tuple[str, ...], list[tuple[str, list[tuple[str, str]]]]] = {}

    def identify(self, point: Mapping[str, object]) -> tuple[str, Kind]:
        """The run_id and the kind of `base.override(point)`.

        Raises:
          FieldError: a path does not exist, or a value is not allowed.
        """
        parts, paths = dict(self._own), tuple(point)
        for head, tails in self._heads.get(paths) or self._split(paths):
            key = (head, *[(path, *_key(point[path])) for path, _ in tails])
            found = self._parts.get(key)
            if found is None:
                changed = self._base.changed_part(head, {tail: point[path] for path, tail in tails})
                found = self._remember(key, self._part(head, changed))
            parts[head] = found
        texts = [parts[name].text if name != "schema" else f'"schema":{SCHEMA}' for name in _ORDER]
        return run_id_of(f"{{{','.join(texts)}}}"), self._kind(parts)

    def _part(self, name: str, value: object) -> _Part:
        structure = None if name in SEEDS else components.structure(value)
        number = self._structures.setdefault(structure, len(self._structures))
        return _Part(value, f'"{name}":{part_json(name, value)}', number)

    def _kind(self, parts: dict[str, _Part]) -> Kind:
        whole = parts["training"].value.stop_frozen  # then what goes together depends on more than structure
        others = [parts[name] if whole else parts[name].structure for name in ("model", "loss", "optimizer", "start")]
        key = (parts["task"], parts["training"], *others)
        found = self._kinds.get(key)
        if found is None:
            experiment = assembled({name: part.value for name, part in parts.items()})
            experiment.check_together()
            program = experiment.structure_json(), capacity(experiment)
            budget = experiment.training.steps, experiment.task.rows()["train"], computed(experiment)
            found = self._kinds[key] = Kind(experiment, program, budget)
        return found

    def _remember(self, key: tuple, part: _Part) -> _Part:
        if len(self._parts) >= KEPT:
            self._parts.clear()
            self._kinds.clear()
        self._parts[key] = part
        return part

    def _split(self, paths: tuple[str, ...]) -> list[tuple[str, list[tuple[str, str]]]]:
        heads: dict[str, list[tuple[str, str]]] = {}
        for path in paths:
            head, _, tail = path.partition(".")
            heads.setdefault(head, []).append((path, tail))
        return self._heads.setdefault(paths, list(heads.items()))


def _key(value: object) -> tuple:
    """Tells values apart that fields tell apart: 1, 1.0 and True, or 0.0 and -0.0, are equal and yet others."""
    if isinstance(value, (float, int, str)):
        return type(value), value or repr(value)
    return _Same(value), None


class _Same:
    """Any other value, by identity."""

    def __init__(self, value: object):
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


_ORDER = sorted([*components.KINDS, *SEEDS, "schema"])
