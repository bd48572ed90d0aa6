"""Breaks the code on purpose, one place at a time, to see that a test notices.

    python tests/support/mutation.py              # every mutant of tests/mutants.toml
    python tests/support/mutation.py --only=adam  # those whose name has "adam" in it

Each mutant replaces a snippet, in a copy of the tree, and runs the tests that are said to kill it. Exit code 1 if one
survives them, or if a test fails without any mutant.
"""

import argparse
import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "mutants.toml"
LEFT_OUT = shutil.ignore_patterns(".*", "out", "__pycache__", "*.egg-info")
SECONDS = 300  # after which a test that a mutant keeps from ending counts as failed


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A place where the code is broken.

    Attributes:
      name: what it is called.
      file: path from the root.
      old, new: a snippet that stands once in the file, and what takes its place.
      breaks: what is then wrong.
      promise: the promise of the README that is broken, by its first words.
      killed_by: node ids of the tests that fail then.
      survives: why no test can see it, where none does.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    promise: str = ""
    killed_by: tuple[str, ...] = ()
    survives: str = ""


def mutants() -> list[Mutant]:
    """All that are listed."""
    listed = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}) for entry in listed]


def copied(folder: Path) -> Path:
    """A copy of the tree to break, in `folder`."""
    return Path(shutil.copytree(ROOT, folder / "tree", ignore=LEFT_OUT))


@contextlib.contextmanager
def broken(tree: Path, mutant: Mutant) -> Iterator[None]:
    """The tree with the mutant in it."""
    path = tree / mutant.file
    whole = path.read_text()
    path.write_text(whole.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        path.write_text(whole)


def outcome(tree: Path, tests: Iterable[str], cache: Path) -> tuple[str, str]:
    """What the tests say of a tree: "passed", "failed", "hung", "skipped" or "not run", and what they printed.

    What is compiled is shared between calls, in `cache`.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "", *tests]
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
    shared = {**compiled, "PYTEST_XDIST_WORKER": "mutation", "PYTHONPATH": str(tree)}
    environment = {**os.environ, **shared, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said = process.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hung", process.communicate()[0]
    summary = said.strip().rpartition("\n")[2]
    if process.returncode == 0:
        return ("passed" if "passed" in summary and "skipped" not in summary else "skipped"), said
    failed = process.returncode == 1 and re.search(r"\d (failed|error)", summary)
    return ("failed" if failed else "not run"), said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of the names of the mutants to run")
    chosen = [m for m in mutants() if parser.parse_args().only in m.name]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="jaxgen-mutants-") as folder:
        tree, cache = copied(Path(folder)), Path(folder) / "cache"
        healthy, said = outcome(tree, sorted({test for m in chosen for test in m.killed_by}), cache)
        if healthy in ("failed", "hung", "not run"):
            print(said, f"without any mutant: {healthy}", sep="\n")
            return 1
        for mutant in chosen:
            if mutant.survives:
                print(f"{mutant.name}: survives: {mutant.survives}")
                continue
            start = time.monotonic()
            with broken(tree, mutant):
                found, said = outcome(tree, mutant.killed_by, cache)
            verdict = {"failed": "killed", "hung": "killed", "passed": "SURVIVED"}.get(found, found.upper())
            wrong += verdict != "killed"
            print(f"{mutant.name}: {verdict} ({mutant.breaks}; {time.monotonic() - start:.0f} s)", flush=True)
            if verdict == "NOT RUN":
                print(said)
    print(f"{len(chosen)} mutants, {wrong} not killed")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
