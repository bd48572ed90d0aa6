"""XLA's optimizations are most of the time of a test that trains: what of them the default run leaves out.

Bits are promised for the code that people run, so that tests marked `optimized` and the programs that `tests/scripts`
starts have it in that run too, and all tests have it in any other, such as `-m slow`.
"""

import os
from importlib import metadata

OPTIMIZED = {"xla_backend_optimization_level": 3}  # what XLA itself chooses
QUICK = {"xla_backend_optimization_level": 0}
if metadata.version("jaxlib").startswith("0.10."):  # XLA ends a process whose environment has a flag it does not know
    OPTIMIZED |= {"xla_cpu_use_fusion_emitters": True}
    QUICK |= {"xla_cpu_use_fusion_emitters": False}
FLAGS = [f"--{flag}={str(value).lower()}" for flag, value in QUICK.items()]


def given() -> list[str]:
    """The user's own flags."""
    return [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag not in FLAGS]


def quicken() -> None:
    """Leaves the optimizations out in this process, if nothing was compiled yet, and in those it starts."""
    os.environ["XLA_FLAGS"] = " ".join([*given(), *FLAGS])


def as_people_have_it() -> dict[str, str]:
    """The environment of a program that leaves nothing out."""
    return os.environ | {"XLA_FLAGS": " ".join(given())}
