"""What a sweep has found so far: its stored runs, and the pictures that are queries over them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from jaxgen import FieldError, notebook
from sweeps.diagrams import gather, phases
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.labels import Labelling, find
from sweeps.diagrams.overlays import Overlay
from sweeps.diagrams.plane import Derived
from sweeps.diagrams.query import LEVELS, Cells, Query
from sweeps.diagrams.unfinished import with_unfinished
from sweeps.diagrams.values import ValueMap
from sweeps.storage.runs import Runs
from sweeps.storage.workdir import Workdir


def check_held(workdir: Workdir, specification: Mapping[str, Any]) -> None:
    """FieldError where the definition that a workdir's `sweep.json` holds is none."""
    try:
        phases.check_definition(specification.get("definition", {}))
    except FieldError:
        raise workdir.unsound("definition") from None


class DiagramOptions(TypedDict, total=False):
    """What `Results.facets` hands to `Results.phase_diagram`; see there."""

    metric: str | None
    threshold: float | None
    budget: int | None
    gap: int | None
    sustained: int | None
    labels: str | Labelling
    pool: Sequence[str]
    unfinished: bool
    bins: int | tuple[int | None, int | None] | None
    contour: str | None
    levels: Sequence[float] | None
    overlays: Sequence[Overlay]
    beyond: bool


class Results(Runs):
    """The stored runs of a workdir, and the diagrams that are queries over them.

    Args:
      workdir: where a sweep was run: a path, or a URI.
      run_ids: only these runs; all when left out.
      stopped_by: the signal that ended their training, if one did.
    """

    @property
    def specification(self) -> dict[str, Any]:
        """The sweep's own record: name, base experiment, axes, definitions, launches.

        Raises:
          FieldError: its definition is none.
        """
        held = super().specification
        check_held(self.workdir, held)
        return held

    def _repr_html_(self) -> str:
        held, runs = self.specification, self.table(["run_id", "status"])
        counts = Counter(runs["status"].to_pylist())
        said = ", ".join(f"{count:,} {status}" for status, count in counts.most_common()) or "none stored"
        title = f"{held['name']}: {len(runs):,} runs ({said}) in {self.workdir}"
        axes = {
            path: ["{values} from {first} to {last}".format(**v)] if isinstance(v, dict) else v
            for path, v in held["axes"].items()
        }
        rows = [(path, notebook.listed(values)) for path, values in axes.items()]
        return notebook.table(title, ("axis", "values"), rows)

    def definition(self, threshold=None, budget=None, gap=None, sustained=None, metric=None) -> phases.Definition:
        """The sweep's own thresholds where none are given; without any: 0.9, the shortest budget, a fifth of it.

        The fifth is made one interval between evaluations where it is less.

        Args:
          threshold, budget, gap, sustained: as in `sweeps.Definition`.
          metric: a metric with its direction and threshold, e.g. "loss <= 0.01"; see `phases.parse_metric`.

        Raises:
          FieldError: a value is not allowed, or both a threshold and a metric are given.
        """
        if metric is not None and threshold is not None:
            raise FieldError("threshold", threshold, f"is said by the metric already, {metric!r}: give one of them")
        said = self.specification.get("definition") or {}
        given = {"threshold": threshold, "budget": budget, "gap": gap, "sustained": sustained}
        chosen: dict[str, Any] = {"sustained": 1, **said, **({} if metric is None else phases.parse_metric(metric))}
        chosen |= {name: value for name, value in given.items() if value is not None}
        if not {"budget", "gap"} <= {*chosen}:
            runs = self.table(["training.steps", "training.evaluate_every"]).to_pylist()
            trained = [run for run in runs if run["training.steps"]]  # others are known from the beginning
            chosen.setdefault("budget", min((run["training.steps"] for run in trained), default=1))
            if "gap" not in chosen:
                every = max((run["training.evaluate_every"] for run in trained), default=1)
                chosen["gap"] = max(phases.definition(**chosen, gap=0).budget // 5, every)
        return phases.definition(**chosen)

    def phase_diagram(
        self,
        x: str | Derived,
        y: str | Derived,
        *,
        metric: str | None = None,
        threshold: float | None = None,
        budget: int | None = None,
        gap: int | None = None,
        sustained: int | None = None,
        labels: str | Labelling = "four_phases",
        where: Mapping[str, object] | None = None,
        pool: Sequence[str] = (),
        unfinished: bool = False,
        bins: int | tuple[int | None, int | None] | None = None,
        contour: str | None = None,
        levels: Sequence[float] | None = None,
        overlays: Sequence[Overlay] = (),
        beyond: bool = False,
    ) -> Diagram:
        """The phase diagram over two fields, or quantities that are computed from fields.

        Args:
          x, y: dotted paths of the axes, or `sweeps.Derived`.
          metric: what has to reach which threshold, e.g. "loss <= 0.01" or "ood/accuracy >= 0.9"; see
            `sweeps.Definition` for the curves that are meant.
          threshold, budget, gap, sustained: as in `sweeps.Definition`; the sweep's own where left out, but a
            budget within what the runs were trained for.
          labels: what runs are called: a name in `sweeps.labels.LABELLINGS`, or a `Labelling`.
          where: values that other fields are held at.
          pool: fields over whose values cells are taken together, as if they were seeds.
          unfinished: also show the cells of the sweep that have no runs yet, and mark those that wait or train.
          bins: gather the values of both axes into so many cells, from their least to their greatest, for runs that
            stand on no grid; or of each, as (16, None).
          contour: a probe; lines are drawn around the cells where its largest value, averaged over seeds, reaches
            `levels`.
          levels: of the contour; .1 and .5 when left out.
          overlays: what theories say, to be drawn over it.
          beyond: whether the budget may be beyond the training of runs that ended in no other way. Those that have not
            generalised by then are undecided, those that have are not: what is left out is no sample.

        Raises:
          FieldError: a path or curve is unknown, fields other than x, y and the seeds differ between runs, the budget
            is beyond the training of some, the gap above the budget or below one interval between evaluations, or a
            derived axis or an overlay is not computed.
        """
        query = Query(
            Cells(x, y, where or {}, pool, bins),
            self.definition(threshold, budget, gap, sustained, metric),
            find(labels),
            contour=contour,
            levels=levels or LEVELS,
            overlays=overlays,
            beyond=None if budget is None and not beyond else beyond,
        )
        drawn = gather.make_diagram(self, query)
        return with_unfinished(drawn) if unfinished else drawn

    def value_map(
        self,
        x: str | Derived,
        y: str | Derived,
        name: str,
        *,
        where: Mapping[str, object] | None = None,
        pool: Sequence[str] = (),
        size: float = 1,
    ) -> ValueMap:
        """A number of the runs over two fields: its statistics over the seeds of each cell.

        Args:
          x, y: dotted paths of the axes, or `sweeps.Derived`.
          name: a column of `runs`, e.g. "final/weight_norm" or "steps".
          where, pool: as in `phase_diagram`.
          size: of the system, n in the susceptibility n (⟨m²⟩ - ⟨m⟩²).

        Raises:
          FieldError: a name is unknown, or other fields differ between runs.
        """
        return gather.make_value_map(self, Cells(x, y, where or {}, pool), name, size)

    def facets(
        self,
        by: str,
        x: str | Derived,
        y: str | Derived,
        *,
        where: Mapping[str, object] | None = None,
        **options: Unpack[DiagramOptions],
    ) -> dict[str, Diagram]:
        """A phase diagram for each value of the field `by`, as a dict by "field = value"; see `phase_diagram`.

        All have one definition: where no budget is given, one that the runs of all were trained for.
        """
        held = where or {}
        values = gather.facet_values(self.runs, by, (*Cells(x, y).fields, *held))
        draw = lambda: {n: self.phase_diagram(x, y, where={**held, by: v}, **options) for n, v in values.items()}  # noqa: E731
        found = draw()
        if len(budgets := {d.definition.budget for d in found.values()}) > 1:
            options["budget"] = min(budgets)
            found = draw()
        return found
