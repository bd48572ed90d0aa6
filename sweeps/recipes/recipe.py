"""What a recipe is: an experiment, its axes at several scales, its diagrams, and the claims it checks."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from jaxgen import Experiment, FieldError
from jaxgen.component import KINDS, unknown
from sweeps.claims import Claim
from sweeps.labels import Labelling, find
from sweeps.spec import Sweep


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


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A sweep with a name. A file for `launch_sweep.py --sweep=FILE` defines one as `recipe`.

    Attributes:
      base: the experiment.
      sweep: the points at the scale "quick".
      name: what it is called; the file's name where it is left out.
      description: one line that is kept with the sweep.
      definition: threshold, budget, gap, sustained of its diagrams (`sweeps.Definition`).
      scales: the recipe at other sizes, by name.
      drawings: its diagrams at the scale "quick".
      claims: statements of its paper, checked on the stored runs.

    Raises:
      FieldError: a drawing names a field that does not exist, or its own name cannot name files.
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
        if "quick" in self.scales:
            raise FieldError("scales", "quick", "is the recipe itself: give it another name")
        names = [drawing.name for drawing in self.drawings]
        for name in names:
            if not re.fullmatch(r"\w[\w-]*", name) or names.count(name) > 1:
                raise FieldError("drawings", name, "names are letters, digits, _ and -, each once: files are called so")
        known = self.base.paths() + [f"{kind}.type" for kind in KINDS]
        for drawing in self.drawings:
            for path in (drawing.x, drawing.y, *(p for where in drawing.panels.values() for p in where)):
                if path not in known:
                    raise unknown(path, known)
            find(drawing.labels)
            if drawing.x == drawing.y:
                raise FieldError(f"drawings.{drawing.name}.y", drawing.y, "must be another axis than x")

    def at(self, scale: str) -> "Recipe":
        """The recipe at a scale.

        Raises:
          FieldError: there is no such scale.
        """
        if scale == "quick":
            return self
        if scale not in self.scales:
            raise FieldError("scale", scale, f"must be one of {', '.join(['quick', *self.scales])}")
        other = self.scales[scale]
        return dataclasses.replace(
            self,
            base=self.base.override(other.overrides),
            sweep=other.sweep,
            definition={**self.definition, **other.definition},
            drawings=self.drawings if other.drawings is None else other.drawings,
        )
