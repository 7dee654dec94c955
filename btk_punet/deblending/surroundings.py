"""What the probability of a candidate hangs on besides its mass: depth, density, light, neighbours.

A network that saw a candidate a thousand times over would need none of this. One that was trained
for hours is too sure of lumps on real galaxies in deep images, and of the lesser of two candidates
that lie on each other, and of what is faint it takes the mean over all the scenes of its training.
Bright real galaxies have many lumps, each of which might be a neighbour: where a network doubts
many candidates, fewer of them come true than where it doubts one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from btk_punet.deblending.columns import Columns
from btk_punet.deblending.instances import nearest_pixels

# Background of the images between which the calibration is fitted, one exposure and four of
# Euclid's [electron^2 per pixel]; beyond them it is that of the nearer one.
SHALLOW_VARIANCE, DEEP_VARIANCE = 155.0, 700.0
# Where nobody knows what an electron is, an image is taken for one of half that depth.
UNKNOWN_DEPTH = 0.5
# The same of the density of sources, as the ratio to the sky's: fields of any kind, and groups.
SPARSE_RATIO, DENSE_RATIO = 2.0, 18.0
# Signal to noise of a faint candidate, in a square of so many pixels on a side.
FAINT_SNR, SQUARE_PIXELS = 3.0, 5
# How far one candidate lies from another that it is hardly told from [pixel].
NEAR_PIXELS = 4.0
# How far away other candidates that are in doubt count [pixel]: as far as the light of one galaxy.
DOUBT_PIXELS = 25.0


@dataclass(frozen=True)
class Surroundings(Columns):
    """Numbers of each candidate, all of the shape ``(m,)``; all but the last from 0 to 1.

    Attributes:
        depth: 0 for an image of one exposure, 1 for one of four, by its background.
        density: 0 where sources lie as dense as in fields, 1 where as in groups, or denser.
        faint: Near 1 for a signal to noise below `FAINT_SNR`, near 0 above twice that.
        near: Near 1 within `NEAR_PIXELS` of a more probable candidate, 0 far from all of them.
        doubt: 0 where no other candidate around is in doubt, near 1 where many are.
        snr: Signal to noise in the square around it.
    """

    depth: np.ndarray
    density: np.ndarray
    faint: np.ndarray
    near: np.ndarray
    doubt: np.ndarray
    snr: np.ndarray

    @classmethod
    def measure(
        cls,
        image: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        mass: np.ndarray,
        normalised: np.ndarray,
        variance: float | np.ndarray | None,
        density_ratio: float,
    ) -> Surroundings:
        """Return the surroundings of candidates, those of an image in a row, the likely first.

        Args:
            image: Number of the image, ``(m,)``.
            x: Column [pixel].
            y: Row.
            mass: Probability before calibration.
            normalised: ``(b, H, W)``, divided by the noise, 0 where a pixel is not usable; of
                several bands the sum of what counts in each, over the root of their number.
            variance: Of the background [electron^2], a number, or ``(b, H, W)``; None if it is not
                known in electrons.
            density_ratio: As in `ProbaUNetDeblender`; 1 for a network that is not told.
        """
        row, column = nearest_pixels(x, y, normalised.shape[1:])
        depth = depth_at(image, row, column, variance)
        density = np.full(len(x), density_of(density_ratio))
        snr = squares(normalised, image, row, column, SQUARE_PIXELS) / SQUARE_PIXELS
        faint = 1 / (1 + (np.maximum(snr, 0) / FAINT_SNR) ** 4)
        one, other, apart = _pairs(image, x, y)
        near = np.exp(-((_to_more_probable(len(x), one, other, apart) / NEAR_PIXELS) ** 2))
        doubt = _doubt_around(mass, one, other, apart)
        return cls(depth, density, faint, near, doubt / (1 + doubt), snr)


def depth_at(
    image: np.ndarray, row: np.ndarray, column: np.ndarray, variance: float | np.ndarray | None
) -> np.ndarray:
    """Return `Surroundings.depth` of some pixels, ``(m,)``.

    Args:
        image: Number of the image of each, ``(m,)``.
        row: Its row.
        column: Its column.
        variance: Of the background, as `Surroundings.measure` takes it.
    """
    if isinstance(variance, np.ndarray) and variance.ndim:
        variance = variance[image, row, column]
    return np.broadcast_to(depth_of(variance), len(image))


def depth_of(variance: float | np.ndarray | None) -> np.ndarray:
    """Return `Surroundings.depth` where the background has some variance; None if not known."""
    if variance is None:
        return np.asarray(UNKNOWN_DEPTH)
    return _between(variance, SHALLOW_VARIANCE, DEEP_VARIANCE)


def density_of(density_ratio: float) -> float:
    """Return `Surroundings.density` where sources lie so many times as dense as in the sky."""
    return float(_between(density_ratio, SPARSE_RATIO, DENSE_RATIO))


def _between(values: float | np.ndarray, low: float, high: float) -> np.ndarray:
    """Return where values lie between two others in their logarithm, 0 to 1."""
    return np.clip(np.log(np.asarray(values) / low) / math.log(high / low), 0, 1)


def squares(
    maps: np.ndarray, image: np.ndarray, row: np.ndarray, column: np.ndarray, side: int
) -> np.ndarray:
    """Return the sum of maps over the square around each of some pixels, ``(m,)``.

    Args:
        maps: ``(b, H, W)``; what is outside counts as 0.
        image: Number of the map of each pixel, ``(m,)``.
        row: Its row.
        column: Its column.
        side: Of the square [pixel], odd.
    """
    reach = side // 2
    total = np.zeros(len(row))
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            i, j = row + down, column + right
            inside = (i >= 0) & (i < maps.shape[1]) & (j >= 0) & (j < maps.shape[2])
            total[inside] += maps[image[inside], i[inside], j[inside]]
    return total


def _pairs(
    image: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of candidates of an image within reach, and their distance [pixel]."""
    if not len(x):
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    reach = 2 * DOUBT_PIXELS
    # Images stand apart along a third axis.
    place = np.stack([x, y, 2 * reach * image], axis=1)
    one, other = KDTree(place).query_pairs(reach, output_type="ndarray").T
    return one, other, np.hypot(x[one] - x[other], y[one] - y[other])


def _to_more_probable(
    number: int, one: np.ndarray, other: np.ndarray, apart: np.ndarray
) -> np.ndarray:
    """Return the distance to the nearest earlier candidate of the image; inf beyond all reach."""
    distance = np.full(number, np.inf)
    np.minimum.at(distance, np.maximum(one, other), apart)
    return distance


def _doubt_around(
    mass: np.ndarray, one: np.ndarray, other: np.ndarray, apart: np.ndarray
) -> np.ndarray:
    """Return the variance of the number of sources that others around each candidate leave."""
    weight, variance = np.exp(-((apart / DOUBT_PIXELS) ** 2)), mass * (1 - mass)
    of_later = np.bincount(one, weight * variance[other], len(mass))
    return of_later + np.bincount(other, weight * variance[one], len(mass))
