"""What a sweep is: axes, and products, ties and chains of sweeps, as data.

A `Sweep` is a sequence of points, each a dict of dotted paths to values that override a base experiment. It is lazy: a
product of a thousand by a thousand values holds two thousand.
"""

import bisect
import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from jaxgen import FieldError, components, notebook
from jaxgen.kinds import Plain
from sweeps.axes import plain

MAX_VALUES = 1_000_000
"""Values of an axis at most."""
FORMS = '"axis", "product", "tie", "chain" or "points"'
Point = dict[str, object]
Read = Callable[[str, object], object]


class Sweep(Sequence):
    """A lazy sequence of points: an `Axis`, a `Product`, `Tie` or `Chain` of sweeps, or `Points`.

    Attributes:
      axes: the values that each path takes, in order of appearance.
    """

    axes: dict[str, list[Any]]
    _length: int

    def _hold(self, length: int, axes: Mapping[str, Sequence[object]]) -> None:
        """Keeps what was computed of the parts."""
        if length > sys.maxsize:
            raise FieldError("sweep", length, f"has more points than can be counted, {sys.maxsize}")
        object.__setattr__(self, "_length", length)
        object.__setattr__(self, "axes", axes)

    def _point(self, index: int) -> Point:
        raise NotImplementedError

    @property
    def factors(self) -> "tuple[Sweep, ...]":
        """The parts of a product, of which none is one; the sweep itself where it is none."""
        return (self,)

    @property
    def entries(self) -> int:
        """How many values `to_dict` writes, be they few in a form of their own."""
        return sum(map(len, self.axes.values()))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._point(i) for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._point(index % self._length)

    def __iter__(self) -> Iterator[Point]:
        return (self._point(i) for i in range(self._length))

    def __repr__(self) -> str:
        return f"Sweep({self._length} points over {', '.join(f'{k} ({len(v)})' for k, v in self.axes.items())})"

    def _repr_html_(self) -> str:
        rows = [(path, len(values), notebook.listed(values)) for path, values in self.axes.items()]
        return notebook.table(f"Sweep of {len(self):,} points", ("axis", "values", ""), rows)

    def to_dict(self) -> dict[str, Plain]:
        """Plain data for JSON: the axes with their values and how they are combined, not the points.

        Components are written as in `Experiment.to_dict`.

        Raises:
          FieldError: a value has no such form.
        """
        raise NotImplementedError

    def to_json(self) -> str:
        """`to_dict` as JSON without spaces. Lossless."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, data: object, read: Read = plain.read) -> "Sweep":
        """The sweep that `to_dict` wrote: the same points in the same order.

        Args:
          data: what was written.
          read: makes a value of a path and what was written of it.

        Raises:
          FieldError: it is nothing that was written, a component is unknown, or the parts do not go together.
        """
        try:
            return _read(data, read)
        except RecursionError:
            raise FieldError("sweep", data, "is nested too deep") from None

    @classmethod
    def from_json(cls, text: str) -> "Sweep":
        """The sweep written by `to_json`.

        Raises:
          FieldError: it is none.
        """
        return cls.from_dict(components.parsed(text))


@dataclasses.dataclass(frozen=True, repr=False)
class Axis(Sweep):
    """One path with its values.

    Attributes:
      path: dotted.
      values: each a point.

    Raises:
      FieldError: as `sweeps.sweep`.
    """

    path: str
    values: tuple[Any, ...]

    def __post_init__(self):
        if not isinstance(self.path, str):
            raise FieldError("path", self.path, "must be text, such as 'optimizer.weight_decay'")
        if isinstance(self.values, (str, bytes)) or not hasattr(self.values, "__iter__"):
            raise FieldError(self.path, self.values, "an axis needs a list of values")
        values = [plain.checked(self.path, v) for v in itertools.islice(self.values, MAX_VALUES + 1)]
        check_count(self.path, len(values), 0)
        if not values:
            raise FieldError(self.path, values, "an axis needs at least one value")
        seen = set()
        for value in values:
            if value in seen:
                raise FieldError(self.path, value, "stands twice on its axis")
            seen.add(value)
        object.__setattr__(self, "values", tuple(values))
        self._hold(len(values), {self.path: values})

    def _point(self, index: int) -> Point:
        return {self.path: self.values[index]}

    def __iter__(self) -> Iterator[Point]:
        return ({self.path: value} for value in self.values)

    @property
    def entries(self) -> int:
        return len(self.values) if self._range is None else 1

    def to_dict(self) -> dict[str, Plain]:
        if (steps := self._range) is not None:
            return {"axis": self.path, "range": [steps.start, steps.stop, steps.step]}
        return {"axis": self.path, "values": [plain.written(self.path, v) for v in self.values]}

    @property
    def _range(self) -> range | None:
        """The values as a range of whole numbers, if they are one of three or more."""
        values = self.values
        if len(values) < 3 or any(type(v) is not int for v in values):
            return None
        step = values[1] - values[0]
        steps = range(values[0], values[-1] + (1 if step > 0 else -1), step)
        return steps if len(steps) == len(values) and all(map(int.__eq__, steps, values)) else None


class _Parts(Sweep):
    """A sweep made of others; its form is the name of its class."""

    parts: tuple[Sweep, ...]

    @property
    def entries(self) -> int:
        return sum(part.entries for part in self.parts)

    def to_dict(self) -> dict[str, Plain]:
        return {type(self).__name__.lower(): [part.to_dict() for part in self.parts]}


@dataclasses.dataclass(frozen=True, repr=False)
class Product(_Parts):
    """Every combination of the parts' points; the last part varies fastest.

    Raises:
      FieldError: a path is set by two parts.
    """

    parts: tuple[Sweep, ...]

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        axes = _disjoint(self.parts)
        self._hold(math.prod(map(len, self.parts)), axes)

    @cached_property
    def factors(self) -> tuple[Sweep, ...]:
        return tuple(factor for part in self.parts for factor in part.factors) or (self,)

    @cached_property
    def _places(self) -> list[tuple[Sweep, int]]:
        return [(part, len(part)) for part in reversed(self.parts)]

    def _point(self, index: int) -> Point:
        found: list[dict] = []
        for part, size in self._places:
            index, i = divmod(index, size)
            found.append(part._point(i))
        return {k: v for p in reversed(found) for k, v in p.items()}

    def __iter__(self) -> Iterator[Point]:
        return _combined(self.factors) if self.parts else iter([{}])


@dataclasses.dataclass(frozen=True, repr=False)
class Tie(_Parts):
    """The parts side by side: point i joins the i-th points of all.

    Raises:
      FieldError: the parts differ in length, or a path is set by two.
    """

    parts: tuple[Sweep, ...]

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        axes = _disjoint(self.parts)
        lengths = sorted({len(p) for p in self.parts})
        if len(lengths) > 1:
            raise FieldError("tie", lengths, f"parts must have one length ({', '.join(axes)})")
        self._hold(lengths[0] if lengths else 0, axes)

    def _point(self, index: int) -> Point:
        return {k: v for p in self.parts for k, v in p._point(index).items()}


@dataclasses.dataclass(frozen=True, repr=False)
class Chain(_Parts):
    """The points of all parts, one part after another."""

    parts: tuple[Sweep, ...]

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        check_parts(self.parts)
        union: dict[str, dict] = {}
        for part in self.parts:
            for path, values in part.axes.items():
                union.setdefault(path, {}).update(dict.fromkeys(values))
        self._hold(sum(map(len, self.parts)), {path: list(values) for path, values in union.items()})

    @cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(map(len, self.parts)))

    def _point(self, index: int) -> Point:
        which = bisect.bisect_right(self._ends, index)
        return self.parts[which]._point(index - (self._ends[which - 1] if which else 0))

    def __iter__(self) -> Iterator[Point]:
        return itertools.chain(*self.parts)


@dataclasses.dataclass(frozen=True, repr=False)
class Points(Sweep):
    """Points that follow no rule.

    Attributes:
      paths: dotted.
      rows: of each point the value of every path.

    Raises:
      FieldError: a row is of another length, or a value none that an axis can have.
    """

    paths: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __post_init__(self):
        paths = tuple(self.paths)
        if not all(isinstance(path, str) for path in paths) or len(set(paths)) < len(paths):
            raise FieldError("points", paths, "must be over paths of which each stands there once")
        rows = tuple(tuple(map(plain.checked, paths, row)) for row in self.rows if len(row) == len(paths))
        if len(rows) < len(self.rows):
            raise FieldError("points", len(rows), f"must have a value for each of {len(paths)} paths")
        object.__setattr__(self, "paths", paths)
        object.__setattr__(self, "rows", rows)
        self._hold(len(rows), {path: list(dict.fromkeys(row[i] for row in rows)) for i, path in enumerate(paths)})

    def _point(self, index: int) -> Point:
        return dict(zip(self.paths, self.rows[index]))

    @property
    def entries(self) -> int:
        return len(self.paths) * len(self.rows)

    def to_dict(self) -> dict[str, Plain]:
        rows = [list(map(plain.written, self.paths, row)) for row in self.rows]
        return {"points": {"paths": list(self.paths), "rows": rows}}


def check_parts(parts: Iterable[object]) -> None:
    """FieldError where one is no sweep."""
    for part in parts:
        if not isinstance(part, Sweep):
            raise FieldError("sweep", part, "must be made by sweeps.sweep, product, …")


def check_count(name: str, count: object, least: int = 1) -> None:
    """FieldError where it is no number of values that an axis can have."""
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise FieldError(name, count, f"must be a whole number of at least {least}")
    if count > MAX_VALUES:
        raise FieldError(name, count, f"an axis has at most {MAX_VALUES:,} values")


def _disjoint(parts: Sequence[Sweep]) -> dict[str, list]:
    check_parts(parts)
    axes: dict[str, list] = {}
    for part in parts:
        for path, values in part.axes.items():
            if path in axes:
                raise FieldError(path, values, "is an axis already: give each axis once")
            axes[path] = values
    return axes


def _combined(parts: Sequence[Sweep]) -> Iterator[Point]:
    """The points of a product in order, built with less work than one by one."""
    first, *rest = parts
    for point in first:
        if rest:
            yield from ({**point, **others} for others in _combined(rest))
        else:
            yield point


def _read(data: object, read: Read) -> Sweep:
    if isinstance(data, Mapping) and data.keys() in ({"axis", "values"}, {"axis", "range"}):
        return _read_axis(data, read)
    form, held = next(iter(data.items())) if isinstance(data, Mapping) and len(data) == 1 else ("", None)
    made = {"product": Product, "tie": Tie, "chain": Chain}.get(form)
    if made is not None and isinstance(held, list):
        return made(tuple(_read(part, read) for part in held))
    if form == "points" and isinstance(held, Mapping) and held.keys() == {"paths", "rows"}:
        paths, rows = held["paths"], held["rows"]
        texts = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
        if texts and isinstance(rows, list) and all(isinstance(row, list) and len(row) == len(paths) for row in rows):
            return Points(tuple(paths), tuple(tuple(map(read, paths, row)) for row in rows))
    raise FieldError("sweep", data, f"must be a table as Sweep.to_dict writes it, of {FORMS}")


def _read_axis(data: Mapping[str, object], read: Read) -> Axis:
    path, values, steps = data["axis"], data.get("values", []), data.get("range")
    if not isinstance(path, str) or not isinstance(values, list):
        raise FieldError("sweep", data, "must have a path and a list of values")
    if steps is None:
        return Axis(path, tuple(read(path, value) for value in values))
    if not isinstance(steps, list) or [type(v) for v in steps] != [int] * 3 or not steps[2]:
        raise FieldError(path, steps, "must be start, stop and step of whole numbers")
    return Axis(path, range(*steps))  # type: ignore[arg-type]
