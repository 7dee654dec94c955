"""Scenes: survey, galaxy population, placing, drawing, and the labels of what was drawn."""
