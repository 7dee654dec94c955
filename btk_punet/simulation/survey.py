"""The Euclid VIS survey as BTK sees it: exposures, sky, read noise and a space-based PSF."""

from collections.abc import Callable
from functools import lru_cache

import astropy.units as u
import galsim
import numpy as np
from btk.survey import Filter, Survey, get_surveys
from scipy.optimize import brentq
from surveycodex.utilities import mean_sky_level

from btk_punet.errors import InputError, InputTypeError

EUCLID_EXPOSURE_SECONDS = 565.0  # one dither of the Euclid Wide Survey, which has four
EUCLID_READ_NOISE_ELECTRONS = 4.4  # per exposure; Euclid VIS, requirement 4.5
EUCLID_MIRROR_METRES = 1.2
EUCLID_WAVELENGTH_NM = 750.637  # effective wavelength of I_E, surveycodex
# surveycodex gives 0.13 as the obscured fraction of the area; GalSim wants that of the diameter.
EUCLID_LINEAR_OBSCURATION = float(np.sqrt(0.13))
# The three arms of the spider: their width only shapes faint spikes; a round number.
EUCLID_STRUTS, EUCLID_STRUT_THICKNESS = 3, 0.015
# The PSF is tabulated once: fine enough for the optics' band limit (2 pi D / lambda is 49 per
# arcsec, this grid reaches 126) and wide enough for 99% of the light, renormalised to all of it.
PSF_TABLE_SCALE_ARCSEC, PSF_TABLE_PIXELS = 0.025, 512


def get_euclid_survey(
    n_exposures: int = 4,
    read_noise: float = EUCLID_READ_NOISE_ELECTRONS,
    psf: float | galsim.GSObject | Callable = 0.16,
) -> Survey:
    """Return the Euclid VIS survey for BTK, with a space-based PSF and the noise of a stack.

    The defaults are the Euclid Wide Survey: 4 x 565 s. BTK's own ``get_surveys("Euclid_VIS")`` is
    one exposure without read noise: ``get_euclid_survey(1, 0.0)`` has its depth.

    ``sky_brightness`` is set so that ``mean_sky_level``, which BTK's tools take for the variance
    of a pixel, is the whole background variance, ``n_exposures * (sky_electrons + read_noise**2)``
    (to 0.005 electron, since surveycodex counts whole electrons per square arcsecond).

    Args:
        n_exposures: Number of exposures in the stack.
        read_noise: Read noise of one exposure [electron].
        psf: FWHM before the pixel [arcsec] of the Euclid optics and a Gaussian; or any GalSim
            object; or a callable of (survey, filter), as BTK takes.

    Returns:
        A BTK ``Survey`` named ``Euclid_VIS`` with the filter ``IE``, in electrons. Its attributes
        ``n_exposures``, ``read_noise`` [electron, one exposure] and ``sky_electrons`` [electron
        per pixel, one exposure] hold the parts of the noise.

    Raises:
        InputError: for a number of exposures below 1, a negative read noise, or a FWHM that is
            sharper than the optics.
        InputTypeError: for a PSF of another type.
    """
    if isinstance(n_exposures, bool) or not isinstance(n_exposures, int | np.integer):
        raise InputTypeError(f"n_exposures must be a whole number, got {n_exposures!r}.")
    if n_exposures < 1:
        raise InputError(f"n_exposures must be at least 1, got {n_exposures}.")
    if not (np.isfinite(read_noise) and read_noise >= 0):
        raise InputError(f"read_noise must be 0 or more electrons, got {read_noise}.")

    survey = get_surveys("Euclid_VIS")
    filt = survey.get_filter("IE")
    sky_electrons = mean_sky_level(survey, filt).to_value("electron")

    survey.n_exposures = int(n_exposures)
    survey.read_noise = float(read_noise)
    survey.sky_electrons = float(sky_electrons)
    filt.full_exposure_time = n_exposures * EUCLID_EXPOSURE_SECONDS * u.s

    variance = n_exposures * (sky_electrons + read_noise**2)
    # Half an electron above the whole number, which surveycodex then rounds down to.
    counts_per_arcsec2 = np.round(variance / survey.pixel_scale.to_value("arcsec") ** 2) + 0.5
    rate = counts_per_arcsec2 / filt.full_exposure_time.to_value("s")
    zeropoint = filt.zeropoint.to_value("mag")
    filt.sky_brightness = (zeropoint - 2.5 * np.log10(rate)) * u.mag / u.arcsec**2

    if isinstance(psf, galsim.GSObject) or callable(psf):
        filt.psf = psf
    elif isinstance(psf, float | int | np.floating) and not isinstance(psf, bool):
        filt.psf = euclid_psf(float(psf))
        filt.psf_fwhm = float(psf) * u.arcsec
    else:
        raise InputTypeError(
            "psf must be a FWHM in arcsec, a galsim.GSObject, or a callable of (survey, filter); "
            f"got {type(psf).__name__}."
        )
    return survey


@lru_cache(maxsize=32)
def euclid_psf(fwhm_arcsec: float = 0.16) -> galsim.GSObject:
    """Return a Euclid-like PSF: diffraction of the obscured mirror, and a Gaussian for the rest.

    The Gaussian stands for jitter, charge diffusion and colour; its width is solved for so that
    the FWHM, before the pixel, is the one asked for. The optics alone have 0.125 arcsec.

    Args:
        fwhm_arcsec: FWHM before the pixel [arcsec].

    Returns:
        A ``galsim.InterpolatedImage`` of flux 1 (fast to convolve with, and it can be pickled).

    Raises:
        InputError: if the FWHM is below that of the optics, or above 1 arcsec.
    """
    optics = euclid_optics()
    optics_fwhm = optics.calculateFWHM()
    if not optics_fwhm + 1e-3 <= fwhm_arcsec <= 1.0:
        raise InputError(
            f"The PSF's FWHM must lie between {optics_fwhm + 1e-3:.3f} arcsec (the optics of "
            f"Euclid) and 1 arcsec, got {fwhm_arcsec}. Give a galsim.GSObject for another PSF."
        )

    def blurred(sigma_arcsec: float) -> galsim.GSObject:
        return galsim.Convolve(optics, galsim.Gaussian(sigma=sigma_arcsec))

    sigma_arcsec = brentq(
        lambda sigma: blurred(sigma).calculateFWHM() - fwhm_arcsec, 1e-3, fwhm_arcsec, xtol=1e-4
    )
    return tabulated_psf(blurred(sigma_arcsec))


def euclid_optics(**options) -> galsim.OpticalPSF:
    """Return the diffraction pattern of Euclid's mirror, with further options of GalSim's."""
    return galsim.OpticalPSF(
        lam=EUCLID_WAVELENGTH_NM,
        diam=EUCLID_MIRROR_METRES,
        obscuration=EUCLID_LINEAR_OBSCURATION,
        nstruts=EUCLID_STRUTS,
        strut_thick=EUCLID_STRUT_THICKNESS,
        **options,
    )


def tabulated_psf(psf: galsim.GSObject) -> galsim.InterpolatedImage:
    """Return a PSF of Euclid's optics as a table of flux 1, which is fast to convolve with."""
    table = psf.drawImage(
        nx=PSF_TABLE_PIXELS,
        ny=PSF_TABLE_PIXELS,
        scale=PSF_TABLE_SCALE_ARCSEC,
        method="no_pixel",
    )
    # Beyond the optics' band limit the table holds noise alone.
    band_limit = 2 * np.pi * EUCLID_MIRROR_METRES / (EUCLID_WAVELENGTH_NM * 1e-9)  # per radian
    modes_per_arcsec = band_limit * u.arcsec.to("rad")
    return galsim.InterpolatedImage(
        table, flux=1.0, calculate_maxk=modes_per_arcsec * PSF_TABLE_SCALE_ARCSEC
    )


def background_variance(survey: Survey, filt: Filter) -> float:
    """Return the variance of a pixel without sources [electron^2]: sky and read noise.

    This is BTK's ``mean_sky_level``, for any survey, without the overhead of its units.
    """
    return _sky_level(
        float(filt.sky_brightness.value),
        float(filt.zeropoint.value),
        float(filt.full_exposure_time.to_value("s")),
        pixel_scale_arcsec(survey),
    )


@lru_cache(maxsize=256)
def _sky_level(
    brightness: float, zeropoint: float, exposure_seconds: float, pixel_scale_arcsec: float
) -> float:
    """Return the sky level [electron] from what surveycodex computes it of, in the same steps."""
    rate = u.Magnitude(brightness - zeropoint, u.mag(u.electron / u.s)).to_value(u.electron / u.s)
    return int(rate * exposure_seconds) * pixel_scale_arcsec**2


def pixel_scale_arcsec(survey: Survey) -> float:
    """Return the pixel size [arcsec]."""
    return float(survey.pixel_scale.to_value("arcsec"))


def flux_electrons(magnitude: np.ndarray, filt: Filter) -> np.ndarray:
    """Return the flux [whole electrons in the full exposure] of AB magnitudes, as BTK counts it.

    The same figures as surveycodex's ``mag2counts``, on whole arrays and without its overhead.
    """
    rate = 10.0 ** (-0.4 * (np.asarray(magnitude, float) - filt.zeropoint.to_value("mag")))
    return np.floor(rate * filt.full_exposure_time.to_value("s"))


def magnitude(flux: np.ndarray, filt: Filter) -> np.ndarray:
    """Return the AB magnitude of a flux [electron in the full exposure]; infinity for <= 0."""
    rate = np.asarray(flux, float) / filt.full_exposure_time.to_value("s")
    good = rate > 0
    return np.where(
        good,
        filt.zeropoint.to_value("mag") - 2.5 * np.log10(np.where(good, rate, 1.0)),
        np.inf,
    )


def reference_band(survey: Survey) -> int:
    """Return the index of the band in which magnitudes are given: I_E, else i or r, else first."""
    for name in ("IE", "i", "r"):
        if name in survey.available_filters:
            return survey.available_filters.index(name)
    return 0
