"""The catalog of a network's detections in one image: positions, probabilities, photometry."""

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from btk.survey import Filter

from btk_punet.deblending.base import footprint_flags, sky_arcsec
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.recipe import DetectionRecipe
from btk_punet.simulation.survey import magnitude


def position_errors(candidates: Candidates, recipe: DetectionRecipe) -> list[np.ndarray]:
    """Return the half-widths [pixel] that hold 68% of the true x, and of the true y."""
    variances = (candidates.x_variance, candidates.y_variance)
    return [recipe.position_scale * np.sqrt(v) for v in variances]


def detection_catalog(
    found: Candidates,
    covered: np.ndarray,
    image: np.ndarray,
    usable: np.ndarray,
    class_probability: np.ndarray,
    recipe: DetectionRecipe,
    band: Filter,
    variance: float,
    wcs: WCS,
) -> Table:
    """Return the catalog of one image, as `ProbaUNetDeblender` describes it.

    Args:
        found: Its detections.
        covered: Their footprints, bool ``(n, H, W)``.
        image: The band in which light is measured [electron], ``(H, W)``.
        usable: Which pixels have a value, bool ``(H, W)``.
        class_probability: ``(3, H, W)``.
        recipe: Calibration of the weights.
        band: The band.
        variance: Of its background [electron^2].
        wcs: World coordinates of the image.
    """
    # Pixel by pixel of the footprints: arrays of all detections by the image would fill the
    # memory for a large field.
    owner, row, column = pixels = np.nonzero(covered)

    def total(values: np.ndarray) -> np.ndarray:
        # Of no pixels, bincount gives integers.
        return np.bincount(owner, values, len(covered)).astype(float)

    light = np.where(usable, image, 0.0)[row, column]
    share = 1 / covered.sum(axis=0)[row, column]
    flux = total(share * light)
    flux_variance = total(share**2 * (variance + np.maximum(light, 0)))
    overlap = np.zeros(len(covered))
    np.maximum.at(overlap, owner, class_probability[2, row, column])
    ra, dec = sky_arcsec(wcs, found.x, found.y)
    x_err, y_err = position_errors(found, recipe)
    positive = np.where(flux > 0, flux, 1)

    return Table(
        {
            "ra": ra,
            "dec": dec,
            "x_peak": found.x,
            "y_peak": found.y,
            "x_err": x_err,
            "y_err": y_err,
            "p_detect": found.mass,
            "p_blend": recipe.p_blend(overlap),
            "flux": flux,
            "flux_err": np.sqrt(flux_variance),
            f"mag_{band.name}": np.where(flux > 0, magnitude(positive, band), np.nan),
            "n_pixels": np.bincount(owner, minlength=len(covered)),
            "flags": footprint_flags(pixels, len(covered), usable),
        }
    )
