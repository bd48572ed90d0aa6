import dataclasses
import subprocess
import sys

import pytest

from jaxgen import FieldError
from sweeps import recipes
from sweeps.recipes import quickstart

NAMES = ["edge_of_stability", "lazy_to_rich", "quickstart", "scaling_law"]


def test_recipes_are_called_as_their_files():
    assert recipes.names() == NAMES
    assert [recipes.load(name).name for name in NAMES] == NAMES


@pytest.mark.parametrize("name", ["", "quick", "recipes", "__init__"])
def test_another_name_is_refused_with_those_that_there_are(name):
    with pytest.raises(FieldError, match=f"must be one of {', '.join(NAMES)}"):
        recipes.load(name)


def test_a_recipe_with_the_name_of_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(quickstart, "STUDY", dataclasses.replace(quickstart.STUDY, name="other"))
    with pytest.raises(FieldError, match="must be quickstart, as its file is called"):
        recipes.load("quickstart")


def test_names_are_listed_without_a_recipe_and_without_what_draws():
    code = "import sys, sweeps.recipes; print(sweeps.recipes.names(), *sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    slow = {"matplotlib", "bokeh", *(f"sweeps.recipes.{name}" for name in NAMES)}
    assert said.startswith(str(NAMES))
    assert slow.isdisjoint(said.split())
