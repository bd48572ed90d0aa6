"""The programs of `sweeps/cli/` and `scripts/` run in this process: starting Python and JAX anew takes seconds."""

import importlib.util
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import pytest
from absl import flags

from sweeps.cli import command

PLACES = Path(command.__file__).parent, Path(__file__).parents[2] / "scripts"


class Program:
    """A program, with its flags kept apart from those of others."""

    def __init__(self, name: str):
        before = set(flags.FLAGS)
        file = next(place / f"{name}.py" for place in PLACES if (place / f"{name}.py").is_file())
        spec: Any = importlib.util.spec_from_file_location(f"program_{name}", file)
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "interruptible", ModuleType("interruptible"))  # or Ctrl-C would end the tests so
            spec.loader.exec_module(self.module)
        self._flags = {flag: flags.FLAGS[flag] for flag in set(flags.FLAGS) - before}
        self._forget()

    def __call__(self, *arguments: str) -> int:
        """Its exit code; what it prints goes where pytest looks."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for name, flag in self._flags.items():
            flags.FLAGS[name] = flag
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(command.app, "run", lambda run, flags_parser: run(flags_parser(["program", *arguments])))
            try:
                _promote("standard", "allow")  # as people have it
                command.main(self.module.main)
            except SystemExit as ended:
                return ended.code or 0
            finally:
                _promote("strict", "raise")
                self._forget()
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return 0

    def _forget(self) -> None:
        flags.FLAGS.unparse_flags()
        for name, flag in self._flags.items():
            flag.unparse()
            flag.present = 0
            if name in flags.FLAGS:
                delattr(flags.FLAGS, name)


def _promote(dtypes: str, ranks: str) -> None:
    """Sets JAX's modes in every thread."""
    jax.config.update("jax_numpy_dtype_promotion", dtypes)
    jax.config.update("jax_numpy_rank_promotion", ranks)


def refused(program, *arguments, capfd):
    """The one line that a program ends with, at once, for its input is not allowed."""
    start = time.perf_counter()
    code = program(*arguments)
    seconds, said = time.perf_counter() - start, capfd.readouterr()
    assert code == 2, said
    assert len(said.err.strip().splitlines()) == 1
    assert seconds < 5  # a hundredth of it where nothing else runs on the machine
    return said.err
