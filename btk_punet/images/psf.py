"""The PSF of an image, in each of the ways in which it may be given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import galsim
import numpy as np

from btk_punet.deblending.light.profiles import as_profile
from btk_punet.errors import InputError, InputTypeError
from btk_punet.images.fits_images import FitsImage, read_fits
from btk_punet.images.photometry import header_number, number
from btk_punet.images.pixels import array_pixels
from btk_punet.images.world import local_pixel_scale
from btk_punet.simulation.survey import euclid_psf

_SHARPEST_EUCLID, _WIDEST_EUCLID = 0.127, 1.0  # FWHM that `euclid_psf` can have [arcsec]
_DEFAULT_FWHM = 0.16  # as that of get_euclid_survey [arcsec]
_LARGEST_IMAGE = 1024  # side [pixel]: more is an image of the sky, given by mistake
_SCALE_KEYS = ("PIXELSCL", "PIXSCALE", "PSCALE")


def choose_psf(psf: Any, pixel_scale_arcsec: float) -> tuple[galsim.GSObject, bool, str]:
    """Return the PSF, of flux 1 and centred.

    Args:
        psf: None for Euclid's, a FWHM [arcsec], a galsim object, an array of pixels, or the path of
            a FITS image.
        pixel_scale_arcsec: Pixel size of the image [arcsec].

    Returns:
        The PSF; whether it holds the pixel already, as images do; and a sentence about it, empty if
        there is nothing to say.

    Raises:
        InputError: if it is no PSF.
        InputTypeError: if it is something else.
    """
    if psf is None:
        return (
            euclid_psf(_DEFAULT_FWHM),
            False,
            (f"No PSF was given: that of Euclid VIS was taken (FWHM {_DEFAULT_FWHM} arcsec)."),
        )
    if isinstance(psf, galsim.GSObject):
        return _whole(psf, "psf"), False, ""
    if isinstance(psf, np.ndarray | galsim.Image) and np.ndim(getattr(psf, "array", psf)) > 0:
        pixels = psf.array if isinstance(psf, galsim.Image) else psf
        return *_of_pixels(array_pixels(pixels, "psf").array, pixel_scale_arcsec, "psf"), ""
    if isinstance(psf, str | Path):
        try:
            psf = float(str(psf))
        except ValueError:
            return _of_file(psf, pixel_scale_arcsec)
    try:
        fwhm = number("psf", psf, "arcsec")
    except InputTypeError as error:
        raise InputTypeError(
            "psf must be a FWHM in arcsec, a galsim object, an array, or the path of a FITS "
            f"image; got {type(psf).__name__}."
        ) from error
    if not 0 < fwhm < math.inf:
        raise InputError(f"psf must be a FWHM above 0 arcsec, got {fwhm:g}.")
    if _SHARPEST_EUCLID <= fwhm <= _WIDEST_EUCLID:
        return euclid_psf(fwhm), False, ""
    return (
        galsim.Gaussian(fwhm=fwhm),
        False,
        (f"The optics of Euclid have no PSF of FWHM {fwhm:g} arcsec: a Gaussian was taken."),
    )


def _of_file(path: str | Path, pixel_scale_arcsec: float) -> tuple[galsim.GSObject, bool, str]:
    read = read_fits(path, "psf")
    pixels = read.pixels
    scale, note = _scale(read), ""
    if scale is None:
        scale = pixel_scale_arcsec
        note = (
            f"The header of the PSF says no pixel size: that of the image was taken ({scale:.4g} "
            "arcsec)."
        )
    if max(pixels.shape) > _LARGEST_IMAGE:
        raise InputError(
            f"psf must be an image of at most {_LARGEST_IMAGE} pixels a side, and '{path}' has "
            f"{pixels.shape[0]} x {pixels.shape[1]}. Is it an image of the sky?"
        )
    array = pixels.read(slice(None), slice(None))
    return *_of_pixels(array, scale, f"psf '{path}'"), note


def _scale(psf: FitsImage) -> float | None:
    """Return the pixel size that the header of a PSF says [arcsec], if it does."""
    if psf.wcs is not None:
        return local_pixel_scale(psf.wcs, *(psf.wcs.wcs.crpix - 1))
    found = header_number(psf.header, *_SCALE_KEYS)
    return None if found is None else found[1]


def _of_pixels(pixels: np.ndarray, scale: float, name: str) -> tuple[galsim.GSObject, bool]:
    """Return the PSF of an image of it."""
    pixels = np.asarray(pixels, float)
    if min(pixels.shape) < 3 or max(pixels.shape) > _LARGEST_IMAGE:
        raise InputError(
            f"{name} must be an image of 3 to {_LARGEST_IMAGE} pixels a side, got the shape "
            f"{pixels.shape}."
        )
    if not np.isfinite(pixels).all():
        raise InputError(
            f"{name} must be finite everywhere; {_share(~np.isfinite(pixels))} is not."
        )
    total = pixels.sum()
    if total <= 0 or pixels.max() <= 0 or pixels.max() < -pixels.min():
        raise InputError(
            f"{name} must be an image of light: its sum is {total:g}, its peak "
            f"{pixels.max():g} and its lowest value {pixels.min():g}."
        )
    peak = np.unravel_index(np.argmax(pixels), pixels.shape)
    if any(p in (0, n - 1) for p, n in zip(peak, pixels.shape, strict=True)):
        raise InputError(
            f"{name} must have its peak inside, and it is at row {peak[0]} and column {peak[1]} of "
            f"{pixels.shape}. Cut it out about its centre."
        )
    profile, with_pixel = as_profile(pixels / total, scale)
    x, y = _centre(pixels / total)
    middle = (np.array(pixels.shape[::-1]) - 1) / 2
    profile = profile.shift(-scale * (x - middle[0]), -scale * (y - middle[1]))
    return _whole(profile, name), with_pixel


def _centre(pixels: np.ndarray) -> tuple[float, float]:
    """Return the centre of an image of a PSF (column, row), weighted to its core."""
    image = galsim.Image(pixels, xmin=0, ymin=0)
    moments = galsim.hsm.FindAdaptiveMom(image, strict=False)
    if moments.moments_status == 0:
        return moments.moments_centroid.x, moments.moments_centroid.y
    row, column = np.indices(pixels.shape)
    light = np.clip(pixels, 0, None)
    return float((light * column).sum() / light.sum()), float((light * row).sum() / light.sum())


def _whole(psf: galsim.GSObject, name: str) -> galsim.GSObject:
    """Return a PSF scaled to flux 1, if it has a width."""
    if not (math.isfinite(psf.flux) and psf.flux > 0):
        raise InputError(f"{name} must have a positive flux, got {psf.flux:g}.")
    return psf.withFlux(1.0)


def _share(where: np.ndarray) -> str:
    return f"{where.mean():.1%} of it"
