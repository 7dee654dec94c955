"""Images from anywhere, a survey's or a simulation's, as the batches that deblenders take."""

from collections.abc import Iterable, Sequence
from typing import Any

import astropy.units as u
import galsim
import numpy as np
from astropy.nddata import NDData
from astropy.table import Table
from astropy.utils.masked import Masked
from btk.blend_batch import BlendBatch
from btk.survey import Filter, Survey

from btk_punet.errors import InputError, InputTypeError
from btk_punet.simulation.stamps import btk_stamp_size_arcsec
from btk_punet.simulation.survey import pixel_scale_arcsec


def image_batch(
    images: np.ndarray,
    survey: Survey,
    psf: Sequence[galsim.GSObject] | galsim.GSObject | None = None,
) -> BlendBatch:
    """Return images whose content is not known as a batch: any BTK deblender takes it.

    Args:
        images: Shape (n, bands, H, H), or (H, H) for one image of a survey of one band [electron
            in the full exposure of the survey], with the sky subtracted. Pixels without a usable
            value are NaN, or masked in a masked array. A Quantity is in electrons.
        survey: Says what the pixels, bands and noise of the images are; with
            `get_euclid_survey`, for example, as many exposures as the images are a stack of.
        psf: The PSF of each band, or the one of a survey of one band; that of the survey if None.

    Returns:
        BTK's ``BlendBatch`` with these images, float64, and without any true source.

    Raises:
        InputTypeError: if images are no real numbers, the survey is none of BTK's, or a PSF is no
            object of GalSim.
        InputError: if the images are not square, have not the survey's bands, or another unit than
            electrons; if there are not as many PSFs as bands; or if the survey has no positive
            pixel scale.
    """
    _check_survey(survey)
    bands = survey.available_filters
    images = _electrons(images)
    given = images.shape
    if images.ndim == 2:
        images = images[None, None]
    if (
        images.ndim != 4
        or images.shape[1] != len(bands)
        or images.shape[2] != images.shape[3]
        or images.shape[3] == 0
    ):
        raise InputError(
            f"Expected square images of the shape (n, {len(bands)}, H, H) for {survey.name}, whose "
            f"bands are {', '.join(bands)}; got {given}. Cut them into squares."
        )
    n_images, _, size, _ = images.shape
    psfs = _psfs(survey, psf)
    columns = ("ra", "dec", "x_peak", "y_peak")
    return BlendBatch(
        batch_size=n_images,
        max_n_sources=0,
        stamp_size=btk_stamp_size_arcsec(size, pixel_scale_arcsec(survey)),
        survey=survey,
        blend_images=images,
        isolated_images=np.zeros((n_images, 0, len(bands), size, size)),
        catalog_list=[Table({name: np.zeros(0) for name in columns}) for _ in range(n_images)],
        psf=psfs,
    )


def _check_survey(survey: object) -> None:
    if not isinstance(survey, Survey):
        raise InputTypeError(
            f"Expected a survey of BTK, got {_kind(survey)}. Give what get_euclid_survey() or "
            "btk.survey.get_surveys('LSST') returns."
        )
    scale = pixel_scale_arcsec(survey)
    if not 0 < scale < np.inf:
        raise InputError(
            f"The pixel scale of {survey.name} must be above 0 arcsec, got {scale}. Set its "
            "pixel_scale."
        )


def _electrons(images: Any) -> np.ndarray:
    """Return images as plain float64 [electron], NaN where they are masked."""
    if isinstance(images, NDData):
        raise InputTypeError(
            f"Expected images as an array, got {_kind(images)}. Give its data in electrons, with "
            "NaN where its mask is set."
        )
    mask = None
    if isinstance(images, np.ma.MaskedArray):
        images, mask = images.data, np.ma.getmaskarray(images)
    elif isinstance(images, Masked):
        images, mask = images.unmasked, images.mask
    if isinstance(images, u.Quantity):
        if images.unit != u.electron:
            raise InputError(
                f"Expected images in electrons in the full exposure of the survey, got the unit "
                f"'{images.unit}'. Convert them, and give plain numbers."
            )
        images = images.value
    try:
        array = np.asarray(images)
    except (ValueError, TypeError) as error:  # lists of different lengths, for example
        raise InputTypeError(
            f"Expected images as an array of numbers, got {_kind(images)} that is none ({error}). "
            "Give images of one size."
        ) from error
    if array.dtype.kind not in "fiu":
        raise InputTypeError(
            f"Expected images as an array of real numbers, got {_kind(images)} of dtype "
            f"{array.dtype}. Give electrons, as integers or floating-point numbers."
        )
    with np.errstate(over="ignore"):  # beyond float64 is infinite, and not used
        array = array.astype(float)
    if mask is not None:
        array[mask] = np.nan
    return array


def _psfs(survey: Survey, psf: Any) -> list[galsim.GSObject]:
    """Return the PSF of each band."""
    bands = survey.available_filters
    if psf is None:
        psfs = [_psf(survey, survey.get_filter(name)) for name in bands]
    elif isinstance(psf, galsim.GSObject):
        psfs = [psf]
    elif isinstance(psf, Iterable) and not isinstance(psf, str | bytes):
        psfs = list(psf)
    else:
        raise InputTypeError(
            f"Expected psf as a list with a galsim.GSObject for each band, got {_kind(psf)}. Give "
            "for example [galsim.Gaussian(fwhm=0.16)], or nothing for the survey's own."
        )
    for band, one in zip(bands, psfs, strict=False):
        if not isinstance(one, galsim.GSObject):
            raise InputTypeError(
                f"Expected the PSF of {band} as a galsim.GSObject, got {_kind(one)}. Make pixels "
                "one with galsim.InterpolatedImage(galsim.Image(pixels), scale=...)."
            )
    if len(psfs) != len(bands):
        raise InputError(
            f"Expected {len(bands)} PSFs for {survey.name}, one for each of {', '.join(bands)}; "
            f"got {len(psfs)}."
        )
    return psfs


def _psf(survey: Survey, filt: Filter) -> galsim.GSObject:
    """Return the PSF of a filter, which BTK may hold as a function that makes it."""
    return filt.psf(survey, filt) if callable(filt.psf) else filt.psf


def _kind(value: object) -> str:
    """Return what something is, in words of a message."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{value!r}" if isinstance(value, str | int | float | None) else type(value).__name__
