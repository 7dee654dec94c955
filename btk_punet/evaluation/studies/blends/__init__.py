"""One question of a comparison: blends."""
