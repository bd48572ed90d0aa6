"""What a recipe is: an experiment, its axes at several scales, its diagrams, and the claims it checks."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxgen import Experiment, FieldError
from sweeps.claims import Claim
from sweeps.spec import Sweep


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A diagram that a recipe shows: up to four panels over the same axes.

    Attributes:
      name: of its files.
      x, y: dotted paths of the axes.
      panels: for each panel, by its title, the values that other fields are held at.
      contour: a probe whose contour is drawn over the cells, see `Results.phase_diagram`.
    """

    name: str
    x: str
    y: str
    panels: dict[str, dict[str, Any]] = dataclasses.field(default_factory=lambda: {"": {}})
    contour: str | None = None


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
    """

    base: Experiment
    sweep: Sweep
    name: str = ""
    description: str = ""
    definition: dict[str, Any] = dataclasses.field(default_factory=dict)
    scales: dict[str, Scale] = dataclasses.field(default_factory=dict)
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()

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
