"""What the README says is true."""

import re
from collections import Counter
from pathlib import Path

import jax
import pytest

import jaxgen
import sweeps
from examples import FOLDER, example
from sweeps.execution.plan import make_plan
from sweeps.recipes import load, names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "docs").glob("*.md")}


def test_the_tour_runs_as_printed_but_smaller(tmp_path, monkeypatch):
    code, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for large, small in (("0.85, 12", "0.85, 3"), ("1, 12", "1, 3"), ("seeds(3)", "seeds(1)"), ("3000", "100")):
        assert large in code
        code = code.replace(large, small)
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    exec(code, space)
    assert len(space["results"].runs) == 9
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"tour", "diagram.png", "diagram.txt", "report.html"}


def test_every_public_name_is_reached_from_the_readme_and_documented():
    for module in (jaxgen.tasks, jaxgen.models, jaxgen.losses, jaxgen.optimizers, jaxgen, sweeps):
        for name in module.__all__:
            thing = getattr(module, name)
            assert thing.__doc__, name
            if module in (jaxgen, sweeps):
                assert re.search(rf"\b{name}\b", README), name


def test_the_readme_is_a_tour_and_every_page_is_reached_from_it():
    assert len(README.splitlines()) <= 250
    for path in PAGES:
        assert path.name == "index.md" or f"docs/{path.name}" in README, path


def test_files_that_the_readme_and_the_pages_name_exist():
    for path in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / path).exists(), path
    for page, text in PAGES.items():
        for path in re.findall(r"\]\(([\w./]+)\)", text):
            assert path.startswith("api/") or (ROOT / "docs" / path).exists(), (page, path)
        for path in re.findall(r"`((?:examples|scripts|sweeps|jaxgen|tests)/[\w./]*\w\.\w+)", text):
            assert (ROOT / path).exists(), (page, path)
    block = (ROOT / "docs" / "architecture.md").read_text()
    for name in re.findall(r"\b(\w+\.py)\b", block):
        assert any(list((ROOT / top).rglob(name)) for top in ("jaxgen", "sweeps", "scripts")), name
    lines = len((ROOT / "examples" / "own_task.py").read_text().splitlines())
    assert f"all three in {lines} lines" in README


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_examples_are_short_planned_and_drawn_over_axes_that_they_have(name):
    recipe, text = example(name).recipe, (FOLDER / f"{name}.py").read_text()
    recipe = recipe.at() if isinstance(recipe, sweeps.Study) else recipe
    assert f"examples/{name}.py" in README
    assert len(text.splitlines()) <= (63 if name == "own_task" else 60)
    point = sweeps.product(*(sweeps.fixed(path, value) for path, value in recipe.sweep[0].items()))
    with jax.numpy_dtype_promotion("standard"):  # as people have it
        assert make_plan(recipe.base, point).pending == 1
    for axis in re.findall(r"--[xy]=([\w.]+)", text):
        assert axis in recipe.sweep.axes


def test_the_table_of_studies_has_every_claim_with_the_verdict_and_the_numbers_of_its_page():
    page = (ROOT / "docs" / "studies.md").read_text()
    rows = re.findall(r"^\| `(\w+)`: (.*) \| (.*) \|$", README, re.MULTILINE)
    parts = re.split(r"\n(?=\*\*[^*]+\*\* \()", page)
    studies = {name: load(name) for name in names()}
    assert sorted(name for name, *_ in rows) == sorted(n for n, s in studies.items() if getattr(s, "claims", ()))
    for name, title, cell in rows:
        (part,) = (part for part in parts if re.search(r"arXiv [\d.]+\d", title)[0] in part.split("--scale")[0])
        counts, *claims = cell.split("<br>")
        found = dict(re.fullmatch(r"\((\w+)\) ([A-Z]+): .*", claim).groups() for claim in claims)
        told = dict(re.findall(r"^\| \((\w+)\) .*\| ([A-Z]+) \|$", part, re.MULTILINE))
        assert found == told, name
        assert list(found) == [claim.name for claim in studies[name].claims], name
        said = {verdict: int(count) for count, verdict in re.findall(r"(\d+)(?: of \d+)? ([A-Z]+)", counts)}
        assert said == Counter(found.values()), name
        numbers = set(re.findall(r"\d*\.\d\d+", part))
        for claim in claims:
            missing = set(re.findall(r"\d*\.\d\d+", claim)) - numbers
            assert not missing, (name, claim, missing)
