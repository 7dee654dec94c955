"""Where sources stand on a stamp: a field, a group, a pair, or one alone."""

import numpy as np

PIXEL_SCALE_ARCSEC = 0.1
FIELD_DENSITY_PER_ARCMIN2 = (60.0, 200.0)  # all magnitudes of the bank, to 26.5
FIELD_MARGIN_PIXELS = 16  # fields go on beyond the stamp, whose border cuts through sources
CLUSTERED_SHARE, CLUSTER_RADIUS_PIXELS = 0.5, 30.0
GROUP_RADIUS_ARCSEC, GROUP_SIZE, LARGE_GROUP_SIZE = (0.8, 2.5), (1, 6), (7, 10)
LARGE_GROUP_SHARE = 0.08
PAIR_SEPARATION_ARCSEC = (0.1, 1.5)
BORDER_PIXELS = 3.0  # which hold no middle of a group or pair


def field_places(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return places [pixel], shape (n, 2), of a field that is partly clustered."""
    low, high = -FIELD_MARGIN_PIXELS, size + FIELD_MARGIN_PIXELS
    density = np.exp(rng.uniform(*np.log(FIELD_DENSITY_PER_ARCMIN2)))
    number = rng.poisson(density * ((high - low) * PIXEL_SCALE_ARCSEC / 60) ** 2)
    place = rng.uniform(low, high, (number, 2))
    clustered = min(rng.binomial(number, CLUSTERED_SHARE), max(number - 1, 0))
    if clustered:
        partner = rng.integers(clustered, number, clustered)
        radius = CLUSTER_RADIUS_PIXELS * np.sqrt(rng.random(clustered))
        place[:clustered] = place[partner] + polar(radius, clustered, rng)
    return place


def group_places(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the places [pixel], shape (n, 2), of a group, uniform in radius."""
    large = rng.random() < LARGE_GROUP_SHARE
    low, high = LARGE_GROUP_SIZE if large else GROUP_SIZE
    number = int(rng.integers(low, high + 1))
    radius = rng.uniform(*GROUP_RADIUS_ARCSEC) / PIXEL_SCALE_ARCSEC * rng.random(number)
    return _middle(size, rng) + polar(radius, number, rng)


def pair_places(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the places [pixel], shape (2, 2), of a pair."""
    half = 0.5 * rng.uniform(*PAIR_SEPARATION_ARCSEC) / PIXEL_SCALE_ARCSEC
    direction = polar(half, 1, rng)
    return _middle(size, rng) + np.concatenate([-direction, direction])


def _middle(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return where the middle of a group or pair falls, x and y [pixel]."""
    return rng.uniform(BORDER_PIXELS, size - 1 - BORDER_PIXELS, 2)


def polar(radius: float | np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return points at these radii and random angles, shape (number, 2)."""
    angle = rng.uniform(0.0, 2 * np.pi, number)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
