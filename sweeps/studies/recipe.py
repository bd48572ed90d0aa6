"""What a recipe is: an experiment, its axes, its diagrams, and the claims it checks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen import Experiment, FieldError
from jaxgen.components import unknown
from jaxgen.errors import check_list, check_type
from sweeps.axes.sweep import Sweep
from sweeps.diagrams.labels import Labelling, find
from sweeps.diagrams.overlays import Overlay
from sweeps.diagrams.phases import check_definition
from sweeps.diagrams.plane import Derived
from sweeps.diagrams.query import Cells, check_overlays
from sweeps.studies.claims import Claim
from sweeps.studies.curves import Curves, check_file_name


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A diagram that a recipe shows: up to four panels over the same axes.

    Attributes:
      name: of its files.
      x, y: dotted paths of the axes, or what is computed of some (`sweeps.Derived`), for whose values there are runs.
      panels: for each panel, by its title, the values that other fields have.
      contour: a probe whose contour is drawn over the cells, see `Results.phase_diagram`.
      labels: what runs are called, see there.
      overlays: what theories say, see there.
    """

    name: str
    x: str | Derived
    y: str | Derived
    panels: dict[str, dict[str, Any]] = dataclasses.field(default_factory=lambda: {"": {}})
    contour: str | None = None
    labels: str | Labelling = "four_phases"
    overlays: Sequence[Overlay] = ()

    def __post_init__(self):
        check_file_name("drawing.name", self.name)
        where = f"drawing {self.name}"
        for axis in ("x", "y"):
            check_type(f"{where}.{axis}", getattr(self, axis), (str, Derived), "a dotted path, or sweeps.Derived(…)")
        check_type(f"{where}.panels", self.panels, Mapping, "a table: titles, and the values that fields are held at")
        if not 1 <= len(self.panels) <= 4:
            raise FieldError(f"{where}.panels", len(self.panels), "must be 1 to 4")
        for title, held in self.panels.items():
            check_type(f"{where}.panels", title, str, "text")
            check_type(f"{where}.panels.{title}", held, Mapping, "a table of dotted paths and values")
        check_type(f"{where}.contour", self.contour, (str, type(None)), "the name of a probe")
        find(self.labels)
        check_overlays(self.overlays)
        if self.x == self.y:
            raise FieldError(f"{where}.y", self.y, "must be another axis than x")

    @property
    def part(self) -> str:
        """What its runs are called among the parts of a recipe."""
        return f"diagram {self.name}"

    @property
    def fields(self) -> list[str]:
        """The fields of the runs that its axes are of."""
        return Cells(self.x, self.y).fields


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A sweep with a name. A file for `launch_sweep.py --sweep=FILE` defines one as `recipe`.

    Attributes:
      base: the experiment.
      sweep: the points.
      name: what it is called; the file's name where it is left out.
      description: one line that is kept with the sweep.
      definition: metric, below, threshold, budget, gap, sustained of its diagrams (`sweeps.Definition`).
      drawings: its diagrams; their panels hold fields at values, as `where` of `Results.phase_diagram`.
      claims: statements of its paper, checked on the stored runs.
      curves: what is shown of its runs one by one.
      parts: what of the sweep is for which claim, diagram or curves, by its `part`, where known (`sweeps.Study`).
      paper: where it is published.

    Raises:
      FieldError: something is not of its kind, a drawing names a field that does not exist, or two have one name.
    """

    base: Experiment
    sweep: Sweep
    name: str = ""
    description: str = ""
    definition: Mapping[str, object] = dataclasses.field(default_factory=dict)
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()
    parts: Mapping[str, Sweep] = dataclasses.field(default_factory=dict)
    paper: str = ""
    curves: Sequence[Curves] = ()

    def __post_init__(self):
        check_type("recipe.base", self.base, Experiment, "a jaxgen.Experiment")
        check_type("recipe.sweep", self.sweep, Sweep, "made by sweeps.sweep, product, …")
        check_name("recipe.name", self.name)
        for text in ("description", "paper"):
            check_type(f"recipe.{text}", getattr(self, text), str, "text")
        check_definition(self.definition)
        check_list("recipe.drawings", self.drawings, Drawing, "sweeps.Drawing(…)")
        check_list("recipe.claims", self.claims, Claim, "sweeps.Claim(…)")
        check_list("recipe.curves", self.curves, Curves, "sweeps.Curves(…)")
        check_names("drawings", [*self.drawings, *self.curves])
        check_names("claims", self.claims)
        known = {*self.base.paths(), *(path for path in self.base.flat() if path.endswith(".type"))}
        for path, values in self.sweep.axes.items():  # whole components have fields that the base's have not
            for value in values if path in known else ():
                known |= self.base.override({path: value}).flat().keys()
        for drawing in self.drawings:
            for path in (*drawing.fields, *(p for where in drawing.panels.values() for p in where)):
                if path not in known:
                    raise unknown(str(path), sorted(known))


def chosen(claims: Sequence[Claim], names: Sequence[str]) -> list[Claim]:
    """The claims of these names.

    Raises:
      FieldError: there is none of one of them.
    """
    known = {claim.name: claim for claim in claims}
    for name in names:
        if name not in known:
            raise FieldError("claims", name, f"must be among {', '.join(known) or 'none'}")
    return [known[name] for name in names]


def check_names(field: str, parts: Sequence[Drawing | Claim | Curves]) -> None:
    """FieldError where two have one name."""
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise FieldError(field, name, "stands twice: give each a name of its own")


def check_name(field: str, name: object) -> None:
    """FieldError where it is no printable text."""
    if not isinstance(name, str) or not name.isprintable():
        raise FieldError(field, name, "must be printable text")
