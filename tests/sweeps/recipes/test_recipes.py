import dataclasses
import subprocess
import sys

import pytest

from jaxgen import FieldError
from sweeps import recipes
from sweeps.recipes import quickstart

NAMES = [
    "chain_of_thought",
    "corrupted_labels",
    "coverage",
    "edge_of_stability",
    "four_phases",
    "grokked_transformers",
    "grokking_tickets",
    "lazy_to_rich",
    "local_experience",
    "positional_encoding",
    "quickstart",
    "rasp_length",
    "scaling_law",
    "xor_clusters",
]


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


def test_corrupted_labels_at_the_papers_scale_is_the_published_diagram():
    recipe = recipes.load("corrupted_labels").at("paper")
    assert len(recipe.parts["diagram decay"]) == 17 * 17 * 4
    runs = [
        recipe.base.override(point) for point in (recipe.parts["diagram decay"][0], recipe.parts["diagram decay"][-1])
    ]
    assert [run.task.task.train_fraction for run in runs] == [0.1, 0.9]
    assert {run.task.task.p for run in runs} == {97}
    width, scale = runs[0].model.width, runs[0].model.init_scale
    assert width == 500
    assert scale == pytest.approx(0.5 / (2 * width) ** (1 / 3))
    quick = recipes.load("corrupted_labels").base.model
    assert quick.init_scale == pytest.approx(0.5 / (2 * quick.width) ** (1 / 3), rel=1e-3)


def test_xor_clusters_are_at_the_published_signal():
    task = recipes.load("xor_clusters").base.task
    assert task.separation == pytest.approx(2.5 * (task.dimension / task.train_rows) ** 0.5)


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
def test_grokking_tickets_are_of_the_network_that_is_trained_again(scale):
    recipe = recipes.load("grokking_tickets").at(scale)
    points = {tuple(point.values()): point for part in recipe.parts.values() for point in part}
    runs = [recipe.base.override(point) for point in points.values() if point["seed"] == 0]
    staged = [(run, run.start.run(run)) for run in runs if run.start is not None]
    assert len(staged) > len(runs) / 2
    for run, parent in staged:
        assert (parent.task, parent.model, parent.loss) == (run.task, run.model, run.loss)
        assert parent.optimizer == run.optimizer.replace(weight_decay=1.0)
    assert {parent.training.steps for _, parent in staged} == {0, recipe.base.start.parent.training.steps}


def test_four_phases_at_the_papers_scale_are_the_published_diagrams():
    study = recipes.load("four_phases")
    paper = study.at("paper")
    assert len(paper.parts["diagram decay"]) == 3 * 11 * 11
    assert len(paper.parts["diagram rates"]) == 11 * 13
    fractions = paper.parts["diagram rows"].axes["task.task.task.train_fraction"]
    sizes = [paper.base.override({"task.task.task.train_fraction": f}).task.rows()["train"] for f in fractions]
    assert sizes == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 54]
    assert paper.base.training.steps == 100_000
    assert paper.definition["gap"] == 1000
    assert study.base.task.rows() == {"train": 45, "test": 10}


def test_chains_of_thought_at_the_papers_scale_are_of_the_published_world():
    study = recipes.load("chain_of_thought")
    task = study.at("paper").base.task
    assert (task.entities, task.relations, task.degree, task.answer) == (2000, 200, 20, "bridge")
    assert task.rows() == {"train": 40_000 + 273_600, "left_out": 0, "test": 3000, "ood": 3000}  # 7.2 · 38,000
    arms = {claim.name: claim.arms for claim in study.claims}
    assert {name: sorted(arms[name]) for name in "16"} == {"1": ["bridge", "direct"], "6": ["direct", "filler"]}
