"""Rooms stand in the order in which data goes: imports lead from later to earlier ones, and never in a circle."""

import ast
import graphlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = [
    "sweeps.interruptible",  # needs nothing, and is the first of all
    "jaxgen",
    "sweeps.axes",
    "sweeps.storage",
    "sweeps.execution",
    "sweeps.statistics",
    "sweeps.diagrams",
    "sweeps.report",
    "sweeps.studies",
    "sweeps",  # what users see of all these
    "sweeps.recipes",
    "sweeps.batch",
    "sweeps.cli",
    "sweeps.__main__",
    "scripts",
]


def sources() -> dict[str, str]:
    """The text of every module by its dotted name, which for a package is that of its folder."""
    found = {}
    for file in (file for top in ("jaxgen", "sweeps", "scripts") for file in (ROOT / top).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file.read_text()
    return found


def imports(name: str, text: str, known: Iterable[str]) -> Iterator[tuple[int, str, bool]]:
    """Line and name of every module of ours that a text imports, wherever it does, and whether only types need it."""
    own = {module.removeprefix("scripts."): module for module in known if module.startswith("scripts.")}  # run as files
    tree = ast.parse(text)
    checked = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    of_types = {inner for n in checked for inner in ast.walk(n)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}:{node.lineno} imports by dots"
            places = [f"{node.module}.{alias.name}" for alias in node.names]
            wanted = [place if place in known or place in own else str(node.module) for place in places]
        else:
            continue
        for module in wanted:
            found = own.get(module, module) if name.startswith("scripts") else module
            if found in known or found.partition(".")[0] in ("jaxgen", "sweeps"):
                yield node.lineno, found, node in of_types


def room(module: str) -> str:
    """The room that a module is in."""
    return max((place for place in ORDER if f"{module}.".startswith(f"{place}.")), key=len)


def wrong(modules: Mapping[str, str]) -> list[str]:
    """A line for each import that runs back, and one for a circle within a room, names of types left out."""
    found, graph = [], {name: set() for name in modules}
    for name, text in modules.items():
        for line, other, of_types in imports(name, text, modules):
            if other not in modules:
                found.append(f"{name}:{line} imports {other}, which is nowhere")
            elif ORDER.index(room(other)) > ORDER.index(room(name)):
                found.append(f"{name}:{line} imports {other}: {room(other)} comes after {room(name)}")
            elif other != name and not of_types:
                graph[name].add(other)
    for place in ORDER:
        inside = {
            name: {o for o in others if room(o) == place} for name, others in graph.items() if room(name) == place
        }
        try:
            graphlib.TopologicalSorter(inside).prepare()
        except graphlib.CycleError as error:
            found.append(f"{' imports '.join(reversed(error.args[1]))}: a circle")
    return found


def test_imports_lead_from_later_rooms_to_earlier_ones_without_a_circle():
    assert wrong(sources()) == []


def test_every_module_of_sweeps_has_a_room():
    assert [name for name in sources() if name.startswith("sweeps.") and room(name) == "sweeps"] == []


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (
            {"sweeps.axes.a": "from sweeps.storage.b import c", "sweeps.storage.b": ""},
            "sweeps.axes.a:1 imports sweeps.storage.b: ",
        ),
        (
            {"sweeps.axes.a": "def f():\n    import sweeps.cli.b", "sweeps.cli.b": ""},
            "sweeps.axes.a:2 imports sweeps.cli.b: ",
        ),
        (
            {"jaxgen.a": "from typing import *\nif TYPE_CHECKING:\n    from sweeps.axes import b", "sweeps.axes.b": ""},
            "jaxgen.a:3 imports sweeps.axes.b: sweeps.axes comes after jaxgen",
        ),
        ({"sweeps.studies.a": "import sweeps", "sweeps": ""}, "sweeps.studies.a:1 imports sweeps: "),
        (
            {"sweeps.axes.a": "from sweeps.axes.gone import b"},
            "sweeps.axes.a:1 imports sweeps.axes.gone, which is nowhere",
        ),
        ({"sweeps.cli.a": "from scripts import b", "scripts.b": ""}, "sweeps.cli.a:1 imports scripts.b: "),
        (
            {
                "sweeps.axes.a": "from sweeps.axes import b",
                "sweeps.axes.b": "def f():\n    from sweeps.axes.a import g",
            },
            ": a circle",
        ),
        (
            {
                "jaxgen.a": "from jaxgen import b",
                "jaxgen.b": "from typing import *\nif TYPE_CHECKING:\n    from jaxgen.a import C",
            },
            None,
        ),
        ({"scripts.x.a": "from x import b", "scripts.x.b": "from x.a import f"}, ": a circle"),
        ({"scripts.a": "from sweeps import run", "sweeps": "from sweeps.axes.b import c", "sweeps.axes.b": ""}, None),
    ],
)
def test_what_runs_back_is_told_in_a_line(modules, said):
    found = wrong(modules)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
