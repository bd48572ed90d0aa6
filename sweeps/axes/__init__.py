"""Axes, their algebra and their scales: which experiments a sweep is made of."""
