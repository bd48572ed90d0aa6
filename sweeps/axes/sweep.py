"""Axes and their algebra: how sweeps are made.

The functions here make what `sweeps.axes.algebra` has as data.
"""

from collections.abc import Sequence

from jaxgen import Experiment, FieldError, components
from jaxgen.components import is_component
from jaxgen.kinds import Component
from sweeps.axes.algebra import Axis, Chain, Product, Sweep, Tie, check_count, check_parts


def sweep(path: str, values: Sequence) -> Sweep:
    """One axis: `path` takes each of `values`, which may be numbers, structure, or whole components.

    >>> list(sweep("optimizer.weight_decay", [0.1, 1.0]))
    [{'optimizer.weight_decay': 0.1}, {'optimizer.weight_decay': 1.0}]

    Raises:
      FieldError: there are no values or more than `MAX_VALUES`, one stands twice, or is no finite number, text, truth
        value, None, tuple of these or component.
    """
    return Axis(path, values)  # type: ignore[arg-type]


def used(base: Experiment, sweep: Sweep) -> list[Component]:
    """Every component of an experiment and among the values of a sweep, those within others too."""
    found = [part for _, part in base.walk()]
    for path, values in sweep.axes.items():
        inner = (part for value in values for part in components.parts(value).values() if is_component(part))
        found += [part for whole in inner for _, part in components.walk(whole, path)]
    return found


def fixed(path: str, value: object) -> Sweep:
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
    check_count("seeds", count)
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
    return Product(parts)


def tie(*parts: Sweep) -> Sweep:
    """The parts side by side: point i joins the i-th points of all.

    Raises:
      FieldError: the parts differ in length, or a path is set by two.
    """
    return Tie(parts)


def chain(*parts: Sweep) -> Sweep:
    """The points of all parts, one part after another. A point that occurs twice is one run all the same."""
    return Chain(parts)


def replaced(whole: Sweep, axis: Sweep) -> Sweep:
    """`whole` with `axis` in the place of the first factor that sets one of its paths, or as the last factor.

    In a chain each link is changed so.

    Raises:
      FieldError: a path of `axis` is tied to others in `whole` (by `tie`, or a `chain` in a product).
    """
    check_parts((whole, axis))
    if isinstance(whole, Chain) and whole.parts:
        return chain(*(replaced(link, axis) for link in whole.parts))
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
    check_count("linspace count", count)
    width = max(count - 1, 1)
    return [_rounded(start + (stop - start) * i / width) for i in range(count)]


def logspace(start: float, stop: float, count: int) -> list[float]:
    """`count` values from 10^start to 10^stop with equal ratios, rounded to 12 digits.

    >>> logspace(-2, 1, 4)
    [0.01, 0.1, 1.0, 10.0]
    """
    _check_ends("logspace exponent", start, stop, 300)
    return [_rounded(10.0**e) for e in linspace(start, stop, count)]


def _check_ends(name: str, start: float, stop: float, most: float) -> None:
    for end in (start, stop):
        if isinstance(end, bool) or not isinstance(end, (int, float)) or not -most <= end <= most:
            raise FieldError(name, end, f"must be a number in [{-most:g}, {most:g}]")


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")
