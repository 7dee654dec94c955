"""Where sources stand on a stamp, and how dense a kind of scene is (see `simulation.density`)."""

import numpy as np

from btk_punet.simulation.density import (
    NEIGHBOUR_MAGNITUDE,
    NEIGHBOUR_RADIUS_ARCSEC,
    SKY_DENSITY_PER_ARCMIN2,
    SKY_NEIGHBOURS,
    galaxies_per_arcmin2,
    near_share_of_pair,
)

PIXEL_SCALE_ARCSEC = 0.1

# Fields like the sky's: half of them just as dense, the others less or more.
SKY_DENSITY_RATIO = (0.4, 5.0)
FIELD_DENSITY_PER_ARCMIN2 = (60.0, 200.0)  # all magnitudes of the bank, to 26.5
FIELD_MARGIN_PIXELS = 32  # fields go on beyond the stamp, whose border cuts through sources
CLUSTERED_SHARE, CLUSTER_RADIUS_PIXELS = 0.5, 30.0
GROUP_RADIUS_ARCSEC, GROUP_SIZE, LARGE_GROUP_SIZE = (0.8, 2.5), (1, 6), (7, 10)
LARGE_GROUP_SHARE = 0.08
# In half of the groups the number of others is Poisson's, of a mean within these limits.
POISSON_GROUP_SHARE, POISSON_GROUP_MEAN = 0.5, (0.2, 4.0)
PAIR_SEPARATION_ARCSEC = (0.1, 1.5)
BRIGHT_PAIR_SEPARATION_ARCSEC = (0.2, 2.0)
# Of galaxies that touch, in units of their half-light radii together.
TOUCHING_SEPARATION_RADII = (0.5, 1.5)
NEIGHBOURS_OF_BRIGHT, NEIGHBOURS_OF_BRIGHT_ARCSEC = 1.5, (0.2, 5.0)
BORDER_PIXELS = 3.0  # which hold no middle of a group or pair

# Share of the pairs in a group that stand within 2 arcsec of each other, by the group's radius
# [arcsec]; its sources are uniform in radius.
_GROUP_RADII, _WITHIN = (1.0, 1.25, 1.5, 2.0, 2.5), (1.0, 0.98, 0.93, 0.78, 0.60)
# How many others a source of a clustered field has around it: 1 of those that were placed next to
# it or with which it was placed, and 0.5 that were placed next to the same one; within 2 arcsec,
# of 3, are four in ten of these.
_CLUSTER_NEIGHBOURS = 1.5 * 0.4


def sky_places(size: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return places [pixel], shape (n, 2), of a field like the sky's, and its density ratio."""
    ratio = 1.0
    if rng.random() < 0.5:
        ratio = float(np.exp(rng.uniform(*np.log(SKY_DENSITY_RATIO))))
    return _uniform_places(size, ratio * SKY_DENSITY_PER_ARCMIN2, rng), ratio


def field_places(size: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return places [pixel], shape (n, 2), of a field that is partly clustered, and its ratio."""
    density = float(np.exp(rng.uniform(*np.log(FIELD_DENSITY_PER_ARCMIN2))))
    place = _uniform_places(size, density, rng)
    number = len(place)
    clustered = min(rng.binomial(number, CLUSTERED_SHARE), max(number - 1, 0))
    if clustered:
        partner = rng.integers(clustered, number, clustered)
        radius = CLUSTER_RADIUS_PIXELS * np.sqrt(rng.random(clustered))
        place[:clustered] = place[partner] + polar(radius, clustered, rng)
    bright = galaxies_per_arcmin2(NEIGHBOUR_MAGNITUDE) / SKY_DENSITY_PER_ARCMIN2
    ratio = density / SKY_DENSITY_PER_ARCMIN2 + bright * _CLUSTER_NEIGHBOURS / SKY_NEIGHBOURS
    return place, ratio


def group_places(size: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return the places [pixel], shape (n, 2), of a group, uniform in radius, and its ratio."""
    if rng.random() < POISSON_GROUP_SHARE:
        others = float(np.exp(rng.uniform(*np.log(POISSON_GROUP_MEAN))))
        number = 1 + int(rng.poisson(others))
    else:
        low, high = LARGE_GROUP_SIZE if rng.random() < LARGE_GROUP_SHARE else GROUP_SIZE
        numbers = np.arange(low, high + 1)
        number = int(rng.choice(numbers))
        # The mean over sources, not over groups: large groups hold more of the sources.
        others = float((numbers * (numbers - 1)).sum() / numbers.sum())
    radius_arcsec = rng.uniform(*GROUP_RADIUS_ARCSEC)
    radius = radius_arcsec / PIXEL_SCALE_ARCSEC * rng.random(number)
    near = others * float(np.interp(radius_arcsec, _GROUP_RADII, _WITHIN))
    return _middle(size, rng) + polar(radius, number, rng), near / SKY_NEIGHBOURS


def pair_places(
    size: int,
    rng: np.random.Generator,
    separation_arcsec: tuple[float, float] = PAIR_SEPARATION_ARCSEC,
) -> tuple[np.ndarray, float]:
    """Return the places [pixel], shape (2, 2), of a pair, and its density ratio."""
    low, high = separation_arcsec
    half = 0.5 * rng.uniform(low, high) / PIXEL_SCALE_ARCSEC
    direction = polar(half, 1, rng)
    place = _middle(size, rng) + np.concatenate([-direction, direction])
    return place, near_share_of_pair(low, high) / SKY_NEIGHBOURS


def touching_places(
    size: int, radii_arcsec: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return the places [pixel], shape (2, 2), of a pair that touches, and its density ratio.

    Args:
        size: Side of the stamp [pixel].
        radii_arcsec: Sum of the two half-light radii.
        rng: Of the random numbers.
    """
    least = BRIGHT_PAIR_SEPARATION_ARCSEC[0]  # two points would be in one place
    low, high = (max(radii_arcsec * part, least) for part in TOUCHING_SEPARATION_RADII)
    return pair_places(size, rng, (low, high))


def places_around(size: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return the place [pixel] of a source and of its neighbours, shape (n, 2), and their ratio."""
    low, high = NEIGHBOURS_OF_BRIGHT_ARCSEC
    number = 1 + int(rng.poisson(NEIGHBOURS_OF_BRIGHT))
    radius = rng.uniform(low, high, number) / PIXEL_SCALE_ARCSEC
    middle = _middle(size, rng)
    near = (1 + NEIGHBOURS_OF_BRIGHT) * (NEIGHBOUR_RADIUS_ARCSEC - low) / (high - low)
    return np.vstack([middle, middle + polar(radius, number, rng)]), near / SKY_NEIGHBOURS


def middle_place(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return one place [pixel], shape (1, 2), anywhere on the stamp but for its border."""
    return _middle(size, rng)[None]


def _uniform_places(size: int, per_arcmin2: float, rng: np.random.Generator) -> np.ndarray:
    low, high = -FIELD_MARGIN_PIXELS, size + FIELD_MARGIN_PIXELS
    number = rng.poisson(per_arcmin2 * ((high - low) * PIXEL_SCALE_ARCSEC / 60) ** 2)
    return rng.uniform(low, high, (number, 2))


def _middle(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return where the middle of a group or pair falls, x and y [pixel]."""
    return rng.uniform(BORDER_PIXELS, size - 1 - BORDER_PIXELS, 2)


def polar(radius: float | np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return points at these radii and random angles, shape (number, 2)."""
    angle = rng.uniform(0.0, 2 * np.pi, number)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
