"""What a diagram is asked to show."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from jaxgen import FieldError
from sweeps.diagrams.labels import FOUR_PHASES, Labelling
from sweeps.diagrams.overlays import Overlay
from sweeps.diagrams.phases import Definition
from sweeps.diagrams.plane import Derived

LEVELS = (0.1, 0.5)
MAX_BINS = 100
"""Along each axis at most: figure and page of so many cells are written in seconds."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """What the cells of a diagram are.

    Attributes:
      x, y: dotted paths of the axes, or what is computed of some.
      where: values that other fields are held at.
      pool: fields over whose values cells are taken together.
      bins: into how many cells the values of both axes are gathered, or of x and of y; None: not at all.

    Raises:
      FieldError: the bins are no such numbers.
    """

    x: str | Derived
    y: str | Derived
    where: Mapping[str, object] = dataclasses.field(default_factory=dict)
    pool: Sequence[str] = ()
    bins: int | tuple[int | None, int | None] | None = None

    def __post_init__(self):
        if not isinstance(self.bins, tuple | None | int) or (isinstance(self.bins, tuple) and len(self.bins) != 2):
            raise FieldError("bins", self.bins, "must be a whole number, or two: along x and along y")
        for count in self.sides:
            whole = isinstance(count, int) and not isinstance(count, bool)
            if count is not None and not (whole and 2 <= count <= MAX_BINS):
                raise FieldError("bins", count, f"must be a whole number in [2, {MAX_BINS}]")

    @property
    def sides(self) -> tuple[int | None, int | None]:
        """The bins along x and along y."""
        return self.bins if isinstance(self.bins, tuple) else (self.bins, self.bins)

    @property
    def derived(self) -> list[Derived]:
        """The axes that are computed."""
        return [axis for axis in (self.x, self.y) if isinstance(axis, Derived)]

    @property
    def fields(self) -> list[str]:
        """The fields that decide where a run stands."""
        axes = [axis.fields if isinstance(axis, Derived) else (axis,) for axis in (self.x, self.y)]
        return list(dict.fromkeys(path for paths in axes for path in paths))

    @property
    def pooled(self) -> tuple[str, ...]:
        """Fields in which the runs of a cell may differ."""
        return tuple(dict.fromkeys((*self.pool, *(path for axis in self.derived for path in axis.stands_for))))


@dataclasses.dataclass(frozen=True)
class Query:
    """What is drawn of stored runs.

    Attributes:
      cells: where runs stand.
      definition: what counts as reached, and in time.
      labelling: what runs are called.
      contour: a probe.
      levels: of its contour, ascending.
      overlays: what theories say.
      beyond: whether the budget may be beyond the training of some runs; None: then it is theirs.

    Raises:
      FieldError: levels are no ascending numbers, or overlays none of different names.
    """

    cells: Cells
    definition: Definition
    labelling: Labelling = FOUR_PHASES
    contour: str | None = None
    levels: Sequence[float] = LEVELS
    overlays: Sequence[Overlay] = ()
    beyond: bool | None = None

    def __post_init__(self):
        if self.contour:
            numbers = [v for v in self.levels if isinstance(v, (int, float)) and not isinstance(v, bool)]
            if len(numbers) < len(self.levels) or not all(map(math.isfinite, numbers)):
                raise FieldError("levels", list(self.levels), "must be finite numbers")
            if any(a >= b for a, b in itertools.pairwise(numbers)):
                raise FieldError("levels", list(self.levels), "must ascend")
        check_overlays(self.overlays)


def check_overlays(overlays: object) -> None:
    """FieldError where these are no overlays, or two have one name."""
    if not isinstance(overlays, (list, tuple)) or not all(isinstance(one, Overlay) for one in overlays):
        raise FieldError("overlays", overlays, "must be a list of sweeps.Overlay(…)")
    names = [one.name for one in overlays]
    if len(set(names)) < len(names):
        raise FieldError("overlays", names, "must have a name of their own each")
