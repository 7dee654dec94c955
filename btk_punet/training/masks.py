"""Pixels that cannot be used, as training runs draw them, and the garbage that they hold."""

import numpy as np

from btk_punet.training.places import polar

MAX_MASKED_SHARE = 0.25  # of a stamp's pixels
# What masked pixels may hold, in sigma: a network must not look.
GARBAGE = (np.nan, 0.0, -50.0, 1e3, 1e6, 1e30)


def draw_mask(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a random mask: dead columns, circles, ellipses and cosmic-ray tracks.

    Returns:
        Booleans of shape (size, size), False where masked (at most a quarter of the pixels); and
        what the masked pixels hold, float32, one value each.
    """
    grid_y, grid_x = np.mgrid[:size, :size].astype(np.float32)
    usable = np.ones((size, size), bool)
    for _ in range(rng.integers(1, 7)):
        x, y = rng.uniform(0, size - 1, 2)
        cos, sin = polar(1.0, 1, rng)[0]
        along, across = (
            (grid_x - x) * cos + (grid_y - y) * sin,
            (grid_y - y) * cos - (grid_x - x) * sin,
        )
        kind = rng.integers(4)
        if kind == 0:  # columns, or now and then rows
            grid = grid_x if rng.random() < 0.8 else grid_y
            bad = np.abs(grid - np.floor(x)) < rng.integers(1, 3)
        elif kind == 3:  # a track, one to three pixels wide
            bad = (np.abs(along) < rng.uniform(2, 20)) & (np.abs(across) < rng.uniform(0.6, 1.5))
        else:  # a circle or an ellipse
            radius = rng.uniform(1.5, max(2.0, 0.16 * size))
            ratio = 1.0 if kind == 1 else rng.uniform(0.2, 1.0)
            bad = np.hypot(along, across / ratio) < radius
        if np.count_nonzero(usable & ~bad) >= (1 - MAX_MASKED_SHARE) * size**2:
            usable &= ~bad
    number = int(np.count_nonzero(~usable))
    garbage = rng.choice(GARBAGE, number if rng.random() < 0.2 else 1)
    return usable, np.broadcast_to(garbage.astype(np.float32), number)
