"""What a recipe is: an experiment, its axes at several scales, its diagrams, and the claims it checks."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen import Experiment, FieldError
from jaxgen.components import unknown
from jaxgen.errors import check_list, check_type
from sweeps.axes.sweep import Sweep
from sweeps.diagrams.labels import Labelling, find
from sweeps.diagrams.phases import check_definition
from sweeps.studies.claims import Claim


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A diagram that a recipe shows: up to four panels over the same axes.

    Attributes:
      name: of its files.
      x, y: dotted paths of the axes.
      panels: for each panel, by its title, the values that other fields are held at.
      contour: a probe whose contour is drawn over the cells, see `Results.phase_diagram`.
      labels: what runs are called, see there.
    """

    name: str
    x: str
    y: str
    panels: dict[str, dict[str, Any]] = dataclasses.field(default_factory=lambda: {"": {}})
    contour: str | None = None
    labels: str | Labelling = "four_phases"

    def __post_init__(self):
        if not isinstance(self.name, str) or not re.fullmatch(r"\w[\w-]*", self.name):
            raise FieldError("drawing.name", self.name, "must be letters, digits, _ and -: files are called so")
        where = f"drawing {self.name}"
        for axis in ("x", "y"):
            check_type(f"{where}.{axis}", getattr(self, axis), str, "a dotted path")
        check_type(f"{where}.panels", self.panels, Mapping, "a table: titles, and the values that fields are held at")
        for title, held in self.panels.items():
            check_type(f"{where}.panels", title, str, "text")
            check_type(f"{where}.panels.{title}", held, Mapping, "a table of dotted paths and values")
        check_type(f"{where}.contour", self.contour, (str, type(None)), "the name of a probe")
        find(self.labels)
        if self.x == self.y:
            raise FieldError(f"{where}.y", self.y, "must be another axis than x")


@dataclasses.dataclass(frozen=True)
class Scale:
    """A recipe at another size.

    Attributes:
      overrides: fields of the base.
      sweep: the points.
      definition: what of the recipe's definition is different.
      drawings: its diagrams; the recipe's own when left out.
    """

    overrides: dict[str, Any]
    sweep: Sweep
    definition: dict[str, Any] = dataclasses.field(default_factory=dict)
    drawings: Sequence[Drawing] | None = None

    def __post_init__(self):
        check_type("scale.overrides", self.overrides, Mapping, "a table of dotted paths and values")
        check_type("scale.sweep", self.sweep, Sweep, "made by sweeps.sweep, product, …")
        check_definition(self.definition, metric="loss", threshold=0.0)  # its recipe may be of another metric
        if self.drawings is not None:
            check_list("scale.drawings", self.drawings, Drawing, "sweeps.Drawing(…)")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A sweep with a name. A file for `launch_sweep.py --sweep=FILE` defines one as `recipe`.

    Attributes:
      base: the experiment.
      sweep: the points at the scale "quick".
      name: what it is called; the file's name where it is left out.
      description: one line that is kept with the sweep.
      definition: metric, below, threshold, budget, gap, sustained of its diagrams (`sweeps.Definition`).
      scales: the recipe at other sizes, by name.
      drawings: its diagrams at the scale "quick".
      claims: statements of its paper, checked on the stored runs.

    Raises:
      FieldError: something is not of its kind, a drawing names a field that does not exist, or two have one name.
    """

    base: Experiment
    sweep: Sweep
    name: str = ""
    description: str = ""
    definition: dict[str, Any] = dataclasses.field(default_factory=dict)
    scales: dict[str, Scale] = dataclasses.field(default_factory=dict)
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()

    def __post_init__(self):
        check_type("recipe.base", self.base, Experiment, "a jaxgen.Experiment")
        check_type("recipe.sweep", self.sweep, Sweep, "made by sweeps.sweep, product, …")
        for text in ("name", "description"):
            check_type(f"recipe.{text}", getattr(self, text), str, "text")
        if not self.name.isprintable():
            raise FieldError("recipe.name", self.name, "must be printable text")
        check_definition(self.definition)
        check_type("recipe.scales", self.scales, Mapping, "a table of sweeps.Scale(…) by name")
        for name, scale in self.scales.items():
            check_type("recipe.scales", name, str, "text")
            check_type(f"recipe.scales.{name}", scale, Scale, "a sweeps.Scale(…)")
            check_definition({**self.definition, **scale.definition})
        check_list("recipe.drawings", self.drawings, Drawing, "sweeps.Drawing(…)")
        check_list("recipe.claims", self.claims, Claim, "sweeps.Claim(…)")
        if "quick" in self.scales:
            raise FieldError("scales", "quick", "is the recipe itself: give it another name")
        names = [drawing.name for drawing in self.drawings]
        for name in names:
            if names.count(name) > 1:
                raise FieldError("drawings", name, "stands twice: files are called so")
        known = [*self.base.paths(), *(path for path in self.base.flat() if path.endswith(".type"))]
        for drawing in self.drawings:
            for path in (drawing.x, drawing.y, *(p for where in drawing.panels.values() for p in where)):
                if path not in known:
                    raise unknown(str(path), known)

    def at(self, scale: str) -> "Recipe":
        """The recipe at a scale.

        Raises:
          FieldError: there is no such scale.
        """
        if scale == "quick":
            return self
        if not isinstance(scale, str) or scale not in self.scales:
            raise FieldError("scale", scale, f"must be one of {', '.join(['quick', *self.scales])}")
        other = self.scales[scale]
        return dataclasses.replace(
            self,
            base=self.base.override(other.overrides),
            sweep=other.sweep,
            definition={**self.definition, **other.definition},
            drawings=self.drawings if other.drawings is None else other.drawings,
        )
