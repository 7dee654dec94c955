"""Whether a batch is like what a network was trained on."""

from btk.blend_batch import BlendBatch

from btk_punet.deblending.psf_pixels import fwhm_arcsec
from btk_punet.deblending.recipe import DetectionRecipe
from btk_punet.simulation.survey import pixel_scale_arcsec

# A PSF this much outside of the training's [share of its FWHM] is still as good as within.
_PSF_TOLERANCE = 0.05


def unlike_training(blend_batch: BlendBatch, recipe: DetectionRecipe) -> list[str]:
    """Return what of a batch, pixel or PSF, its probabilities are not calibrated for."""
    survey, texts = blend_batch.survey, []
    scale = pixel_scale_arcsec(survey)
    made_for = recipe.pixel_scale_arcsec
    if made_for is not None and abs(scale / made_for - 1) > 0.01:
        texts.append(
            f"the pixel is {scale:g} arcsec, and the network was trained on {made_for:g} "
            "arcsec: its probabilities are not calibrated here"
        )
    if recipe.psf_fwhm_arcsec is not None:
        low, high = recipe.psf_fwhm_arcsec
        for band, psf in zip(survey.available_filters, blend_batch.psf, strict=False):
            fwhm = fwhm_arcsec(psf, scale)
            if not low * (1 - _PSF_TOLERANCE) <= fwhm <= high * (1 + _PSF_TOLERANCE):
                texts.append(
                    f"the PSF of {band} has a FWHM of {fwhm:.3f} arcsec, and the network was "
                    f"trained on {low:.2f} to {high:.2f} arcsec: its probabilities are not "
                    "calibrated here"
                )
    return texts
