"""The API reference: a page for each room, built from docstrings without a warning."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_api_reference_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert not re.search(r"^WARNING", done.stderr, re.MULTILINE), done.stderr
    folders = {file.parent for top in ("jaxgen", "sweeps") for file in (ROOT / top).rglob("*.py")}
    rooms = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert {page.parent.name for page in (tmp_path / "api").rglob("index.html")} == rooms
    text = unescape(re.sub(r"<[^>]*>", "", (tmp_path / "api" / "sweeps.axes" / "index.html").read_text()))
    assert "sweeps.axes.sweep" in text
    assert "the last part varies fastest" in text


def test_every_room_is_in_its_navigation():
    named = set(re.findall(r"- api/([\w.]+)\.md", (ROOT / "mkdocs.yml").read_text()))
    folders = {file.parent for top in ("jaxgen", "sweeps") for file in (ROOT / top).rglob("*.py")}
    assert named == {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    for room in re.findall(r"\(api/([\w.]+)\.md\)", (ROOT / "docs" / "index.md").read_text()):
        assert room in named
