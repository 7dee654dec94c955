"""One question of a comparison: outlines."""
