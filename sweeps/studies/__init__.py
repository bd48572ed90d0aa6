"""Whole studies: recipes with their claims, and where to sample next."""
