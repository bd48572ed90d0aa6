"""What the programs share: clear errors, and finding the recipe that was asked for."""

import dataclasses
import inspect
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import jax
from absl import app, flags
from rich.console import Console
from rich.table import Table

import jaxgen
from jaxgen import Experiment, FieldError
from jaxgen.components import KINDS
from jaxgen.errors import first_line
from jaxgen.source import in_installed_folder
from sweeps import recipes
from sweeps.axes import grammar
from sweeps.axes.sweep import Sweep, product, replaced, seeds
from sweeps.diagrams.plane import SEEDS
from sweeps.diagrams.results import Results
from sweeps.execution.profile import out_of_memory
from sweeps.execution.task import load_file
from sweeps.storage import store
from sweeps.storage.errors import StoreError, TryAgain
from sweeps.storage.workdir import Where
from sweeps.studies.recipe import Recipe, chosen
from sweeps.studies.run import run
from sweeps.studies.study import QUICK, Study

EXPECTED = FieldError, StoreError, OSError, flags.Error
STOPPED = 75  # "try again", as batch systems understand it
INTERRUPTED = 130  # by Ctrl-C


def start(program: ModuleType) -> None:
    """Runs a program of this room as if its file were the one that was started: `--help` tells its text and flags."""
    sys.modules["__main__"].__doc__ = program.__doc__
    flags_of = flags.FLAGS.flags_by_module_dict()
    flags_of[sys.argv[0]] = flags_of.pop(program.__name__, [])
    main(program.main)


def main(program: Callable[..., None]) -> None:
    """Runs a program with absl flags, given as many arguments beside them as it takes.

    Input that is not allowed ends it with one line on stderr and exit code 2.
    """
    taken = inspect.signature(program).parameters
    listed = any(one.kind is one.VAR_POSITIONAL for one in taken.values())

    def parse(arguments: list[str]) -> list[str]:
        try:
            return app.parse_flags_with_usage(arguments) if "--help" in arguments else flags.FLAGS(arguments)
        except flags.Error as error:
            refuse(error)

    def run(arguments: list[str]) -> None:
        given = arguments[1:]
        if len(given) > len(taken) and not listed:
            refuse(f"unexpected argument {given[len(taken)]!r}: flags look like --name=value")
        if len(given) < len(taken) and not listed:
            refuse(f"give {' '.join(taken).upper()}")
        try:
            program(*given)
        except TryAgain as error:
            say(error)
            sys.exit(STOPPED)
        except EXPECTED as error:
            refuse(error)
        except jax.errors.JaxRuntimeError as error:
            if not out_of_memory(error):
                raise
            refuse(f"not enough memory on the device for one block: {str(error).splitlines()[0]}")
        except (Exception, SystemExit) as error:  # a user's code may not end the program as if all were done
            if not users_frames(error):
                raise
            refuse(error)
        except KeyboardInterrupt:
            rest = "" if "dry_run" in flags.FLAGS and flags.FLAGS["dry_run"].value else ": the same command continues"
            print(f"interrupted{rest}", file=sys.stderr)
            sys.exit(INTERRUPTED)

    logging.getLogger("jax").setLevel(logging.WARNING)  # absl shows INFO, and jax says there which backends are missing
    try:
        app.run(run, flags_parser=parse)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # all is done and said: Python may end in peace
            signal.signal(number, signal.SIG_IGN)


def only(given: Sequence[str], flag: str | None) -> str:
    """The workdir that a program is given, as its argument or by --workdir; anything else ends it with one line."""
    places = [*given, *([] if flag is None else [flag])]
    if not places:
        refuse("give WORKDIR")
    if len(places) > 1:
        refuse(f"unexpected argument {places[1]!r}: one WORKDIR is looked at")
    return places[0]


def refuse(error: object) -> NoReturn:
    """One line on stderr, exit code 2; before it where in the user's own files the error arose, if it did there."""
    for frame in users_frames(error):
        print(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}', file=sys.stderr)
        if frame.line:
            print(f"    {frame.line}", file=sys.stderr)
    said = first_line(error) if isinstance(error, BaseException) and not isinstance(error, EXPECTED) else error
    if isinstance(error, OSError) and error.filename is not None:
        said = f"{error.filename}: {error.strerror}"
    say(said)
    sys.exit(2)


def say(error: object) -> None:
    """An error as one line on stderr."""
    print(" ".join(f"error: {error}".split()), file=sys.stderr)


def users_frames(error: object) -> list[traceback.FrameSummary]:
    """Where an error, or the one that it comes of, passed through files that are neither ours nor installed."""
    found = []
    for one in (error, getattr(error, "__cause__", None)):
        frames = traceback.extract_tb(getattr(one, "__traceback__", None))
        found += [frame for frame in frames if _is_users(Path(frame.filename))]
        if isinstance(one, SyntaxError) and one.filename:
            found.append(traceback.FrameSummary(one.filename, one.lineno, "its text", line=(one.text or "").strip()))
    return found


def _is_users(file: Path) -> bool:
    ours = Path(jaxgen.__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2] / "scripts"
    if not file.is_file() or in_installed_folder(str(file)):
        return False
    return not any(file.resolve().is_relative_to(place.resolve()) for place in ours)


def set_axes(base: Experiment, sweep: Sweep, texts: list[str], count: int | None) -> Sweep:
    """A recipe's sweep with the axes that --set and --seeds give in the place of its own.

    Args:
      base: the recipe's experiment.
      sweep: its points.
      texts: `path=values` each.
      count: how many seeds; those of the sweep when None.

    Raises:
      FieldError: an axis is not allowed, or given twice.
    """
    axes = [grammar.assignment(text) for text in texts]
    for path in (path for axis in axes for path in axis.axes):
        head, _, field = path.partition(".")
        if head in KINDS and (not field or isinstance(getattr(getattr(base, head), field, None), tuple)):
            what = "is a list" if field else "is a whole component"
            example = f"sweeps.sweep({path!r}, [{'(…), (…)' if field else '…, …'}])"
            raise FieldError(path, None, f"{what}: --set gives numbers and words; use {example} in a file for --sweep")
    if count is not None:
        axes.append(seeds(count))
    product(*axes)  # refuses an axis that is given twice
    for axis in axes:
        sweep = replaced(sweep, axis)
    return sweep


def find_recipe(name: str | None, file: str | None, scale: str, claims: list[str] | None = None) -> Recipe:
    """At a scale, the recipe called `name`, or the one that a Python file defines as `recipe`; of some claims only.

    Raises:
      FieldError: neither or both are given, there is none, or it has no such scale or claim.
    """
    if name is not None and file is None:
        return recipes.load(name).at(scale, claims)
    if name is not None or file is None:
        raise FieldError("recipe", name, f"give --recipe=NAME ({', '.join(recipes.names())}) or --sweep=FILE")
    recipe = getattr(load_file(file), "recipe", None)
    if isinstance(recipe, Study):
        return recipe.at(scale, claims)
    if not isinstance(recipe, Recipe):
        raise FieldError("sweep", file, "must define recipe = sweeps.Recipe(base=…, sweep=…), or a sweeps.Study")
    if scale != QUICK:
        raise FieldError("scale", scale, "is for a sweeps.Study: this file defines a sweeps.Recipe")
    if claims is not None:
        recipe = dataclasses.replace(recipe, claims=chosen(recipe.claims, claims), drawings=())
    return recipe if recipe.name else dataclasses.replace(recipe, name=Path(file).stem)


def run_recipe(recipe: Recipe, points: Sweep, workdir: Where, **options: Any) -> tuple[Results, int]:
    """Trains a recipe's experiment at the points; the results and how many runs they hold.

    Where some runs are not stored in the end, says so and ends the program with exit code 75.

    Args:
      recipe: at one of its scales.
      points: its sweep, or what the user made of it.
      workdir: directory of the results.
      **options: see `sweeps.Options`.
    """
    named: dict[str, Any] = {"name": recipe.name, "definition": recipe.definition, "description": recipe.description}
    results = run(recipe.base, points, workdir, **named, changed=changed(recipe, points), **options)
    return results, exit_if_stopped(results)


def share(text: str | None) -> tuple[int, int] | None:
    """What `--share=i/n` asks for, for `sweeps.Options`.

    Raises:
      FieldError: it is no such thing.
    """
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if not slash or not all(number.isdecimal() and number.isascii() and len(number) < 8 for number in (index, count)):
        raise FieldError("share", text, "must be i/n, the i-th of n shares, i from 0 to n - 1: --share=3/32")
    return int(index), int(count)


def changed(recipe: Recipe, points: Sweep) -> list[str]:
    """The fields, apart from seeds, that take other values at the points than the recipe gives them."""
    own = {path: [value] for path, value in recipe.base.flat().items()} | recipe.sweep.axes
    return [path for path, values in points.axes.items() if path not in SEEDS and values != own.get(path)]


def exit_if_stopped(results: Results) -> int:
    """How many runs are stored; ends the program where others of the sweep are not: exit code 75, 130 after Ctrl-C."""
    stored, wanted = len(store.stored_ids(results.workdir, results.run_ids)), len(results.run_ids or ())
    if stored < wanted:
        print(f"{stored} of {wanted} runs are stored in {results.workdir}: the same command continues")
        sys.exit(INTERRUPTED if results.stopped_by == signal.SIGINT else STOPPED)
    return stored


def print_table(table: Table, width: int = 110) -> None:
    """Prints a table, on paper so wide; what its cells say is text, whatever brackets stand in it."""
    Console(width=None if Console().is_terminal else width, markup=False).print(table)
