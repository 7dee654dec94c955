"""The noise of a survey's background, as the deblenders need it."""

import numpy as np
from btk.blend_batch import BlendBatch
from btk.survey import Survey

from btk_punet.deblending.base import plain_floats
from btk_punet.errors import InputError
from btk_punet.simulation.survey import background_variance


def band_variances(survey: Survey, purpose: str) -> np.ndarray:
    """Return the variance of the background of each band [electron^2].

    Args:
        survey: The survey.
        purpose: What they are needed for, as the error says it.

    Raises:
        InputError: if that of a band is not positive.
    """
    names = survey.available_filters
    variance = np.array([background_variance(survey, survey.get_filter(n)) for n in names])
    if not ((variance > 0) & (variance < np.inf)).all():
        raise InputError(
            f"The background of each band must be positive to {purpose}, got "
            f"{dict(zip(names, variance.tolist(), strict=True))} electrons per pixel. Check the "
            "survey's sky_brightness."
        )
    return variance


def noise_normalised(blend_batch: BlendBatch) -> np.ndarray:
    """Return the blends as the network takes them: in units of the background's noise.

    Returns:
        Array of shape (b, H, W, bands), float64.

    Raises:
        InputError: if the background of a band is not positive.
    """
    variance = band_variances(blend_batch.survey, "divide the images by its noise")
    images = plain_floats(blend_batch.blend_images) / np.sqrt(variance)[:, None, None]
    return np.moveaxis(images, 1, -1)


def bands_together(normalised: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return images of several bands as one of the noise 1, and 0 where a pixel is not usable.

    Args:
        normalised: Divided by the noise, ``(b, H, W, bands)``.
        usable: ``(b, H, W)``.
    """
    n_bands = normalised.shape[-1]
    return np.where(usable, normalised.sum(axis=-1) / np.sqrt(n_bands), 0.0)
