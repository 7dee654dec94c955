"""One question of a comparison: gallery."""
