"""Draws the phase diagram of a sweep from what is stored, as often as you like. Nothing is retrained.

  python scripts/phase_diagram.py --workdir=out/quickstart --x=task.train_fraction --y=optimizer.weight_decay
  python scripts/phase_diagram.py --workdir=out/quickstart --threshold=.99 --gap=1000 --sustained=3
  python scripts/phase_diagram.py --workdir=out/quickstart --metric='loss <= 0.01'
  python scripts/phase_diagram.py --workdir=out/quickstart --labels=retention --columns=1
  python scripts/phase_diagram.py --workdir=out/quickstart --contour=weight_norm --levels=20,40
  python scripts/phase_diagram.py --workdir=out/quickstart --values=final/weight_norm --statistic=variance
  python scripts/phase_diagram.py --workdir=out/mine --facet=model.width --pool=task.p
  python scripts/phase_diagram.py --workdir=out/quickstart --watch=30      # while the sweep runs

Writes to --out: diagram.png and .svg with their caption diagram.txt, diagram.csv (a row per cell, with intervals) and
report.html, the page to explore; those that are there are written anew, so give another --out to keep both of two
definitions. With --facet: panels of every value of a third field, and, if it has two values,
comparison.csv (paired tests of each cell on the seeds that both have) and comparison_overall.csv (one of the whole
map). With --values: values.png, a map of any number of the runs, with its caption values.txt, and values.csv, every
statistic of its cells.
"""

import time
from pathlib import Path
from typing import Any

import pandas as pd
from absl import flags

import sweeps
from jaxgen import FieldError
from sweeps.axes import grammar
from sweeps.cli import command
from sweeps.diagrams import compare, labels
from sweeps.report import style
from sweeps.report.caption import caption
from sweeps.report.page import write_page
from sweeps.report.panels import MOST, draw_panels
from sweeps.report.provenance import Provenance
from sweeps.storage.files import write_csv, write_text
from sweeps.storage.workdir import Workdir

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the results, or its URI (gs://…, s3://…).", required=True)
X = flags.DEFINE_string("x", None, "Field on the x axis; the sweep's first axis when left out.")
Y = flags.DEFINE_string("y", None, "Field on the y axis; the sweep's second axis when left out.")
OUT = flags.DEFINE_string("out", None, "Directory of the files; the workdir when left out.")
METRIC = flags.DEFINE_string(
    "metric",
    None,
    "What has to reach which threshold, e.g. 'loss <= 0.01', 'ood/accuracy >= 0.9'.",
)
THRESHOLD = flags.DEFINE_float("threshold", None, "Value of the sweep's metric that counts as reached.")
BUDGET = flags.DEFINE_integer("budget", None, "Last step that counts.")
BEYOND = flags.DEFINE_bool("beyond", False, "Allow a --budget beyond what runs were trained for.")
GAP = flags.DEFINE_integer("gap", None, "Delay between train and test from which generalisation is late, in steps.")
SUSTAINED = flags.DEFINE_integer(
    "sustained", None, "Regular evaluations in a row at the threshold; 1: first crossing; 0: to the end."
)
LABELS = flags.DEFINE_string(
    "labels", "four_phases", f"What runs are called: {', '.join(labels.LABELLINGS)}, or a Python file with `labelling`."
)
CONTOUR = flags.DEFINE_string("contour", None, "A probe (train/collapse): lines around the cells where it gets large.")
LEVELS = flags.DEFINE_string("levels", None, "Levels of the contour; .1,.5 when left out.")
WHERE = flags.DEFINE_multi_string("where", [], "Holds another field at one value: path=value.")
POOL = flags.DEFINE_list("pool", [], "Fields over which cells are taken together, as if their values were seeds.")
FACET = flags.DEFINE_string("facet", None, "A third field: a diagram for each of its values.")
VALUES = flags.DEFINE_string("values", None, "Also map a number of the runs (final/…, steps, test_time, delay).")
STATISTIC = flags.DEFINE_string("statistic", "mean", "Of --values: mean, variance, susceptibility, binder, count, …")
BINS = flags.DEFINE_integer(
    "bins",
    None,
    "Gather runs that stand on no grid into so many cells along each axis, 2 to 100; 16 after --refine.",
    lower_bound=2,
)
COLUMNS = flags.DEFINE_integer("columns", 2, "Width of the figure in columns of a paper.", lower_bound=1, upper_bound=2)
WATCH = flags.DEFINE_float("watch", None, "Draw again every so many seconds until all runs are stored.", lower_bound=1)

LONGEST_WAIT = 86_400


def main() -> None:
    """Draws what the flags ask for, once or as long as the sweep runs."""
    out = Path(OUT.value) if OUT.value else Workdir.at(WORKDIR.value).local
    check_flags()
    while True:
        results = sweeps.Results(WORKDIR.value)
        stored = len(results.table(["run_id"]))
        if stored or WATCH.value is None:
            draw(results, out)
        expected = results.specification.get("runs", 0)
        if WATCH.value is None or stored >= expected:
            return
        print(f"{stored} of {expected} runs are stored; again in {WATCH.value:g} s (Ctrl-C ends)", flush=True)
        time.sleep(WATCH.value)


def check_flags() -> None:
    """Refuses flags that would do nothing beside the others, and texts that are no numbers."""
    if WATCH.value is not None and not WATCH.value <= LONGEST_WAIT:
        raise FieldError("watch", WATCH.value, f"must be a number of seconds in [1, {LONGEST_WAIT}]")
    if STATISTIC.present and not VALUES.value:
        raise FieldError("statistic", STATISTIC.value, "is of --values: give them too")
    if LEVELS.value is not None and not CONTOUR.value:
        raise FieldError("levels", LEVELS.value, "are of --contour: give it too")
    if FACET.value:
        for flag in (VALUES, COLUMNS):
            if flag.present:
                raise FieldError(flag.name, flag.value, "cannot be drawn with --facet: hold the field with --where")
        if FACET.value in POOL.value:
            raise FieldError("pool", FACET.value, "is the field of --facet: each of its values has a diagram")


def draw(results: sweeps.Results, out: Path) -> None:
    """Writes all files of the results as they are now."""
    options = chosen(results)
    x, y = axes(results, options["where"])
    refresh = WATCH.value
    if FACET.value:
        tabs = results.facets(FACET.value, x, y, **options)
        out.mkdir(parents=True, exist_ok=True)
        for ending in ("png", "svg"):
            if len(tabs) <= MOST:
                draw_panels(tabs, out / f"diagram.{ending}")
            else:
                (out / f"diagram.{ending}").unlink(missing_ok=True)
        captions = [f"{name}\n{caption(diagram)}\n" for name, diagram in tabs.items()]
        write_text(out / "diagram.txt", "\n".join(captions))
        if len(tabs) > MOST:
            print(f"{len(tabs)} facets: a figure has at most {MOST}, so only the page and the table are written")
        cells = pd.concat([d.cell_table().assign(facet=name) for name, d in tabs.items()])
        write_csv(cells, out / "diagram.csv")
        write_page({"": tabs}, out / "report.html", refresh=refresh)
        if len(tabs) == 2:
            (first, one), (second, other) = tabs.items()
            arms = {"one": first, "other": second}
            write_csv(one.compare(other).assign(**arms), out / "comparison.csv")
            whole = compare.overall(one, other).assign(**arms)
            write_csv(whole, out / "comparison_overall.csv")
            if whole["pairs"].any():
                said = "{of} {difference:+.3g} [{low:.3g}, {high:.3g}], p = {p:.2g} (of {unit} {least_p:.2g} at least; "
                said += "{pairs} pairs, {left_out} left out)"
                told = "; ".join(said.format(**row) for row in whole.to_dict("records"))
                print(f"paired, {first} less {second}: {told}")
            else:
                print(f"no run of {first} has the seeds of one of {second}: nothing is paired")
    else:
        diagram = results.phase_diagram(x, y, **options)
        values = diagram.value_map(VALUES.value) if VALUES.value else None
        out.mkdir(parents=True, exist_ok=True)
        if values is not None:
            values.plot(out / "values.png", STATISTIC.value)  # first: it may be refused
            values.to_csv(out / "values.csv")
        for ending in ("png", "svg"):
            diagram.plot(out / f"diagram.{ending}", COLUMNS.value)
        diagram.to_csv(out / "diagram.csv")
        write_page(diagram, out / "report.html", refresh=refresh)
        if values is not None:
            print(f"values: {out / 'values.png'}")
        tell(diagram)
    if (out / "diagram.png").exists():
        print(f"figure: {out / 'diagram.png'}")
    print(f"page:   {out / 'report.html'}")


def chosen(results: sweeps.Results) -> dict:
    """The options of `Results.phase_diagram` that the flags ask for."""
    where = {}
    for text in WHERE.value:
        (path, values), *_ = grammar.assignment(text, "where", "task.p=31").axes.items()
        if len(values) != 1 or path in where:
            raise FieldError(path, values, "is held at one value")
        where[path] = values[0]
    labelling: Any = LABELS.value
    if labelling.endswith(".py"):
        labelling = getattr(command.load_file(labelling, "labels"), "labelling", None)
        if not isinstance(labelling, labels.Labelling):
            raise FieldError("labels", LABELS.value, "must define labelling = sweeps.Labelling(…)")
    return {
        "metric": METRIC.value,
        "threshold": THRESHOLD.value,
        "budget": BUDGET.value,
        "gap": GAP.value,
        "sustained": SUSTAINED.value,
        "beyond": BEYOND.value,
        "labels": labelling,
        "where": where,
        "pool": POOL.value,
        "unfinished": WATCH.value is not None,
        "bins": BINS.value
        or (16 if any(isinstance(side, sweeps.Range) for side in results.refined.values()) else None),
        "contour": CONTOUR.value,
        "levels": tuple(grammar.values(LEVELS.value, "levels")) if LEVELS.value is not None else None,
    }


def axes(results: sweeps.Results, where: dict) -> tuple[str, str]:
    """The fields to draw over: those asked for, then the sweep's own in their order."""
    varied = [path for path, values in results.specification["axes"].items() if len(values) > 1]
    free = [p for p in varied if p not in ("seed", "split_seed", FACET.value, *where, *POOL.value)]
    if len(free) < 2 and None in (X.value, Y.value):
        raise FieldError("x", X.value, f"give --x and --y: the sweep has {len(free)} axis apart from seeds")
    left = [path for path in free if path not in (X.value, Y.value)]
    x = X.value or left.pop(0)
    return x, Y.value or left.pop(0)


def tell(diagram: sweeps.Diagram) -> None:
    """Prints what was found."""
    for index, name in enumerate(diagram.labelling.names):
        runs, cells = int((diagram.runs["label"] == index).sum()), int((diagram.majority == index).sum())
        if runs:
            print(f"{name:17} {runs:6} runs, majority of {cells} cells")
    if diagram.boundary is not None:
        print(f"P({diagram.labelling.event_name}) ≥ 1/2 in {style.area_text(diagram.boundary, '{:.3f}')}")
    if said := style.undecided_text(diagram):
        print(said)
    if left := Provenance.of(diagram.source).unfinished(diagram.source):
        print(f"not finished: {left}")
