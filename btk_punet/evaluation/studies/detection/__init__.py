"""One question of a comparison: detection."""
