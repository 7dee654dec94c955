"""How dense sources lie in a batch, estimated from what a detector makes of it.

By expectation maximisation: under one density ratio the network says how probable each candidate
is, and so how many neighbours are to be expected; that is a better ratio, and so on. The number of
pairs of neighbours is taken as Poisson's, of a mean that grows with the ratio (see
`simulation.density`), and the ratio's prior is a gamma law of mean 1, as if `PRIOR_PAIRS` pairs had
been seen at the sky's density: a few sources say little.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import sep
from btk.blend_batch import BlendBatch
from scipy.spatial import KDTree

from btk_punet.deblending.instances import Candidates
from btk_punet.simulation.density import (
    NEIGHBOUR_MAGNITUDE,
    NEIGHBOUR_RADIUS_ARCSEC,
    SKY_NEIGHBOURS,
)
from btk_punet.simulation.survey import magnitude, pixel_scale_arcsec, reference_band

# A ratio that is estimated lies within these.
LEAST_RATIO, LARGEST_RATIO = 0.05, 50.0
PRIOR_PAIRS = 1.0
# Passes, and the change in the logarithm of the ratio that ends them.
MAX_PASSES, TOLERANCE = 6, 0.05
# Steps of expectation maximisation are too short where much is in doubt: so many times longer.
MOST_LONGER = 4.0
# What a network that is not told the density takes for its training's: the mean over the sources
# of the groups, pairs and fields on which such a network is calibrated, over the sky's.
UNTOLD_DENSITY_RATIO = 16.0
# Radius of the aperture that tells bright candidates from faint ones, and what of a galaxy of
# the limiting magnitude is outside of it.
APERTURE_ARCSEC, APERTURE_LOSS_MAG = 0.5, 0.2


def batch_density_ratio(
    blend_batch: BlendBatch, images: np.ndarray, judged: Callable[[float], Candidates]
) -> float:
    """Return the density ratio of a batch.

    Args:
        blend_batch: Where survey and pixel are from.
        images: ``(b, bands, H, W)`` [electron], with no NaN.
        judged: Takes a ratio, and gives the candidates of all images with their probabilities
            under it.
    """
    scale = pixel_scale_arcsec(blend_batch.survey)

    def expected(ratio: float) -> tuple[float, float]:
        bright = bright_candidates(blend_batch, images, judged(ratio))
        return expected_pairs(bright, images.shape[-1], scale)

    return estimate_density_ratio(expected)


def estimate_density_ratio(expected: Callable[[float], tuple[float, float]]) -> float:
    """Return the density ratio at which what is expected agrees with it.

    Args:
        expected: Takes a ratio, and gives the expected number of pairs of neighbours under it,
            and of sources whose surroundings are seen, as `expected_pairs` does.

    Returns:
        The ratio, between `LEAST_RATIO` and `LARGEST_RATIO`; that of the last pass if it still
        moves after `MAX_PASSES`.
    """
    ratio, before = 1.0, None
    for _ in range(MAX_PASSES):
        pairs, sources = expected(ratio)
        # A pair is two neighbours.
        by_the_sky = SKY_NEIGHBOURS * sources / 2
        step = math.log((PRIOR_PAIRS + pairs) / (PRIOR_PAIRS + by_the_sky) / ratio)
        if abs(step) < TOLERANCE:
            break
        longer = 1.0
        if before is not None:
            # How the step shrank over the last one tells how far there is to go.
            last_step, moved = before
            shrinks = (last_step - step) / moved if moved else 1.0
            longer = 1 / min(max(shrinks, 1 / MOST_LONGER), 1.0)
        there = min(max(ratio * math.exp(longer * step), LEAST_RATIO), LARGEST_RATIO)
        before, ratio = (step, math.log(there / ratio)), there
    return ratio


def expected_pairs(
    candidates: Candidates, image_size: int, scale_arcsec: float
) -> tuple[float, float]:
    """Return how many pairs of neighbours, and how many sources, the candidates of a batch are.

    Args:
        candidates: Of all images, with calibrated probabilities, those that are bright enough.
        image_size: Side of an image [pixel].
        scale_arcsec: Size of a pixel [arcsec].

    Returns:
        Expected number of pairs within 2 arcsec, and of sources, each times the share of the
        circle of 2 arcsec around it that is on the image.
    """
    radius = NEIGHBOUR_RADIUS_ARCSEC / scale_arcsec
    if not len(candidates):
        return 0.0, 0.0
    # Images stand apart along a third axis.
    place = np.stack([candidates.x, candidates.y, 4 * radius * candidates.image], axis=1)
    one, other = KDTree(place).query_pairs(radius, output_type="ndarray").T
    pairs = candidates.mass[one] @ candidates.mass[other]
    reach = math.ceil(radius)
    around = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    x, y = around[:, np.hypot(*around) <= radius]
    seen = np.ones((len(candidates), len(x)), bool)
    for centre, step in ((candidates.x, x), (candidates.y, y)):
        where = centre[:, None] + step
        seen &= (where >= -0.5) & (where <= image_size - 0.5)
    return float(pairs), float(candidates.mass @ seen.mean(axis=1))


def bright_candidates(
    blend_batch: BlendBatch, images: np.ndarray, candidates: Candidates
) -> Candidates:
    """Return the candidates that are as bright as what a density ratio counts.

    Args:
        blend_batch: Where survey and pixel are from.
        images: ``(b, bands, H, W)`` [electron], with no NaN.
        candidates: Of all images.
    """
    survey = blend_batch.survey
    index = reference_band(survey)
    band = survey.get_filter(survey.available_filters[index])
    radius = APERTURE_ARCSEC / pixel_scale_arcsec(survey)
    flux = np.zeros(len(candidates))
    for number in np.unique(candidates.image):
        rows = np.flatnonzero(candidates.image == number)
        image = np.ascontiguousarray(images[number, index], float)
        flux[rows], _, _ = sep.sum_circle(image, candidates.x[rows], candidates.y[rows], radius)
    return candidates.take(magnitude(flux, band) < NEIGHBOUR_MAGNITUDE + APERTURE_LOSS_MAG)
