"""Pages of the API, made from docstrings when `mkdocs build` asks for the files: one for each room."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def rooms() -> dict[str, list[str]]:
    """The dotted names of all modules that have a page, by that of their folder, which stands first."""
    found: dict[str, list[str]] = {}
    for top in ("jaxgen", "sweeps"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            modules = found.setdefault(".".join(parts[:-1]), [])
            if parts[-1] == "__init__":
                modules.insert(0, ".".join(parts[:-1]))
            elif parts[-1] != "__main__":
                modules.append(".".join(parts))
    return found


def page(modules: list[str]) -> str:
    """The page of a room: what its folder says of itself, then each module."""
    room, *others = modules
    lines = [f"# {room}", f"::: {room}\n    options:\n      members: false\n      show_root_heading: false"]
    lines += [f"::: {module}" for module in others]
    return "\n\n".join(lines) + "\n"


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for room, modules in rooms().items():
        files.append(File.generated(config, f"api/{room}.md", content=page(modules)))
    return files
