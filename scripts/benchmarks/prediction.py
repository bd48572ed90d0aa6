"""Whether sweeps take as long as the dry run says: each is foretold, then trained, in processes of their own.

What was foretold and measured is kept in a folder as each sweep ends, so that the case goes on where it was stopped; a
sweep that was interrupted begins again, from an empty cache. The mixed sweep is compiled without XLA's optimizations:
with them 300 programs take most of an hour on two cores, and compiling would hide all the rest.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
SWEEPS = "quickstart", "mixed", "edge_of_stability", "smoke"
RUN = """
import json, sys, time
import sweeps
from benchmarks.prediction import recipe
from sweeps.studies.run import foresee
recipe, what, workdir = recipe(sys.argv[1], int(sys.argv[2])), sys.argv[3], sys.argv[4]
begun, busy = time.monotonic(), time.process_time()
if what == "foretell":
    plan, told = foresee(recipe.base, recipe.sweep, workdir, max_compiles=1000)
    found = {"low": told.low, "high": told.high, "parts": told.parts, "programs": len(told.costs), "runs": plan.pending,
             "free": told.speed.free, "rate": told.speed.rate, "share": told.share, "took": time.monotonic() - begun}
else:
    sweeps.run(recipe.base, recipe.sweep, workdir, max_compiles=1000, quiet=True)
    import jax
    found = {"seconds": time.monotonic() - begun, "busy": (time.process_time() - busy) / len(jax.local_devices())}
print(json.dumps(found))
"""


def recipe(name: str, programs: int) -> Any:
    """The quickstart, at its quick or smoke scale, a study at its quick scale, or toys of so many programs."""
    import sweeps
    from sweeps import recipes

    if name == "smoke":
        return recipes.load("quickstart").at("smoke")
    if name != "mixed":
        return recipes.load(name).at("quick")
    import jaxgen as jg

    t, o = jg.tasks, jg.optimizers
    base = jg.Experiment(
        t.ModularAddition(p=7, train_fraction=0.5),
        jg.models.QuadraticMLP(width=8),
        jg.losses.CrossEntropy(),
        o.AdamW(learning_rate=0.01),
        jg.Training(steps=400, evaluate_every=50),
    )
    structure = sweeps.product(
        sweeps.sweep("model.width", [8, 12, 16, 24, 32]),
        sweeps.sweep("optimizer", [o.AdamW(), o.SGD(), o.Lion(), o.PerpAdamW(), o.Muon()]),
        sweeps.sweep("loss", [jg.losses.CrossEntropy(), jg.losses.MeanSquaredError()]),
        sweeps.sweep("task", [t.ModularAddition(p=7), t.ModularSubtraction(p=11), t.ModularMultiplication(p=11)]),
        sweeps.sweep("training.dtype", ["float32", "float64"]),
    )
    spread = [structure[i * len(structure) // programs] for i in range(programs)]
    chosen = sweeps.chain(*(sweeps.product(*(sweeps.fixed(k, v) for k, v in point.items())) for point in spread))
    return sweeps.Recipe(base, sweeps.product(chosen, sweeps.sweep("training.steps", [100, 400]), sweeps.seeds(4)))


def prediction(names: list[str], programs: int, folder: Path) -> list[dict[str, Any]]:
    """Foretells and trains each of some sweeps: "quickstart", "smoke" (a small one of it), "mixed", a study.

    Args:
      names: of the sweeps.
      programs: of the mixed one, at most 300.
      folder: where what is found is kept, a file each; those that are there are not measured again.

    Returns:
      Of each: seconds foretold (low, high), measured (seconds; busy: those for which the processor worked, per core),
      programs, runs, share of the machine that was free, and seconds that foretelling took.
    """
    found = []
    for name in names:
        kept = folder / f"{name}-{programs}.json"
        if not kept.exists():
            held = folder / f"{name}-{programs}"
            shutil.rmtree(held, ignore_errors=True)
            told = _python(name, programs, "foretell", held)
            done = _python(name, programs, "train", held)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({"sweep": name, **told, **done}, indent=1))
            shutil.rmtree(held, ignore_errors=True)
        found.append(json.loads(kept.read_text()))
    return found


def report(found: list[dict[str, Any]]) -> None:
    """Prints a table: what was foretold and measured, and whether the one holds the other."""
    head = f"{'':12}{'programs':>9}{'runs':>7}{'foretold, s':>18}{'high / low':>12}{'measured, s':>13}{'inside':>8}"
    print(f"{head}{'busy':>8}{'foretelling':>13}{'free before':>13}")
    for one in found:
        low, high, took = one["low"], one["high"], one["seconds"]
        inside = "yes" if low <= took <= high else "no"
        between = f"{low:,.0f} – {high:,.0f}"
        row = f"{one['sweep']:12}{one['programs']:>9}{one['runs']:>7,}{between:>18}{high / low:>12.2f}"
        print(f"{row}{took:>13,.0f}{inside:>8}{one['busy'] / took:>8.0%}{one['took']:>11,.0f} s{one['free']:>13.0%}")
    print("busy: share of all cores' time that the sweep was given; far below what is usual, others had the machine")


def _python(name: str, programs: int, what: str, held: Path) -> dict[str, Any]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "XDG_CACHE_HOME": str(held / "cache"), "PYTHONPATH": path}
    if name == "mixed":
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICKLY}"
    command = [sys.executable, "-c", RUN, name, str(programs), what, str(held / "workdir")]
    return json.loads(subprocess.check_output(command, env=environment, text=True).splitlines()[-1])
