"""Ready sweeps, a file each."""

from sweeps.recipes import edge_of_stability, quickstart
from sweeps.studies.recipe import Drawing, Recipe, Scale

RECIPES = {recipe.name: recipe for recipe in (quickstart.RECIPE, edge_of_stability.RECIPE)}

__all__ = ["RECIPES", "Drawing", "Recipe", "Scale"]
