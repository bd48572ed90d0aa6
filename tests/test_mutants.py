"""The list of mutants is up to date, and, when it is asked for (`-m slow`), tests kill what it says they kill."""

import ast
import collections
import re
from pathlib import Path

import mutation
import pytest

MUTANTS = mutation.mutants()
PARTS = [
    *(
        "jaxgen/kernel/program.py",
        "jaxgen/kernel/block.py",
        "jaxgen/training/data.py",
        "jaxgen/training/run.py",
        "jaxgen/losses.py",
        "jaxgen/optimizers/parts.py",
        "jaxgen/starts/continued.py",
        "jaxgen/starts/pruning.py",
    ),
    *(
        "sweeps/storage/store.py",
        "sweeps/storage/checkpoint.py",
        "sweeps/execution/replay.py",
        "sweeps/execution/plan.py",
        "sweeps/diagrams/phases.py",
    ),
    *(
        "sweeps/diagrams/labels.py",
        "sweeps/statistics/boundary.py",
        "sweeps/studies/claims.py",
        "sweeps/report/page.js",
    ),
]


def names_in(file: Path) -> set[str]:
    """Node ids, without the file's name and parameters."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def test_each_mutant_has_its_place_and_its_tests():
    assert [name for name, count in collections.Counter(m.name for m in MUTANTS).items() if count > 1] == []
    known = {}
    for mutant in MUTANTS:
        assert (mutation.ROOT / mutant.file).read_text().count(mutant.old) == 1, mutant.name
        assert mutant.new != mutant.old, mutant.name
        assert bool(mutant.killed_by) != bool(mutant.survives), mutant.name
        for test in mutant.killed_by:
            file, _, name = test.partition("[")[0].partition("::")
            if file not in known:
                known[file] = names_in(mutation.ROOT / file)
            assert name in known[file], f"{mutant.name}: {test}"


def test_each_promise_and_each_part_that_results_hang_on_is_broken_twice():
    text = (mutation.ROOT / "README.md").read_text().partition("## Promises")[2].partition("\n## ")[0]
    promises = re.findall(r"^- \*\*(.*?)\.?\*\*", text, re.MULTILINE)
    broken = collections.Counter(m.promise for m in MUTANTS if m.promise and m.killed_by)
    assert len(promises) >= 5
    for promise in broken:
        assert any(p.startswith(promise) for p in promises), promise
    for promise in promises:
        assert sum(count for start, count in broken.items() if promise.startswith(start)) >= 2, promise
    files = collections.Counter(m.file for m in MUTANTS if m.killed_by)
    assert [part for part in PARTS if files[part] < 2] == []
    assert len(MUTANTS) >= 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return mutation.copied(tmp_path_factory.mktemp("broken"))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.killed_by], ids=lambda m: m.name)
def test_a_test_kills_it(mutant, tree):
    with mutation.broken(tree, mutant):
        found, said = mutation.outcome(tree, mutant.killed_by, tree.parent / "cache")
    if found == "skipped":
        pytest.skip("its tests are skipped here")
    assert found in ("failed", "hung"), said
