"""PSFs of the training data: Euclid's optics with aberrations, of many widths."""

import math

import galsim
import numpy as np
from scipy import ndimage
from scipy.optimize import brentq

from btk_punet.simulation.survey import euclid_optics, tabulated_psf

PSF_FWHM_RANGE_ARCSEC = (0.14, 0.20)
# Defocus, astigmatism, coma, trefoil and spherical aberration, in Noll's numbers.
NOLL_TERMS = range(4, 12)
# All terms together (0.07 is the diffraction limit by Marechal's rule), and each alone.
WAVEFRONT_RMS_WAVES, TERM_MAX_WAVES = (0.01, 0.065), 0.05

# The image of a PSF's middle on which its FWHM is measured.
_CORE_SCALE_ARCSEC, _CORE_PIXELS = 0.005, 201


def training_psfs(n_psfs: int = 16, seed: int = 0) -> list[galsim.GSObject]:
    """Return PSFs of Euclid's optics with random aberrations, blurred to FWHM 0.14-0.20 arcsec.

    Args:
        n_psfs: Number of PSFs; their FWHM (before the pixel) are spread evenly over the range.
        seed: Seed of the aberrations and the angles of the struts.
    """
    rng = np.random.default_rng(seed)
    low, high = PSF_FWHM_RANGE_ARCSEC
    fwhms = low + (high - low) * (np.arange(n_psfs) + rng.random(n_psfs)) / n_psfs
    return [_aberrated_psf(fwhm, rng) for fwhm in fwhms]


def equivalent_fwhm_arcsec(psf: galsim.GSObject) -> float:
    """Return the diameter [arcsec] of the circle with the area where a PSF is above half its peak.

    GalSim's ``calculateFWHM`` takes the shortest way down, which for an aberrated PSF is not its
    size.
    """
    return _fwhm_of_image(_core(psf))


def _core(psf: galsim.GSObject) -> np.ndarray:
    """Return the inner arcsecond of a PSF, finely sampled."""
    return psf.drawImage(
        nx=_CORE_PIXELS, ny=_CORE_PIXELS, scale=_CORE_SCALE_ARCSEC, method="no_pixel"
    ).array


def _fwhm_of_image(core: np.ndarray) -> float:
    n_above = np.count_nonzero(core >= 0.5 * core.max())
    return 2 * _CORE_SCALE_ARCSEC * math.sqrt(n_above / math.pi)


def _aberrated_psf(fwhm_arcsec: float, rng: np.random.Generator) -> galsim.GSObject:
    """Return one PSF as a table, like `simulation.survey.euclid_psf`."""
    terms = rng.standard_normal(len(NOLL_TERMS))
    terms *= rng.uniform(*WAVEFRONT_RMS_WAVES) / np.linalg.norm(terms)
    terms = np.clip(terms, -TERM_MAX_WAVES, TERM_MAX_WAVES)
    strut_angle = rng.uniform(0.0, 120.0)
    while True:
        optics = euclid_optics(
            strut_angle=strut_angle * galsim.degrees,
            aberrations=[0.0] * NOLL_TERMS.start + list(terms),
        )
        core = _core(optics)
        if _fwhm_of_image(core) < fwhm_arcsec - 2e-3:
            break
        terms *= 0.7  # too aberrated to be that sharp

    def blurred_fwhm(sigma_arcsec: float) -> float:
        return _fwhm_of_image(ndimage.gaussian_filter(core, sigma_arcsec / _CORE_SCALE_ARCSEC))

    sigma_arcsec = brentq(
        lambda sigma: blurred_fwhm(sigma) - fwhm_arcsec, 1e-3, fwhm_arcsec, xtol=2e-4
    )
    return tabulated_psf(galsim.Convolve(optics, galsim.Gaussian(sigma=sigma_arcsec)))
