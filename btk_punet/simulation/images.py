"""Images from anywhere, a survey's or a simulation's, as the batches that deblenders take."""

from collections.abc import Sequence

import galsim
import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch
from btk.survey import Filter, Survey

from btk_punet.errors import InputError
from btk_punet.simulation.stamps import btk_stamp_size_arcsec
from btk_punet.simulation.survey import pixel_scale_arcsec


def image_batch(
    images: np.ndarray, survey: Survey, psf: Sequence[galsim.GSObject] | None = None
) -> BlendBatch:
    """Return images whose content is not known as a batch: any BTK deblender takes it.

    Args:
        images: Shape (n, bands, H, H), or (H, H) for one image of a survey of one band [electron
            in the full exposure of the survey], with the sky subtracted.
        survey: Says what the pixels, bands and noise of the images are; with
            `get_euclid_survey`, for example, as many exposures as the images are a stack of.
        psf: The PSF of each band; that of the survey if None.

    Returns:
        BTK's ``BlendBatch`` with these images, and without any true source.

    Raises:
        InputError: if the images are not square, or have not the survey's bands.
    """
    images = np.asarray(images, float)
    n_bands = len(survey.available_filters)
    given = images.shape
    if images.ndim == 2:
        images = images[None, None]
    if images.ndim != 4 or images.shape[1] != n_bands or images.shape[2] != images.shape[3]:
        raise InputError(
            f"Expected square images of the shape (n, {n_bands}, H, H) for {survey.name}, whose "
            f"bands are {', '.join(survey.available_filters)}; got {given}. Cut them into squares."
        )
    n_images, _, size, _ = images.shape
    if psf is None:
        psf = [_psf(survey, survey.get_filter(name)) for name in survey.available_filters]
    columns = ("ra", "dec", "x_peak", "y_peak")
    return BlendBatch(
        batch_size=n_images,
        max_n_sources=0,
        stamp_size=btk_stamp_size_arcsec(size, pixel_scale_arcsec(survey)),
        survey=survey,
        blend_images=images,
        isolated_images=np.zeros((n_images, 0, n_bands, size, size)),
        catalog_list=[Table({name: np.zeros(0) for name in columns}) for _ in range(n_images)],
        psf=list(psf),
    )


def _psf(survey: Survey, filt: Filter) -> galsim.GSObject:
    """Return the PSF of a filter, which BTK may hold as a function that makes it."""
    return filt.psf(survey, filt) if callable(filt.psf) else filt.psf
