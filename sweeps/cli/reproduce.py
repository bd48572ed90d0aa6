"""Reproduces a study: trains its recipe, draws its diagrams, and checks the claims of its paper on the stored runs.

  python scripts/reproduce.py --recipe=edge_of_stability --scale=quick
  python scripts/reproduce.py --recipe=edge_of_stability --scale=paper --dry_run
  python scripts/reproduce.py --list
  python scripts/reproduce.py --all --scale=smoke
  python scripts/reproduce.py --recipe=edge_of_stability --scale=quick --claims=1,3
  python scripts/reproduce.py --recipe=edge_of_stability --scale=quick --seeds=10
  python scripts/reproduce.py --recipe=edge_of_stability --scale=paper --share=3/32 --workdir=gs://bucket/edge

Writes to the workdir: claims.json and claims.md (every effect with its interval over seeds; PASS, FAIL or UNDECIDED;
how many claims would PASS by chance, and whether later launches asked for other seeds), a figure per diagram and of
curves (PNG, SVG, and its cells or points as CSV), and report.html. The same command again continues the training and
draws anew; nothing is trained twice. A claim that fails is a finding, not an error. The dry run tells what each claim
and diagram costs.

--share=3/32 only trains, the fourth of 32 shares of the study's runs (see launch_sweep.py --help); once all shares are
stored, the command without it judges and draws, on a disk.

Exit codes: 0 everything was written, with --share the share's runs; 1 a claim's own code failed; 75 stopped before
that, 130 by Ctrl-C, run again; 2 the input is not allowed.
"""

import base64
import dataclasses
import json
import re
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from absl import flags
from rich.table import Table

import sweeps
from jaxgen import FieldError
from sweeps import recipes
from sweeps.cli import command, foretold
from sweeps.execution.plan import Plan
from sweeps.execution.prediction import Prediction
from sweeps.execution.progress import clock
from sweeps.report.gallery import write_gallery
from sweeps.report.lines import draw_lines, lines_caption
from sweeps.report.page import write_page
from sweeps.report.panels import draw_panels
from sweeps.report.provenance import VERSIONS
from sweeps.storage.files import write_csv, write_text
from sweeps.storage.launches import read as read_launches
from sweeps.storage.launches import that_trained
from sweeps.storage.specification import environment
from sweeps.storage.workdir import Workdir
from sweeps.studies import claims, study
from sweeps.studies.curves import traces
from sweeps.studies.run import foresee

RECIPE = flags.DEFINE_string("recipe", None, "Name of a recipe.")
SWEEP = flags.DEFINE_string("sweep", None, "Python file that defines `recipe = sweeps.Recipe(...)`.")
SCALE = flags.DEFINE_string("scale", "quick", "Scale of the recipe: quick, smoke, paper.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the results; out/RECIPE-SCALE when left out, out with --all."
)
LIST = flags.DEFINE_bool("list", False, "Print the studies that there are, their claims, and what each scale takes.")
ALL = flags.DEFINE_bool("all", False, "Every study, in directories of its own, and WORKDIR/gallery.html with them all.")
CLAIMS = flags.DEFINE_list("claims", None, "Only these claims, by their numbers, and the runs that they need.")
SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds in every cell and claim, instead of the recipe's.")
FORETOLD = foretold.Flags()
DEVICES = flags.DEFINE_integer("devices", None, "How many local devices to use; all when left out.", lower_bound=1)
WIDTH = flags.DEFINE_integer("width", None, "Lanes per block, instead of the rule's.", lower_bound=1)
GRACE = flags.DEFINE_float("grace_seconds", 30, "After SIGTERM, how long saving lanes may take.", lower_bound=0)
SHARE = flags.DEFINE_string("share", None, "i/n: train the i-th of n shares of the runs only, i from 0 to n - 1.")


def main() -> None:
    """Trains the recipe, judges its claims and draws its diagrams; of every study where that is asked for."""
    for flag in (RECIPE, SWEEP, CLAIMS) if LIST.value or ALL.value else ():
        if flag.value is not None:
            raise FieldError(flag.name, flag.value, "goes with one study: leave --list and --all out")
    if LIST.value:
        return show_studies()
    if not ALL.value:
        recipe = command.find_recipe(RECIPE.value, SWEEP.value, SCALE.value, CLAIMS.value)
        place = asked(f"out/{recipe.name}-{SCALE.value}")
        if FORETOLD.dry_run:
            foretell(recipe, place)
            return None
        return end([reproduced(recipe, place)])
    folder = asked("out").local
    found = [recipes.load(name).at(SCALE.value) for name in recipes.names()]
    places = {recipe.name: folder / f"{recipe.name}-{SCALE.value}" for recipe in found}
    if FORETOLD.dry_run:
        told = [foretell(recipe, Workdir(places[recipe.name])) for recipe in found]
        low, high = (sum(getattr(one, end) for one in told) for end in ("low", "high"))
        return print(f"all {len(told)} studies: {clock(low)} to {clock(high)}")
    check_hours({Workdir(places[recipe.name]): recipe for recipe in found})
    failed = [reproduced(recipe, Workdir(places[recipe.name]), max_hours=None) for recipe in found]
    if SHARE.value is None:
        write_gallery(list(places.values()), folder / "gallery.html")
        print(f"all:    {folder / 'gallery.html'}")
    end(failed)


def asked(otherwise: str) -> Workdir:
    """The directory that was asked for; on this machine's disk where figures are to lie there too."""
    workdir = Workdir.at(WORKDIR.value or otherwise)
    if SHARE.value is None:
        workdir.local  # noqa: B018 (refuses others)
    return workdir


def points_of(recipe: sweeps.Recipe) -> sweeps.Sweep:
    """Its runs, for as many seeds as are asked for."""
    if not recipe.drawings and not recipe.claims and not recipe.curves:
        raise FieldError("recipe", recipe.name, "has neither drawings nor claims: use launch_sweep.py")
    return command.set_axes(recipe.base, recipe.sweep, [], SEEDS.value)


def options() -> dict[str, Any]:
    """What `sweeps.Options` holds of the flags."""
    asked: dict[str, Any] = {"width": WIDTH.value, "devices": DEVICES.value, **FORETOLD.limits}
    return asked | {"grace_seconds": GRACE.value, "share": command.share(SHARE.value)}


def foreseen(recipe: sweeps.Recipe, place: Workdir, **other: Any) -> tuple[Plan, Prediction]:
    """The plan of one recipe and what it takes."""
    named: dict[str, Any] = {"name": recipe.name, "definition": recipe.definition}
    return foresee(recipe.base, points_of(recipe), place, **named, **options() | other)


def foretell(recipe: sweeps.Recipe, place: Workdir) -> Prediction:
    """Prints what one recipe takes, and each of its claims and diagrams."""
    target = FORETOLD.target
    plan, prediction = foreseen(recipe, place)
    foretold.show_plan(plan, prediction, place, target)
    show_parts(recipe, plan, prediction)
    return prediction


def check_hours(found: Mapping[Workdir, sweeps.Recipe]) -> None:
    """Refuses several recipes that together may take longer than --max_hours, before the first is trained."""
    limit = FORETOLD.limits["max_hours"]
    if limit is None:
        return
    told = [foreseen(recipe, place, max_hours=None)[1] for place, recipe in found.items()]
    low, high = (sum(getattr(one, end) for one in told) / 3600 for end in ("low", "high"))
    if high > limit:
        why = f"all {len(told)} studies take {low:.2g} to {high:.2g} h on this machine: allow more, or train some alone"
        raise FieldError("max_hours", limit, why)


def reproduced(recipe: sweeps.Recipe, place: Workdir, **other: Any) -> Path | None:
    """Trains, judges and draws one recipe; the file with the traceback of a claim's own code, where one failed."""
    FORETOLD.target  # noqa: B018 (refused where something is trained)
    results, stored = command.run_recipe(recipe, points_of(recipe), place, **options() | other)
    if SHARE.value is not None:
        print(f"all {stored} runs of share {SHARE.value} are stored in {place}: without --share they are judged")
        return None

    workdir = place.local
    planned = [c if SEEDS.value is None else dataclasses.replace(c, planned=SEEDS.value) for c in recipe.claims]
    evidence = sweeps.Evidence(results, recipe.base)
    judgements = sweeps.judge(planned, evidence)
    for judgement in judgements:
        print(f"({judgement.claim.name}) {judgement.verdict:9}  {judgement.claim.text}")
    launches = results.specification["launches"]
    some = "" if CLAIMS.value is None else re.sub(r"[^\w-]", "_", "-".join(["", *CLAIMS.value]))  # the others' stay
    write_text(workdir / f"claims{some}.md", claims.table(judgements, launches))
    told = {"recipe": recipe.name, "paper": recipe.paper, "description": recipe.description}
    how = {**told, "scale": SCALE.value, "command": sys.argv, "runs": stored}
    found = {**how, **environment(jax.local_devices()[0]), **claims.standing(judgements, launches)}
    trained = that_trained(read_launches(place))
    found["trained"] = [{name: one.get(name) for name in ("time", "updated", *VERSIONS)} for one in trained]
    found["claims"] = [j.to_dict() for j in judgements]
    found["drawings"] = [*(one.name for one in recipe.drawings), *(one.name for one in recipe.curves)]
    write_text(workdir / f"claims{some}.json", json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    curves = [c if SEEDS.value is None else dataclasses.replace(c, planned=SEEDS.value) for c in recipe.curves]
    shown = "".join(draw_curves(one, evidence, workdir) for one in curves)
    draw(recipe, results, workdir, claims.html(judgements, launches) + shown)
    print(f"claims: {workdir / f'claims{some}.md'}")
    return workdir / f"claims{some}.json" if any(j.verdict == sweeps.Verdict.ERROR for j in judgements) else None


def draw(recipe: sweeps.Recipe, results: sweeps.Results, workdir: Path, said: str) -> None:
    """A figure and a table of cells for each drawing, and one page of all of them that says what was claimed."""
    tabs: dict[str, sweeps.Diagram | dict[str, sweeps.Diagram]] = {}
    for drawing in recipe.drawings:
        plane = study.on_plane(results, drawing, recipe.parts.get(drawing.part))
        panels = {
            title: plane.phase_diagram(
                drawing.x,
                drawing.y,
                where=where,
                contour=drawing.contour,
                labels=drawing.labels,
                overlays=drawing.overlays,
            )
            for title, where in drawing.panels.items()
        }
        for ending in ("png", "svg"):
            draw_panels(panels, workdir / f"{drawing.name}.{ending}")
        tabs[drawing.name] = panels if len(panels) > 1 else next(iter(panels.values()))
        cells = pd.concat([d.cell_table().assign(panel=title) for title, d in panels.items()])
        write_csv(cells, workdir / f"{drawing.name}.csv")
    if tabs:
        write_page(tabs, workdir / "report.html", said)
    elif said:
        name = escape(recipe.name)
        head = f'<!doctype html><html lang=en><meta charset="utf-8"><title>{name}</title><h1>{name}</h1>'
        write_text(workdir / "report.html", f"{head}{said}</html>")
    if tabs or said:
        print(f"page:   {workdir / 'report.html'}")


def draw_curves(curves: sweeps.Curves, evidence: sweeps.Evidence, workdir: Path) -> str:
    """A figure, its caption and a table of its numbers; the figure as HTML."""
    found = traces(curves, evidence)
    for note in found.notes:
        print(f"curves {curves.name}: {note}")
    measured = {probe.rpartition("/")[2] for probe in curves.groups.values()}
    what = measured.pop().replace("_", " ") if len(measured) == 1 else ""
    for ending in ("png", "svg"):
        path = workdir / f"{curves.name}.{ending}"
        draw_lines(found.table, path, curves.over, found.levels, curves.marks, what)
    said = lines_caption(found.table, curves.over, found.levels, curves.marks, curves.groups)
    write_text(workdir / f"{curves.name}.txt", said)
    write_csv(found.table, workdir / f"{curves.name}.csv")
    picture = base64.b64encode((workdir / f"{curves.name}.png").read_bytes()).decode()
    image = f'<img style="max-width:100%" alt="{escape(said, quote=True)}" src="data:image/png;base64,{picture}">'
    return f"<details><summary>Curves: {escape(curves.name)}</summary>{image}</details>"


def end(failed: list[Path | None]) -> None:
    """Ends the program with exit code 1 where the code of a claim failed."""
    if files := [file for file in failed if file is not None]:
        print(f"a claim's own code failed: {', '.join(map(str, files))} has its traceback", file=sys.stderr)
        sys.exit(1)


def show_studies() -> None:
    """Prints every study with its paper and claims, and its runs and lane-steps at each scale."""
    table = Table("study", "paper", "claims", "scale", "runs", "lane-steps at most")
    for one in map(recipes.load, recipes.names()):
        told = [one.name, one.paper or one.description, f"{len(one.claims)}"]
        for scale in one.scales:
            recipe = one.at(scale)
            runs = {run.run_id: run for run in (recipe.base.override(point) for point in recipe.sweep)}
            table.add_row(*told, scale, f"{len(runs):,}", f"{sum(run.training.steps for run in runs.values()):,}")
            told = ["", "", ""]
    command.print_table(table)
    print("--dry_run tells what each claim and diagram of one costs on this machine")


def show_parts(recipe: sweeps.Recipe, plan: Plan, prediction: Prediction) -> None:
    """Prints what each claim and diagram needs: its runs, those to train, and their time, which others may share."""
    steps = {run_id: b[0] for group in plan.groups for b, (run_id, _) in zip(group.budgets, group.pending)}
    table = Table("for", "runs", "to train", "lane-steps", "alone at most about")
    for name, part in recipe.parts.items():
        points = command.set_axes(recipe.base, part, [], SEEDS.value)
        run_ids = {recipe.base.override(point).run_id for point in points}
        left = [steps[run_id] for run_id in run_ids if run_id in steps]
        time = clock(prediction.seconds * sum(left) / max(plan.steps, 1))
        table.add_row(name, f"{len(run_ids)}", f"{len(left)}", f"{sum(left):,}", time)
    command.print_table(table)
