"""The conditions of a batch, and whether they are like those that a network was trained on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from btk.blend_batch import BlendBatch

from btk_punet.deblending.band_conditions import BandConditions
from btk_punet.deblending.light.profiles import as_profile
from btk_punet.deblending.psf_pixels import fwhm_arcsec
from btk_punet.deblending.recipe import DetectionRecipe
from btk_punet.simulation.survey import background_variance, magnitude, pixel_scale_arcsec

# A PSF this much outside of the training's [share of its FWHM] is still as good as within.
_PSF_TOLERANCE = 0.05


def batch_conditions(blend_batch: BlendBatch) -> list[BandConditions]:
    """Return the conditions of each band of a batch, in the order of its survey's filters.

    Raises:
        InputError: The background of a band is not positive.
    """
    survey = blend_batch.survey
    scale = pixel_scale_arcsec(survey)
    conditions = []
    for band, name in enumerate(survey.available_filters):
        filt = survey.get_filter(name)
        psf, with_pixel = as_profile(blend_batch.psf[band], scale)
        variance = background_variance(survey, filt)
        conditions.append(
            BandConditions(psf, with_pixel, scale, variance, float(magnitude(np.array(1.0), filt)))
        )
    return conditions


def unlike_training(scale: float, psfs: Mapping[str, Any], recipe: DetectionRecipe) -> list[str]:
    """Return for what of some images, pixel or PSF, the probabilities are not calibrated.

    Args:
        scale: Pixel size [arcsec].
        psfs: The PSF of each band by the band's name: a GalSim object, or an array of pixels.
        recipe: What goes with the weights.
    """
    texts = []
    made_for = recipe.pixel_scale_arcsec
    if made_for is not None and abs(scale / made_for - 1) > 0.01:
        texts.append(
            f"the pixel is {scale:g} arcsec, and the network was trained on {made_for:g} "
            "arcsec: its probabilities are not calibrated here"
        )
    if recipe.psf_fwhm_arcsec is not None:
        low, high = recipe.psf_fwhm_arcsec
        for band, psf in psfs.items():
            fwhm = fwhm_arcsec(psf, scale)
            if not low * (1 - _PSF_TOLERANCE) <= fwhm <= high * (1 + _PSF_TOLERANCE):
                texts.append(
                    f"the PSF of {band} has a FWHM of {fwhm:.3f} arcsec, and the network was "
                    f"trained on {low:.2f} to {high:.2f} arcsec: its probabilities are not "
                    "calibrated here"
                )
    return texts
