"""How dense sources lie: the sky's counts, and how dense the scenes of a sampling are beside them.

The density of scenes is given as a ratio to the sky's: how many other sources brighter than
I_E = 25.3 are expected within 2 arcsec of a source, over how many there are in the sky, 0.16. It is
the prior by which a detector judges whether a lump of light is a source of its own.
"""

import math

import numpy as np

# Counts: 23 galaxies per arcmin^2 brighter than I_E = 24.5, rising by 0.374 dex a magnitude.
COUNTS_SLOPE_DEX_PER_MAG = 0.374
COUNTS_PER_ARCMIN2_AT_24_5 = 23.0

# What a density ratio counts: neighbours within this radius, brighter than this.
NEIGHBOUR_RADIUS_ARCSEC, NEIGHBOUR_MAGNITUDE = 2.0, 25.3
# Of the magnitudes of which each is as likely, where bright galaxies shall be common.
_EVEN_STEP_MAG = 0.5
# Nodes in each radius of the mean over two sources of a group.
_NODES = 400


def galaxies_per_arcmin2(max_mag: float) -> float:
    """Return the number of galaxies brighter than a magnitude, per square arcminute."""
    return COUNTS_PER_ARCMIN2_AT_24_5 * 10 ** (COUNTS_SLOPE_DEX_PER_MAG * (max_mag - 24.5))


# The sky's counts [per arcmin^2] to 26.5, the faintest that is drawn.
SKY_DENSITY_PER_ARCMIN2 = galaxies_per_arcmin2(26.5)
# How many neighbours a source has in the sky.
SKY_NEIGHBOURS = (
    galaxies_per_arcmin2(NEIGHBOUR_MAGNITUDE) * math.pi * (NEIGHBOUR_RADIUS_ARCSEC / 60) ** 2
)


def bright_share(min_mag: float, max_mag: float) -> float:
    """Return which share of galaxies, counted as the sky's, is bright enough to be a neighbour."""
    low, high = galaxies_per_arcmin2(min_mag), galaxies_per_arcmin2(max_mag)
    bright = galaxies_per_arcmin2(min(max(NEIGHBOUR_MAGNITUDE, min_mag), max_mag))
    return (bright - low) / (high - low)


def even_weights(magnitude: np.ndarray, min_mag: float, max_mag: float) -> np.ndarray:
    """Return how likely each galaxy is to be drawn where every half magnitude is as likely.

    Args:
        magnitude: Of each galaxy, ``(n,)``.
        min_mag: The brightest, from which the halves are counted.
        max_mag: Galaxies as faint, and those brighter than ``min_mag``, are never drawn.

    Returns:
        Weights that sum to 1, ``(n,)``; of 0 if there is no galaxy between the limits.
    """
    weights = np.zeros(len(magnitude))
    between = (magnitude >= min_mag) & (magnitude < max_mag)
    step = ((magnitude[between] - min_mag) / _EVEN_STEP_MAG).astype(int)
    weights[between] = 1.0 / np.bincount(step)[step]
    return weights / max(weights.sum(), 1.0)


def near_share_of_pair(min_separation_arcsec: float, max_separation_arcsec: float) -> float:
    """Return which share of pairs are neighbours, their separation uniform between the two."""
    near = NEIGHBOUR_RADIUS_ARCSEC - min_separation_arcsec
    width = max_separation_arcsec - min_separation_arcsec
    return float(near > 0) if width == 0 else float(np.clip(near / width, 0.0, 1.0))


def near_share_of_group(max_radius_arcsec: float) -> float:
    """Return which share of the pairs in a group are neighbours.

    Args:
        max_radius_arcsec: Radius of the group, whose sources are uniform in radius and angle.
    """
    radius = (np.arange(_NODES) + 0.5) / _NODES * max_radius_arcsec
    one, other = radius[:, None], radius[None]
    # The angle between two radii below which their ends are near enough.
    cosine = (one**2 + other**2 - NEIGHBOUR_RADIUS_ARCSEC**2) / (2 * one * other)
    return float(np.mean(np.arccos(np.clip(cosine, -1.0, 1.0)) / math.pi))


def near_share_of_disk(radius_arcsec: float) -> float:
    """Return which share of the pairs of points, uniform in a disk, are neighbours (exact)."""
    s = NEIGHBOUR_RADIUS_ARCSEC / radius_arcsec
    if s >= 2:
        return 1.0
    angle, root = math.acos(s / 2), math.sqrt(1 - s**2 / 4)
    return 1 + 2 / math.pi * (s**2 - 1) * angle - s / math.pi * (1 + s**2 / 2) * root
