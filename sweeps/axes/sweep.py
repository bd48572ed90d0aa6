"""Axes and their algebra: which experiments a sweep is made of.

A `Sweep` is a sequence of points, each a dict of dotted paths to values that override a base experiment. It is lazy: a
product of a thousand by a thousand values holds two thousand.
"""

import bisect
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxgen import Experiment, FieldError, components
from jaxgen.components import is_component

MAX_VALUES = 1_000_000
"""Values of an axis at most."""
VALUES = "values are single numbers, texts or components"


class Sweep(Sequence):
    """A lazy sequence of points; made by `sweep`, `fixed`, `seeds`, `product`, `tie` and `chain`.

    Attributes:
      axes: the values that each path takes, in order of appearance.
      factors: the parts of a product; the sweep itself where it is none.
      links: the parts of a chain; nothing where it is none.
    """

    def __init__(
        self,
        length: int,
        point: Callable[[int], dict],
        axes: Mapping[str, list],
        factors: Sequence = (),
        links: Sequence = (),
    ):
        if length > sys.maxsize:
            raise FieldError("sweep", length, f"has more points than can be counted, {sys.maxsize}")
        self._length, self._point, self.axes = length, point, dict(axes)
        self.factors, self.links = tuple(factors) or (self,), tuple(links)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._point(i) for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._point(index % self._length)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if len(self.factors) > 1:
            return _combined(self.factors)
        return itertools.chain(*self.links) if self.links else (self._point(i) for i in range(self._length))

    def __repr__(self) -> str:
        return f"Sweep({self._length} points over {', '.join(f'{k} ({len(v)})' for k, v in self.axes.items())})"


def sweep(path: str, values: Sequence) -> Sweep:
    """One axis: `path` takes each of `values`, which may be numbers, structure, or whole components.

    >>> list(sweep("optimizer.weight_decay", [0.1, 1.0]))
    [{'optimizer.weight_decay': 0.1}, {'optimizer.weight_decay': 1.0}]

    Raises:
      FieldError: there are no values or more than `MAX_VALUES`, one stands twice, or is no finite number, text, truth
        value, None, tuple of these or component.
    """
    if not isinstance(path, str):
        raise FieldError("path", path, "must be text, such as 'optimizer.weight_decay'")
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise FieldError(path, values, "an axis needs a list of values")
    values = [_plain(path, v) for v in itertools.islice(values, MAX_VALUES + 1)]
    _check_count(path, len(values), 0)
    if not values:
        raise FieldError(path, values, "an axis needs at least one value")
    seen = set()
    for value in values:
        if value in seen:
            raise FieldError(path, value, "stands twice on its axis")
        seen.add(value)
    return Sweep(len(values), lambda i: {path: values[i]}, {path: values})


def used(base: Experiment, sweep: Sweep) -> list[Any]:
    """Every component of an experiment and among the values of a sweep, those within others too."""
    found = [part for _, part in base.walk()]
    for path, values in sweep.axes.items():
        inner = (part for value in values for part in components.parts(value).values() if is_component(part))
        found += [part for whole in inner for _, part in components.walk(whole, path)]
    return found


def fixed(path: str, value: Any) -> Sweep:
    """One point that sets `path` to `value`."""
    return sweep(path, [value])


def seeds(count: int, *, split: str = "varies", first: int = 0) -> Sweep:
    """The seeds first … first + count - 1.

    Args:
      count: how many.
      split: "varies" draws a new train split with every seed; "fixed" keeps the split of seed `first` and varies only
        initialisation and the order of batches.
      first: the first seed.

    Raises:
      FieldError: `count` is below 1 or above `MAX_VALUES`, or `split` is neither.
    """
    _check_count("seeds", count)
    if isinstance(first, bool) or not isinstance(first, int):
        raise FieldError("first", first, "must be a whole number")
    if split not in ("varies", "fixed"):
        raise FieldError("split", split, "must be varies or fixed")
    axis = sweep("seed", list(range(first, first + count)))
    return axis if split == "varies" else product(fixed("split_seed", first), axis)


def product(*parts: Sweep) -> Sweep:
    """Every combination of the parts' points; the last part varies fastest.

    Raises:
      FieldError: a path is set by two parts.
    """
    axes = _disjoint(parts)
    sizes = [len(p) for p in parts]

    def point(index: int) -> dict[str, Any]:
        found: list[dict] = []
        for part, size in reversed(list(zip(parts, sizes))):
            index, i = divmod(index, size)
            found.append(part[i])
        return {k: v for p in reversed(found) for k, v in p.items()}

    return Sweep(math.prod(sizes), point, axes, [f for p in parts for f in p.factors])


def tie(*parts: Sweep) -> Sweep:
    """The parts side by side: point i joins the i-th points of all.

    Raises:
      FieldError: the parts differ in length, or a path is set by two.
    """
    axes = _disjoint(parts)
    lengths = sorted({len(p) for p in parts})
    if len(lengths) > 1:
        raise FieldError("tie", lengths, f"parts must have one length ({', '.join(axes)})")
    return Sweep(lengths[0] if lengths else 0, lambda i: {k: v for p in parts for k, v in p[i].items()}, axes)


def chain(*parts: Sweep) -> Sweep:
    """The points of all parts, one part after another. A point that occurs twice is one run all the same."""
    _check_parts(parts)
    ends = list(itertools.accumulate(len(p) for p in parts))
    union: dict[str, dict] = {}
    for part in parts:
        for path, values in part.axes.items():
            union.setdefault(path, {}).update(dict.fromkeys(values))
    axes = {path: list(values) for path, values in union.items()}

    def point(index: int) -> dict[str, Any]:
        which = bisect.bisect_right(ends, index)
        return parts[which][index - (ends[which - 1] if which else 0)]

    return Sweep(ends[-1] if ends else 0, point, axes, links=parts)


def _combined(parts: Sequence) -> Iterator[dict[str, Any]]:
    """The points of a product in order, built with less work than one by one."""
    first, *rest = parts
    for point in first:
        if rest:
            yield from ({**point, **others} for others in _combined(rest))
        else:
            yield point


def replaced(whole: Sweep, axis: Sweep) -> Sweep:
    """`whole` with `axis` in the place of the first factor that sets one of its paths, or as the last factor.

    In a chain each link is changed so.

    Raises:
      FieldError: a path of `axis` is tied to others in `whole` (by `tie`, or a `chain` in a product).
    """
    _check_parts((whole, axis))
    if whole.links:
        return chain(*(replaced(link, axis) for link in whole.links))
    kept, paths, place = [], set(axis.axes), len(whole.factors)
    for factor in whole.factors:
        others = sorted(set(factor.axes) - paths)
        if not set(factor.axes) & paths:
            kept.append(factor)
        elif others:
            raise FieldError(min(paths), None, f"is tied to {', '.join(others)} in this sweep: it cannot be set alone")
        else:
            place = min(place, len(kept))
    return product(*kept[:place], axis, *kept[place:])


def linspace(start: float, stop: float, count: int) -> list[float]:
    """`count` evenly spaced values from `start` to `stop`, both included, rounded to 12 digits.

    >>> linspace(0.3, 0.7, 5)
    [0.3, 0.4, 0.5, 0.6, 0.7]
    """
    _check_ends("linspace", start, stop, 1e300)
    _check_count("linspace count", count)
    width = max(count - 1, 1)
    return [_rounded(start + (stop - start) * i / width) for i in range(count)]


def logspace(start: float, stop: float, count: int) -> list[float]:
    """`count` values from 10^start to 10^stop with equal ratios, rounded to 12 digits.

    >>> logspace(-2, 1, 4)
    [0.01, 0.1, 1.0, 10.0]
    """
    _check_ends("logspace exponent", start, stop, 300)
    return [_rounded(10.0**e) for e in linspace(start, stop, count)]


def _plain(path: str, value: Any) -> Any:
    """A value as an axis holds it."""
    if getattr(value, "ndim", 0):
        raise FieldError(path, value, VALUES)
    value = tuple(value) if isinstance(value, list) else value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        raise FieldError(path, value, "must be finite")
    try:
        hash(value)
    except Exception:
        raise FieldError(path, value, VALUES) from None
    return value


def _check_count(name: str, count: int, least: int = 1) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise FieldError(name, count, f"must be a whole number of at least {least}")
    if count > MAX_VALUES:
        raise FieldError(name, count, f"an axis has at most {MAX_VALUES:,} values")


def _check_ends(name: str, start: float, stop: float, most: float) -> None:
    for end in (start, stop):
        if isinstance(end, bool) or not isinstance(end, (int, float)) or not -most <= end <= most:
            raise FieldError(name, end, f"must be a number in [{-most:g}, {most:g}]")


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")


def _check_parts(parts: Sequence[Sweep]) -> None:
    for part in parts:
        if not isinstance(part, Sweep):
            raise FieldError("sweep", part, "must be made by sweeps.sweep, product, …")


def _disjoint(parts: Sequence[Sweep]) -> dict[str, list]:
    _check_parts(parts)
    axes: dict[str, list] = {}
    for part in parts:
        for path, values in part.axes.items():
            if path in axes:
                raise FieldError(path, values, "is an axis already: give each axis once")
            axes[path] = values
    return axes
