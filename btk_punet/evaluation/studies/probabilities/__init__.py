"""One question of a comparison: probabilities."""
