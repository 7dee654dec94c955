"""One question of a comparison: selection."""
