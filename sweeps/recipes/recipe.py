"""What a recipe is: an experiment, its axes at several scales, and the definitions its diagrams use."""

import dataclasses
from typing import Any

from jaxgen import Experiment, FieldError
from sweeps.spec import Sweep


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A sweep with a name. A file for `launch_sweep.py --sweep=FILE` defines one as `recipe`.

    Attributes:
      base: the experiment.
      sweep: the points at the scale "quick".
      name: what it is called; the file's name where it is left out.
      description: one line that is kept with the sweep.
      definition: threshold, budget, gap, sustained of its diagrams (`sweeps.Definition`).
      scales: other scales: fields of the base to override, and the points.
    """

    base: Experiment
    sweep: Sweep
    name: str = ""
    description: str = ""
    definition: dict[str, Any] = dataclasses.field(default_factory=dict)
    scales: dict[str, tuple[dict[str, Any], Sweep]] = dataclasses.field(default_factory=dict)

    def at(self, scale: str) -> tuple[Experiment, Sweep]:
        """Base and points at a scale.

        Raises:
          FieldError: there is no such scale.
        """
        if scale == "quick":
            return self.base, self.sweep
        if scale not in self.scales:
            raise FieldError("scale", scale, f"must be one of {', '.join(['quick', *self.scales])}")
        overrides, points = self.scales[scale]
        return self.base.override(overrides), points
