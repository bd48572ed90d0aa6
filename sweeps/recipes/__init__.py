"""Ready sweeps, a file each."""

from sweeps.recipes import quickstart
from sweeps.recipes.recipe import Recipe

RECIPES = {recipe.name: recipe for recipe in (quickstart.RECIPE,)}

__all__ = ["RECIPES", "Recipe"]
