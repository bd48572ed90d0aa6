"""What a component may not use, since changes of it would not be noticed, or no run could repeat it."""

import ast
import importlib
import io
import os
import random
import re
import time

import numpy as np

from jaxgen import source
from jaxgen.errors import FieldError

READERS: tuple = (eval, exec, globals, input, open, io.open, __import__, importlib.import_module, os.getenv, os.environ)
READERS += (os.open, os.read, os.popen, os.system, time.time, time.time_ns, time.perf_counter, time.monotonic)
PACKAGES = "subprocess", "runpy", "socket", "urllib", "http", "secrets", "uuid", "multiprocessing", "ctypes"
NAMES = re.compile("open|read|(read|open)_.*|load(txt|mat)?|fromfile|memmap|genfromtxt|imread|spec_from_file_location")
METHODS = "read_text", "read_bytes", "open", "now", "utcnow", "today"
GENERATORS = "default_rng()", "RandomState()"
WHY = "reads what its source does not show: read it into a constant of the file, whose value then counts"
WHY_SHARED = "draws from a state that all the program shares, which no run can repeat: use the key that examples gets"
WHY_UNSEEDED = "has no seed, so that no run can repeat it: give it one"


def check_value(thing: object, way: str) -> None:
    """FieldError for what reads files, the environment or the clock, and for the random state that all share."""
    if any(thing is one for one in READERS):
        raise FieldError(way, getattr(thing, "__name__", "os.environ"), WHY)
    if any(thing is one for one in (random._inst, np.random.mtrand._rand)):  # type: ignore[attr-defined]
        raise FieldError(way, type(thing).__name__, WHY_SHARED)


def check_name(module: str, name: str, way: str) -> None:
    """FieldError for what an installed module calls by a name that says that it reads."""
    top = module.split(".")[0]
    if top in PACKAGES or (top not in (*source.OURS, "builtins") and NAMES.fullmatch(name)):
        raise FieldError(way, f"{module}.{name}", WHY)


def check_source(node: ast.AST, way: str) -> None:
    """FieldError for methods that read, called on objects that exist only while the function runs."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr in METHODS:
            raise FieldError(way, part.attr, WHY)
        bare = isinstance(part, ast.Call) and not (part.args or part.keywords)
        if bare and ast.unparse(part).endswith(GENERATORS):
            raise FieldError(way, ast.unparse(part), WHY_UNSEEDED)
