"""Trains a sweep. The same command again continues it; finished runs are never trained again.

  python scripts/launch_sweep.py --recipe=quickstart --workdir=out/quickstart
  python scripts/launch_sweep.py --sweep=my_sweep.py --workdir=out/mine --dry_run
  python scripts/launch_sweep.py --recipe=quickstart --workdir=out/fine --seeds=5 --set='task.p=23,31'
  python scripts/launch_sweep.py --recipe=quickstart --workdir=out/line --budget=300 \\
      --refine=task.train_fraction,optimizer.weight_decay

--refine samples two axes of the sweep, between the ends that it gives them, in rounds where runs tell most about the
line on which half of them generalise, instead of on a grid, until --budget runs are stored or the --goal is met.

--set replaces or adds an axis: path=values, where values are numbers or words (0.1,0.2), linspace(start,stop,count),
logspace(start,stop,count) from 10^start to 10^stop, or range(start,stop,step).

--preflight=v5e:2x2 compiles every program for a TPU that need not be there (pip install -e .[tpu]) and says what
memory, FLOPs and bytes each takes, what bounds its speed, and what cannot be relied on there. Nothing is trained:

  python scripts/launch_sweep.py --recipe=quickstart --workdir=out/quickstart --preflight=v5e:2x2

--share=3/32 trains the fourth of 32 shares of the sweep, as a worker of a Kubernetes indexed job or a SLURM array does:

  python scripts/launch_sweep.py --recipe=quickstart --workdir=gs://bucket/sweep --share=$JOB_COMPLETION_INDEX/32

Shares count from 0, are balanced by the time that they are foretold to take, and follow from the command alone: submit
any of them again, in any order, any number of times. What two train counts once; a launch without --share trains what
is left. Runs that start from others wait for the shares that train those (exit code 75).

The dry run compiles and times up to ten programs, the longest first, and begins none after 45 s; it trains copies of
some runs where these may stop early, and keeps what it compiled for the launch. Its time is that of this machine alone;
--for=v5e-8 adds bounds for an accelerator, by peak rates. Limits that begin with --max_ refuse a sweep before anything
starts: --max_hours by the high end of that time, --max_memory (GiB of a device), --max_compiles (programs).
--stop_after_hours stops training; the same command goes on.

--executor=ray trains all shares as tasks of a Ray cluster (pip install 'jaxgen[ray]'), from which machines may be taken
and to which others may come; the workdir has to be one that all of them see:

  python scripts/launch_sweep.py --recipe=quickstart --workdir=/shared/quickstart --executor=ray --address=auto --cpus=2

Exit codes: 0 all runs are stored, with --share those of the share; 75 stopped before that, or another process trains
there, launch again; 130 by Ctrl-C, launch again; 2 the input is not allowed. After SIGTERM lanes are saved within
--grace_seconds; then the code is 75.
"""

from typing import Any

import jax
from absl import flags

import sweeps
from jaxgen import FieldError
from jaxgen.components import unknown
from sweeps.axes.scales import kind
from sweeps.cli import command, foretold, preflight
from sweeps.execution import launch
from sweeps.storage.workdir import Workdir
from sweeps.studies import proposal, refine
from sweeps.studies.run import foresee

RECIPE = flags.DEFINE_string("recipe", None, "Name of a recipe.")
SWEEP = flags.DEFINE_string("sweep", None, "Python file that defines `recipe = sweeps.Recipe(...)`.")
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the results, or its URI (gs://…, s3://…).", required=True)
SCALE = flags.DEFINE_string("scale", "quick", "Scale of the recipe: quick, smoke, paper.")
SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds, instead of the recipe's.")
SET = flags.DEFINE_multi_string("set", [], "An axis: path=values. May be given several times.")
REFINE = flags.DEFINE_list("refine", [], "Two fields to sample between the ends of their axes, where it tells most.")
BUDGET = flags.DEFINE_integer(
    "budget", None, "How many runs --refine trains in all, at most 100,000; 512 when left out.", lower_bound=1
)
GOAL = flags.DEFINE_float("goal", None, "Share of the plane that the line's band may take up: --refine ends there.")
ON_GRID = flags.DEFINE_bool("on_grid", False, "With --refine: only the values of the sweep's axes.")
KEY = flags.DEFINE_integer("key", 0, "Of the random numbers of --refine.", lower_bound=0)
FORETOLD = foretold.Flags()
PREFLIGHT = flags.DEFINE_string(
    "preflight",
    None,
    "A TPU's topology, such as v5e:2x2: compile the programs for it, here, and print what each takes.",
)
MAX_COMPILES = flags.DEFINE_integer(
    "max_compiles", 100, "Refuse sweeps that need more compiled programs.", lower_bound=1
)
WIDTH = flags.DEFINE_integer("width", None, "Lanes per block, instead of the rule's.", lower_bound=1)
TUNE = flags.DEFINE_bool("tune", False, "Measure the fastest width of each program first, and write it down.")
DEVICES = flags.DEFINE_integer("devices", None, "How many local devices to use; all when left out.", lower_bound=1)
CHECKPOINT = flags.DEFINE_float("checkpoint_seconds", 10, "How often lanes in mid-training are saved.", lower_bound=0)
GRACE = flags.DEFINE_float("grace_seconds", 30, "After SIGTERM, how long saving lanes may take.", lower_bound=0)
EXECUTOR = flags.DEFINE_enum("executor", None, ["ray"], "Train shares of the sweep as tasks of a Ray cluster.")
ADDRESS = flags.DEFINE_string("address", None, "The cluster: host:port, auto; one of this machine alone if left out.")
SHARES = flags.DEFINE_integer("shares", None, "How many shares; as many as there is room for at once if left out.")
CPUS = flags.DEFINE_integer("cpus", 1, "Processors of each share.")
GPUS = flags.DEFINE_float("gpus", 0, "GPUs of each share; a part of one may be given, as 0.25.")
TPUS = flags.DEFINE_integer("tpus", 0, "TPU chips of each share: 1, 4 or 8.")
RETRIES = flags.DEFINE_integer("retries", 5, "How often in a row a share may fail that stores nothing in between.")
OF_EXECUTORS = ADDRESS, SHARES, CPUS, GPUS, TPUS, RETRIES
SHARE = flags.DEFINE_string("share", None, "i/n: train the i-th of n shares of the sweep only, i from 0 to n - 1.")


def main() -> None:
    """Trains what the flags ask for, or tells what it would cost."""
    if EXECUTOR.value is not None:
        jax.config.update("jax_platforms", "cpu")  # accelerators are for the tasks
    recipe, asked = command.find_recipe(RECIPE.value, SWEEP.value, SCALE.value), FORETOLD.target
    points = command.set_axes(recipe.base, recipe.sweep, SET.value, SEEDS.value)
    if REFINE.value:
        return refine_line(recipe, points)
    for flag in (BUDGET, GOAL, ON_GRID, KEY):
        if flag.present:
            raise FieldError(flag.name, flag.value, "goes with --refine=X,Y only")
    if Workdir.at(WORKDIR.value).is_refined:
        raise FieldError("workdir", WORKDIR.value, "holds a refined sweep: give --refine too, or use another directory")
    if PREFLIGHT.value is not None:
        of: dict[str, Any] = {"topology": PREFLIGHT.value, "name": recipe.name, **options()}
        return preflight.show(launch.preflight(recipe.base, points, WORKDIR.value, **of), PREFLIGHT.value)
    if FORETOLD.dry_run:
        named: dict[str, Any] = {"name": recipe.name, "definition": recipe.definition}
        told = foresee(recipe.base, points, WORKDIR.value, **named, **options())
        return foretold.show_plan(*told, WORKDIR.value, asked)
    _, stored = command.run_recipe(recipe, points, WORKDIR.value, **options())
    whole = "this sweep" if SHARE.value is None else f"share {SHARE.value}"
    print(f"all {stored} runs of {whole} are stored in {WORKDIR.value}")


def options() -> dict:
    """What `sweeps.Options` holds of the flags."""
    return {
        "width": WIDTH.value,
        "tune": TUNE.value,
        "devices": DEVICES.value,
        **FORETOLD.limits,
        "max_compiles": MAX_COMPILES.value,
        "checkpoint_seconds": CHECKPOINT.value,
        "grace_seconds": GRACE.value,
        "share": command.share(SHARE.value),
        "executor": executor(),
    }


def executor() -> sweeps.Ray | None:
    """Where shares are trained, if not all of the sweep is here."""
    if EXECUTOR.value is None:
        for flag in OF_EXECUTORS:
            if flag.present:
                raise FieldError(flag.name, flag.value, "goes with --executor=ray only")
        return None
    asked: dict[str, Any] = {flag.name: flag.value for flag in OF_EXECUTORS}
    return sweeps.Ray(**asked | {"gpus": int(GPUS.value) if GPUS.value.is_integer() else GPUS.value})


def refine_line(recipe: sweeps.Recipe, points: sweeps.Sweep) -> None:
    """Trains in rounds along the line, instead of the sweep's own points."""
    if SHARE.value is not None:
        raise FieldError("share", SHARE.value, "is of a sweep's own points: rounds of --refine follow from each other")
    if PREFLIGHT.value is not None:
        raise FieldError("preflight", PREFLIGHT.value, "is of a sweep's own points: leave --refine out")
    if EXECUTOR.value is not None:
        raise FieldError("executor", EXECUTOR.value, "trains a sweep's own points: leave out --refine")
    if len(set(REFINE.value)) != 2 or len(REFINE.value) != 2:
        raise FieldError("refine", ",".join(REFINE.value), "must be two different fields: X,Y")
    for path in REFINE.value:
        if path not in recipe.base.paths():
            raise unknown(path, recipe.base.paths())
        if path not in recipe.base.leaf_paths():
            raise FieldError("refine", path, "is structure: each value would be a compiled program")
    if SEEDS.value is not None or any(text.partition("=")[0].strip() == "seed" for text in SET.value):
        raise FieldError("seeds", SEEDS.value, "--refine gives each point seeds of its own: leave it out")
    budget = BUDGET.value or 512
    for path, values in points.axes.items():
        if path not in (*REFINE.value, "seed", "split_seed") and len(values) > 1:
            raise FieldError(path, values, f"is an axis of the sweep too: hold it at one value with --set={path}=…")
    base = recipe.base.override({p: v[0] for p, v in points.axes.items() if p not in (*REFINE.value, "seed")})
    sides = {path: side(path, points) for path in REFINE.value}
    named: dict[str, Any] = {"name": recipe.name, "definition": recipe.definition}
    asked = refine.Rounds(budget, goal=GOAL.value, key=KEY.value)
    limits = {name: options()[name] for name in ("max_hours", "max_memory")}
    if FORETOLD.dry_run or any(limit is not None for limit in limits.values()):
        plane, _, rounds = refine.checked(base, sides, WORKDIR.value, asked)
        left = max(budget - sum(map(len, rounds)), 0)
        first = [proposal.propose([], [], [], [], plane, left, key=KEY.value)] if left else []
        runs = refine.as_sweep(sides, [*rounds, *first])
        told = foresee(base, runs, WORKDIR.value, **named, **options())
        if FORETOLD.dry_run:
            return foretold.show_plan(*told, WORKDIR.value, FORETOLD.target)
    named |= {"description": recipe.description, "changed": command.changed(recipe, points)}
    results = refine.refine(base, sides, WORKDIR.value, asked, **named, **options() | dict.fromkeys(limits))
    stored = command.exit_if_stopped(results)
    print(f"{stored} runs in rounds along the line are stored in {WORKDIR.value}")
    x, y = sides.values()
    radius = proposal.unseen(proposal.Plane(*proposal.Plane(x, y).ranges), *refine.outcomes(results, *sides)[:2])
    print(f"an island of a radius up to {radius:.2f} of the plane's sides can have been missed: no run is within it")


def side(path: str, points: sweeps.Sweep) -> proposal.Side:
    """What --refine may sample of an axis: all between its ends, or only its values."""
    values = points.axes.get(path)
    if values is None:
        raise FieldError("refine", path, f"is no axis of this sweep ({', '.join(points.axes)}): add it with --set")
    numbers = sorted(v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool))
    if len(numbers) < 2 or len(numbers) < len(values):
        raise FieldError(path, values, "needs two or more numbers to sample between")
    return numbers if ON_GRID.value else sweeps.Range(numbers[0], numbers[-1], kind(numbers) == "log")
