"""Detect, separate and measure the galaxies of a blend."""
