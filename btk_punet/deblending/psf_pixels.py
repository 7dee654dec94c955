"""PSFs as a survey gives them, GalSim's objects, or as BTK's loading of a batch does: pixels."""

from typing import Any

import galsim
import numpy as np

# Pixels across the image of the PSF: odd, to have a centre, and with the three pixels that
# scarlet2 adds, it fills a stamp of 64 up to a power of two.
_PSF_PIXELS = 61


def fwhm_arcsec(psf: Any, scale: float) -> float:
    """Return the FWHM of a PSF: a GalSim object, or an array of pixels as BTK's load gives."""
    if isinstance(psf, np.ndarray):
        psf = galsim.InterpolatedImage(galsim.Image(psf.astype(float)), scale=scale)
    return float(psf.calculateFWHM())


def psf_image(psf: Any, scale: float) -> np.ndarray:
    """Return an image of a PSF, the pixel included: of a GalSim object, or of pixels.

    Pixels, as BTK's loading of a batch gives them, are best odd in number: for an even number the
    PSF is shifted by half a pixel, and one as sharp as Euclid's then loses a tenth of its peak.
    """
    method = "auto"
    if isinstance(psf, galsim.Image | np.ndarray):
        pixels = psf.array if isinstance(psf, galsim.Image) else psf
        image = galsim.Image(pixels.astype(float))
        psf = galsim.InterpolatedImage(image, x_interpolant="lanczos15", scale=scale)
        method = "no_pixel"  # which these have already
    return psf.drawImage(nx=_PSF_PIXELS, ny=_PSF_PIXELS, scale=scale, method=method).array
