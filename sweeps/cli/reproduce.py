"""Reproduces a study: trains its recipe, draws its diagrams, and checks the claims of its paper on the stored runs.

  python scripts/reproduce.py --recipe=edge_of_stability --scale=quick
  python scripts/reproduce.py --recipe=edge_of_stability --scale=paper --dry_run
  python scripts/reproduce.py --recipe=edge_of_stability --scale=quick --seeds=10

Writes to the workdir: claims.json and claims.md (every effect with its interval over seeds; PASS, FAIL or UNDECIDED;
how many claims would PASS by chance, and whether later launches asked for other seeds), a figure per diagram (PNG, SVG,
and its cells as CSV), and report.html. The same command again continues the training and draws anew; nothing is trained
twice. A claim that fails is a finding, not an error.

Exit codes: 0 everything was written; 75 stopped before that, 130 by Ctrl-C, run again; 2 the input is not allowed.
"""

import json
import sys
from typing import Any

import jax
import pandas as pd
from absl import flags

import sweeps
from jaxgen import FieldError
from sweeps.cli import command
from sweeps.report.page import write_page
from sweeps.report.panels import draw_panels
from sweeps.storage.files import write_csv, write_text
from sweeps.storage.specification import environment
from sweeps.storage.workdir import Workdir
from sweeps.studies import claims
from sweeps.studies.run import foresee

RECIPE = flags.DEFINE_string("recipe", None, "Name of a recipe.")
SWEEP = flags.DEFINE_string("sweep", None, "Python file that defines `recipe = sweeps.Recipe(...)`.")
SCALE = flags.DEFINE_string("scale", "quick", "Scale of the recipe: quick, smoke, paper.")
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the results; out/RECIPE-SCALE when left out.")
SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds in every cell and claim, instead of the recipe's.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print groups, lanes, predicted memory and time; train nothing.")
MAX_HOURS = flags.DEFINE_float("max_hours", None, "Stop, resumably, after this long.", lower_bound=0)
DEVICES = flags.DEFINE_integer("devices", None, "How many local devices to use; all when left out.", lower_bound=1)
WIDTH = flags.DEFINE_integer("width", None, "Lanes per block, instead of the rule's.", lower_bound=1)


def main() -> None:
    """Trains the recipe, judges its claims and draws its diagrams."""
    recipe = command.find_recipe(RECIPE.value, SWEEP.value).at(SCALE.value)
    if not recipe.drawings and not recipe.claims:
        raise FieldError("recipe", recipe.name, "has neither drawings nor claims: use launch_sweep.py")
    points = command.set_axes(recipe.base, recipe.sweep, [], SEEDS.value)
    workdir = Workdir.at(WORKDIR.value or f"out/{recipe.name}-{SCALE.value}").local  # figures lie there too
    options: dict[str, Any] = {"max_hours": MAX_HOURS.value, "width": WIDTH.value, "devices": DEVICES.value}
    if DRY_RUN.value:
        named: dict[str, Any] = {"name": recipe.name, "definition": recipe.definition}
        return command.show_plan(*foresee(recipe.base, points, workdir, **named, **options), workdir)
    results, stored = command.run_recipe(recipe, points, workdir, **options)

    judgements = sweeps.judge(recipe.claims, sweeps.Evidence(results, recipe.base))
    for judgement in judgements:
        print(f"({judgement.claim.name}) {judgement.verdict:9}  {judgement.claim.text}")
    launches = results.specification["launches"]
    write_text(workdir / "claims.md", claims.table(judgements, launches))
    how = {"recipe": recipe.name, "scale": SCALE.value, "command": sys.argv, "runs": stored}
    found = {**how, **environment(jax.local_devices()[0]), **claims.standing(judgements, launches)}
    found["claims"] = [j.to_dict() for j in judgements]
    write_text(workdir / "claims.json", json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))

    tabs: dict[str, Any] = {}
    for drawing in recipe.drawings:
        panels = {
            title: results.phase_diagram(
                drawing.x, drawing.y, where=where, contour=drawing.contour, labels=drawing.labels
            )
            for title, where in drawing.panels.items()
        }
        for ending in ("png", "svg"):
            draw_panels(panels, workdir / f"{drawing.name}.{ending}")
        tabs |= {f"{drawing.name}: {title}" if title else drawing.name: d for title, d in panels.items()}
        cells = pd.concat([d.cell_table().assign(panel=title) for title, d in panels.items()])
        write_csv(cells, workdir / f"{drawing.name}.csv")
    if tabs:
        write_page(tabs, workdir / "report.html", claims.html(judgements, launches))
        print(f"page:   {workdir / 'report.html'}")
    print(f"claims: {workdir / 'claims.md'}")
