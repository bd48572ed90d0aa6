"""Trains a sweep. The same command again continues it; finished runs are never trained again.

  python scripts/launch_sweep.py --recipe=quickstart --workdir=out/quickstart
  python scripts/launch_sweep.py --sweep=my_sweep.py --workdir=out/mine --dry_run
  python scripts/launch_sweep.py --recipe=quickstart --workdir=out/fine --seeds=5 --set='task.p=23,31'

--set replaces or adds an axis: path=values, where values are numbers or words (0.1,0.2), linspace(start,stop,count),
logspace(start,stop,count) from 10^start to 10^stop, or range(start,stop,step).

Exit codes: 0 all runs are stored; 75 stopped before that, launch again; 2 the input is not allowed.
"""

from absl import flags

import sweeps
from sweeps import command, engine, grammar, spec

RECIPE = flags.DEFINE_string("recipe", None, "Name of a recipe.")
SWEEP = flags.DEFINE_string("sweep", None, "Python file that defines `recipe = sweeps.Recipe(...)`.")
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the results.", required=True)
SCALE = flags.DEFINE_string("scale", "quick", "Scale of the recipe: quick, smoke, paper.")
SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds, instead of the recipe's.")
SET = flags.DEFINE_multi_string("set", [], "An axis: path=values. May be given several times.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print groups, lanes, predicted memory and time; train nothing.")
MAX_HOURS = flags.DEFINE_float("max_hours", None, "Stop, resumably, after this long.", lower_bound=0)
MAX_COMPILES = flags.DEFINE_integer(
    "max_compiles", 100, "Refuse sweeps that need more compiled programs.", lower_bound=1
)
WIDTH = flags.DEFINE_integer("width", None, "Lanes per block, instead of measuring.", lower_bound=1)
DEVICES = flags.DEFINE_integer("devices", None, "How many local devices to use; all when left out.", lower_bound=1)
CHECKPOINT = flags.DEFINE_float("checkpoint_seconds", 10, "How often lanes in mid-training are saved.", lower_bound=0)


def main() -> None:
    recipe = command.find_recipe(RECIPE.value, SWEEP.value).at(SCALE.value)
    points = recipe.sweep
    axes = [grammar.assignment(text) for text in SET.value]
    if SEEDS.value is not None:
        axes.append(sweeps.seeds(SEEDS.value))
    sweeps.product(*axes)  # refuses an axis that is given twice
    for axis in axes:
        points = spec.replaced(points, axis)
    if DRY_RUN.value:
        return command.show_plan(
            *engine.foresee(recipe.base, points, WORKDIR.value, name=recipe.name, max_compiles=MAX_COMPILES.value)
        )
    _, stored = command.run_recipe(
        recipe,
        points,
        WORKDIR.value,
        width=WIDTH.value,
        devices=DEVICES.value,
        max_hours=MAX_HOURS.value,
        max_compiles=MAX_COMPILES.value,
        checkpoint_seconds=CHECKPOINT.value,
    )
    print(f"all {stored} runs of this sweep are stored in {WORKDIR.value}")


if __name__ == "__main__":
    command.main(main)
