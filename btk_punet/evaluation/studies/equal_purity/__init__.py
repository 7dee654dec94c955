"""One question of a comparison: equal purity."""
