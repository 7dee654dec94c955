"""One question of a comparison: positions."""
