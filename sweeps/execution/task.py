"""A share of a sweep, trained by a process that was told of it in a text (`executor.written`)."""

import importlib.machinery
import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from jaxgen import Experiment, FieldError
from jaxgen.errors import first_line
from sweeps.axes.sweep import Sweep
from sweeps.execution import launch
from sweeps.execution.executor import VERSIONS, How
from sweeps.execution.profile import out_of_memory
from sweeps.storage import store
from sweeps.storage.errors import StoreError, TryAgain, Waits
from sweeps.storage.workdir import Workdir


def train(text: str, index: int, count: int) -> tuple[How, str]:
    """Trains a share of the sweep that `executor.written` wrote, in this process: how it ended, and why (`Ended`).

    Ctrl-C, or an interrupt in its place, saves its lanes.
    """
    host = socket.gethostname()
    try:
        return _train(json.loads(text), index, count)
    except Waits as error:
        return "waits", f"{error}"
    except TryAgain as error:
        return "failed", f"{error}"
    except (FieldError, StoreError, OSError) as error:
        return "refused", f"{error} (on {host})"
    except jax.errors.JaxRuntimeError as error:
        return ("refused" if out_of_memory(error) else "failed"), f"{first_line(error)} (on {host})"


def _train(told: Mapping[str, Any], index: int, count: int) -> tuple[How, str]:
    if told["versions"] != VERSIONS:
        raise FieldError("versions", VERSIONS, f"must be those of the machine that asks: {told['versions']}")
    workdir = Workdir.at(told["workdir"])
    if told["mark"] and not (workdir / told["mark"]).is_file():
        raise FieldError("workdir", told["workdir"], "is not seen from all machines: give one that is, or a URI")
    for file in told["files"]:
        load_file(file)
    base, sweep = Experiment.from_dict(told["base"]), Sweep.from_dict(told["sweep"])
    sys.argv = [*told["command"], f"--share={index}/{count}"]  # which the launch notes
    options = {**told["options"], "share": (index, count), "quiet": True}
    run_ids, stopped_by = launch.launch(base, sweep, workdir, told["said"], options)
    if stopped_by is not None:
        return "failed", "it was told to stop"
    return ("waits" if run_ids - store.stored_ids(workdir, run_ids) else "stored"), ""


def load_file(file: str, flag: str = "sweep") -> ModuleType:
    """Runs a Python file that defines components or a recipe, and returns it as a module.

    It can import the modules beside it, as it could if it were run by Python.

    Raises:
      FieldError: there is no such file, it is no Python file, or it fails.
    """
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise FieldError(flag, file, "must be a Python file")
    name = f"sweep_file_{path.stem}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__loader__ = loader
    sys.modules[name] = module
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.insert(0, folder)
    try:
        loader.exec_module(module)
    except FieldError:
        raise
    except (Exception, SystemExit) as error:
        raise FieldError(flag, file, f"cannot be run: {first_line(error)}") from error
    return module
