"""A study: a paper's experiment with its diagrams and claims, which say themselves what runs they need."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from jaxgen import Experiment, FieldError
from jaxgen.components import unknown
from jaxgen.errors import check_list, check_type
from sweeps.axes.sweep import Sweep, chain, fixed, product, seeds, sweep
from sweeps.diagrams.phases import check_definition
from sweeps.diagrams.plane import SEEDS
from sweeps.diagrams.results import Results
from sweeps.studies.claims import Claim
from sweeps.studies.curves import Curves
from sweeps.studies.recipe import Drawing, Recipe, check_name, check_names, chosen

QUICK = "quick"


@dataclasses.dataclass(frozen=True)
class Scale:
    """A size of a study.

    Attributes:
      seeds: of each cell of the diagrams.
      overrides: fields of the base.
      axes: the values of the diagrams' axes, by path, where they are not the study's.
      claim_seeds: of each arm of a claim; `seeds` when left out.
      definition: what of the study's definition is different.
    """

    seeds: int = 3
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    axes: Mapping[str, Sequence] = dataclasses.field(default_factory=dict)
    claim_seeds: int | None = None
    definition: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for count in (self.seeds, *([] if self.claim_seeds is None else [self.claim_seeds])):
            seeds(count)  # refuses what is no number of seeds
        check_type("scale.overrides", self.overrides, Mapping, "a table of dotted paths and values")
        check_definition(self.definition, metric="loss", threshold=0.0)  # its study may be of another metric
        check_axes("scale.axes", self.axes)


@dataclasses.dataclass(frozen=True)
class Study:
    """A paper's experiment, its sizes, and the diagrams and claims that are made of it. A recipe's file has one.

    A diagram needs the runs of its axes' values in each panel, a claim those of its arms, each with the seeds of the
    scale: the sweep of a study is all of them, each run once. `at` gives it at a scale.

    Attributes:
      name: what it is called; its file's name.
      base: the experiment that panels and arms override.
      scales: by name; "quick" is the one that is meant where none is said.
      paper: where it is published.
      description: one line that is kept with the sweep.
      definition: metric, below, threshold, budget, gap, sustained of its diagrams (`sweeps.Definition`).
      axes: the values of the diagrams' axes, by path, at scales that have none of their own.
      drawings: its diagrams. The panels of each override the base; what is not an axis has the base's value.
      claims: statements of its paper.
      curves: what is shown of its runs one by one, for as many seeds as claims have.

    Raises:
      FieldError: something is not of its kind, a path does not exist or has no values, or no run can be as an arm says.
    """

    name: str
    base: Experiment
    scales: Mapping[str, Scale]
    paper: str = ""
    description: str = ""
    definition: Mapping[str, object] = dataclasses.field(default_factory=dict)
    axes: Mapping[str, Sequence] = dataclasses.field(default_factory=dict)
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()
    curves: Sequence[Curves] = ()

    def __post_init__(self):
        if not isinstance(self.name, str) or not re.fullmatch(r"\w[\w-]*", self.name):
            raise FieldError("study.name", self.name, "must be letters, digits, _ and -: directories are called so")
        check_type("study.base", self.base, Experiment, "a jaxgen.Experiment")
        for text in ("paper", "description"):
            check_type(f"study.{text}", getattr(self, text), str, "text")
        check_type("study.scales", self.scales, Mapping, "a table of sweeps.Scale(…) by name")
        check_type("study.definition", self.definition, Mapping, "a table of what sweeps.Definition has")
        check_axes("study.axes", self.axes)
        check_list("study.drawings", self.drawings, Drawing, "sweeps.Drawing(…)")
        check_list("study.claims", self.claims, Claim, "sweeps.Claim(…)")
        if not self.drawings and not self.claims:
            raise FieldError("study.drawings", self.drawings, "has neither drawings nor claims: use sweeps.Recipe")
        check_list("study.curves", self.curves, Curves, "sweeps.Curves(…)")
        check_names("study.claims", self.claims)
        for name, scale in self.scales.items():
            check_name("study.scales", name)
            check_type(f"study.scales.{name}", scale, Scale, "a sweeps.Scale(…)")
            check_definition({**self.definition, **scale.definition})
            self.at(name)
        if QUICK not in self.scales:
            raise FieldError("study.scales", list(self.scales), f"must have one called {QUICK}")

    def at(self, scale: str = QUICK, claims: Sequence[str] | None = None) -> Recipe:
        """The study at a scale: its runs, diagrams and claims; of some claims only, without diagrams, by their names.

        Raises:
          FieldError: there is no such scale or claim.
        """
        if not isinstance(scale, str) or scale not in self.scales:
            raise FieldError("scale", scale, f"must be one of {', '.join(self.scales)}")
        size = self.scales[scale]
        base = self.base.override(size.overrides)
        judged, drawings, curves = self.claims, self.drawings, self.curves
        if claims is not None:
            check_list("claims", claims, str, "names of claims")
            judged, drawings, curves = chosen(judged, claims), (), ()
        judged = [dataclasses.replace(c, planned=_seeds_of(c, size)) for c in judged]
        planned = size.seeds if size.claim_seeds is None else size.claim_seeds
        curves = [dataclasses.replace(c, planned=planned) for c in curves]
        parts = {c.part: _runs_of_arms(c) for c in judged if c.arms}
        parts |= {c.part: _runs_of_arms(c) for c in curves}
        parts |= {d.part: self._runs_of_drawing(d, size) for d in drawings}
        check_arms(base, parts)
        whole = [*parts.values()] or [seeds(size.seeds)]
        return Recipe(
            base=base,
            sweep=whole[0] if len(whole) == 1 else chain(*whole),
            name=self.name,
            description=self.description,
            definition={**self.definition, **size.definition},
            drawings=[self._held(d, base, whole) for d in drawings],
            claims=judged,
            parts=parts,
            paper=self.paper,
            curves=curves,
        )

    def _runs_of_drawing(self, drawing: Drawing, size: Scale) -> Sweep:
        values = {**self.axes, **size.axes}
        for path in drawing.fields:
            if path not in values:
                raise FieldError(
                    f"drawing {drawing.name}", path, "has no values: give them in `axes` of study or scale"
                )
        plane = product(*(sweep(path, values[path]) for path in drawing.fields))
        panels = [product(*(fixed(p, v) for p, v in held.items()), plane) for held in drawing.panels.values()]
        return product(panels[0] if len(panels) == 1 else chain(*panels), seeds(size.seeds))

    def _held(self, drawing: Drawing, base: Experiment, parts: Sequence[Sweep]) -> Drawing:
        """The drawing with panels that hold every field that varies in the study, as tables of runs have them."""
        axes = drawing.fields
        within = tuple(f"{axis}." for axis in axes)  # an axis of whole components has their fields too
        varied = {path for path in _varied(base, parts) if path not in axes and not path.startswith(within)}
        known = base.flat()  # and components that only other runs have, such as one more in a tuple
        absent: dict[str, object] = {path: None for path in varied if path not in known and path.endswith(".type")}
        panels = {
            title: absent | {path: value for path, value in base.override(held).flat().items() if path in varied}
            for title, held in drawing.panels.items()
        }
        return dataclasses.replace(drawing, panels=panels)


def _seeds_of(claim: Claim, size: Scale) -> int:
    return (size.seeds if size.claim_seeds is None else size.claim_seeds) + claim.more_seeds


def _runs_of_arms(of: Claim | Curves) -> Sweep:
    arms = [product(arm, seeds(of.planned or 1)) for arm in of.arms.values()]
    return arms[0] if len(arms) == 1 else chain(*arms)


def _varied(base: Experiment, parts: Sequence[Sweep]) -> set[str]:
    """The fields, apart from seeds, in which runs of the parts differ from the base."""
    plain, found = base.flat(), set()
    for path, values in ((path, values) for part in parts for path, values in part.axes.items()):
        for value in values if path not in SEEDS else ():
            other = base.override({path: value}).flat()
            found |= {name for name in plain.keys() | other.keys() if plain.get(name) != other.get(name)}
    return found


def check_axes(field: str, axes: object) -> None:
    """FieldError where it is no table of paths and values that a sweep can take."""
    if not isinstance(axes, Mapping):
        raise FieldError(field, axes, "must be a table of dotted paths and lists of values")
    for path, values in axes.items():
        sweep(path, values)


def check_arms(base: Experiment, parts: Mapping[str, Sweep]) -> None:
    """FieldError where no run of the base can have a path or a value of a part."""
    for name, part in parts.items():
        for path, values in part.axes.items():
            if path.partition(".")[0] not in vars(base):
                raise unknown(path, base.paths())
            for value in values:
                try:
                    base.override({path: value})
                except FieldError as error:
                    raise FieldError(f"{name}: {error.field}", error.value, error.allowed) from None


def on_plane(results: Results, drawing: Drawing, part: Sweep | None) -> Results:
    """The runs at the values of a drawing's axes, without what only claims have between them; all of a plain recipe."""
    if part is None:
        return results
    runs = results.runs
    axes = [path for path in drawing.fields if path in runs and path in part.axes]
    kept = [runs[path].isin(part.axes[path]).to_numpy() for path in axes]
    return results.only(set(runs["run_id"][np.logical_and.reduce(kept)])) if kept else results
