"""Stamps: their size as BTK counts it, and whether they can be drawn with a PSF."""

import math
from collections.abc import Sequence

import galsim
from btk.survey import Survey

from btk_punet.errors import InputError
from btk_punet.simulation.survey import pixel_scale_arcsec

# A stamp must hold the middle of the PSF at the least.
SMALLEST_STAMP_FWHM = 2.0
# A PSF whose Fourier modes reach this many pixel grids (FWHM below about a quarter of a pixel)
# cannot be drawn in a sensible time.
SHARPEST_PSF_GRIDS = 12


def check_stamp(survey: Survey, psfs: Sequence[galsim.GSObject], stamp_size: float) -> None:
    """Raise unless a survey can be drawn.

    Args:
        survey: The survey.
        psfs: The PSF of each of its filters.
        stamp_size: Side of the stamp [arcsec].

    Raises:
        InputError: if a PSF is too sharp for the pixels, or too wide for the stamp.
    """
    for name, psf in zip(survey.available_filters, psfs, strict=True):
        grids = psf.maxk * pixel_scale_arcsec(survey) / math.pi
        if grids > SHARPEST_PSF_GRIDS:
            raise InputError(
                f"The PSF of {survey.name} {name} is far sharper than the pixels of "
                f"{pixel_scale_arcsec(survey):g} arcsec: its Fourier modes reach "
                f"{grids:.3g} times those of the pixel grid, at most "
                f"{SHARPEST_PSF_GRIDS} can be drawn. Give a PSF with a larger FWHM."
            )
        fwhm = psf.calculateFWHM()
        if stamp_size < SMALLEST_STAMP_FWHM * fwhm:
            raise InputError(
                f"The stamp of {stamp_size} arcsec is smaller than the PSF of "
                f"{survey.name} {name} (FWHM {fwhm:.2f} arcsec): expected at least "
                f"{SMALLEST_STAMP_FWHM:g} times the FWHM; give the sampling function a "
                "larger stamp_size."
            )


def btk_stamp_size_arcsec(n_pixels: int, scale_arcsec: float, at_least: float = 0.0) -> float:
    """Return the stamp size [arcsec] from which BTK computes the right number of pixels.

    Args:
        n_pixels: Side of the stamp [pixel].
        scale_arcsec: Side of a pixel.
        at_least: The size is no smaller than this [arcsec].
    """
    stamp_size = max(at_least, n_pixels * scale_arcsec)
    while int(stamp_size / scale_arcsec) < n_pixels:  # BTK's int(8.2 / 0.1) is 81
        stamp_size = math.nextafter(stamp_size, math.inf)
    return stamp_size
