"""Place, total flux, size and shape of detections, and each source's image: a fit to the pixels.

The centres come from the network. From there all sources of a scene are fitted together, each as a
disk with a bulge seen through the survey's PSF (`light_fit`), and neighbours share the light by
their profiles. Candidates that were not called get their part too, where the pixels speak for them
(`light_hidden`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from btk_punet.deblending.band_conditions import BandConditions
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light_canvas import Scenes
from btk_punet.deblending.light_fit import MAX_SHIFT_PIXELS, LightFit, SourceFit
from btk_punet.deblending.light_hidden import CHANGED, fit_with, judge
from btk_punet.deblending.light_prior import (
    BULGE_MEAN,
    INDEX_MEAN,
    PLACE_SCATTER_PIXELS,
    LightPrior,
)
from btk_punet.deblending.light_profiles import (
    BULGE,
    FLUX,
    G1,
    G2,
    LOG_INDEX,
    LOG_RADIUS,
    N_PARAMETERS,
    X,
    Y,
)
from btk_punet.deblending.recipe import LightCalibration
from btk_punet.errors import InputError

# A source of less flux than this [sigma of a pixel] has no size of its own to speak of.
_LEAST_FLUX_SIGMA = 10.0
# How far the centre of a source may lie from the network's that else runs away from it [pixel].
_HELD_SCATTER_PIXELS = 0.3


@dataclass(frozen=True)
class Light:
    """What is known of the light of ``m`` sources.

    Attributes:
        x: Column of the centre [pixel], ``(m,)``.
        y: Row of the centre [pixel].
        x_err: Half-width that holds 68% of the true columns [pixel].
        y_err: The same of the rows.
        flux: Total flux [electron].
        flux_err: Half-width that holds 68% of the true fluxes [electron].
        half_light_radius_arcsec: Of the circle with the area of the ellipse that holds half of
            the light, before the PSF.
        g1: Ellipticity, GalSim's g, along the axes.
        g2: The same along the diagonals.
        failed: Whether there is no fit; then nothing else is to be used.
    """

    x: np.ndarray
    y: np.ndarray
    x_err: np.ndarray
    y_err: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    half_light_radius_arcsec: np.ndarray
    g1: np.ndarray
    g2: np.ndarray
    failed: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Light:
        """Return some of the sources."""
        return Light(*(getattr(self, column.name)[rows] for column in fields(self)))


def measure_light(
    images: np.ndarray,
    usable: np.ndarray,
    conditions: list[BandConditions],
    band: int,
    image: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    p_detect: np.ndarray,
    calibration: LightCalibration,
    doubtful: Candidates | None = None,
) -> tuple[Light, SourceImages]:
    """Fit the sources of some images.

    Args:
        images: Electrons without background, ``(b, bands, H, W)``.
        usable: Which pixels have a value, bool ``(b, H, W)``.
        conditions: How each band was observed.
        band: Which band is fitted.
        image: Number of the image of each source, ``(m,)``.
        x: Column of its centre [pixel], to begin with.
        y: Row of its centre.
        flux: Its flux [electron], to begin with.
        p_detect: Probability that it is there.
        calibration: Of the errors.
        doubtful: Candidates that are no sources of the above and may yet be there: where the pixels
            speak for them too, their light is not given to their neighbours (see `light_hidden`).

    Returns:
        What is known of each source, and their images.

    Raises:
        InputError: The conditions are not those of so many bands, or a background is not of the
            images' shape.
    """
    if len(conditions) != images.shape[1]:
        raise InputError(
            f"The images have {images.shape[1]} band(s), and there are conditions of "
            f"{len(conditions)}. Give one for each band, in their order."
        )
    own = conditions[band]
    scenes = _scenes(images, usable, conditions, band)

    start, prior = _beginning(scenes, own.unit_magnitude, image, x, y, flux)
    fit = SourceFit(scenes, image, start, prior)
    found = _held(fit, fit.run())
    catalog, p_detect = found, np.asarray(p_detect, float)
    variance = np.zeros((len(x), len(CHANGED)))
    if doubtful is not None and len(doubtful) and len(x):
        hidden = judge(fit, doubtful)
        chosen = hidden.apart(doubtful)
        new, flux = doubtful.take(chosen), hidden.flux[chosen]
        start, prior = _beginning(scenes, own.unit_magnitude, new.image, new.x, new.y, flux)
        found, is_fitted = fit_with(fit, found, new.image, start, prior)
        p_detect = np.concatenate([p_detect, hidden.probability[chosen]])
        others = np.setdiff1d(np.arange(len(doubtful)), chosen[is_fitted])
        off, variance = hidden.expected(others, found.parameters)
        parameters = found.parameters.copy()
        parameters[:, CHANGED] -= off
        catalog = replace(found, parameters=parameters)
    scale = own.pixel_scale_arcsec
    light = _calibrated(catalog, fit.start, fit.sigma, p_detect, variance, calibration, scale)
    light = light.take(slice(len(x)))
    fits = [(band, fit)]
    for other in range(images.shape[1]):
        if other != band:
            fixed = SourceFit(
                _scenes(images, usable, conditions, other), fit.image, found.parameters, fit.prior
            )
            fixed.run_fluxes()
            fits.append((other, fixed))
    return light, SourceImages(fits, light.failed)


def _beginning(
    scenes: Scenes,
    unit_magnitude: float,
    image: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
) -> tuple[np.ndarray, LightPrior]:
    """Return where the search for sources begins, ``(m, 8)``, and their prior."""
    column, row = (np.floor(np.asarray(place) + 0.5).astype(int) for place in (x, y))
    least_flux = _LEAST_FLUX_SIGMA * scenes.sigma(np.asarray(image, int), column, row)
    scatter = np.full(len(x), PLACE_SCATTER_PIXELS)
    prior = LightPrior(unit_magnitude, scenes.pixel_scale_arcsec, least_flux, scatter)
    start = np.zeros((len(x), N_PARAMETERS))
    start[:, FLUX] = np.maximum(flux, least_flux)
    start[:, X], start[:, Y] = x, y
    start[:, LOG_RADIUS] = prior.log_radius(start[:, FLUX])
    start[:, LOG_INDEX], start[:, BULGE] = np.log(INDEX_MEAN), BULGE_MEAN
    return start, prior


def _held(fit: SourceFit, found: LightFit) -> LightFit:
    """Return a fit in which sources that ran from their places begin again, and are held there."""
    ran = _moves(found.parameters, fit.start) > MAX_SHIFT_PIXELS - 1e-6
    if not ran.any():
        return found
    scatter = np.where(ran, _HELD_SCATTER_PIXELS, PLACE_SCATTER_PIXELS)
    fit.restart(np.flatnonzero(ran), replace(fit.prior, place_scatter_pixels=scatter))
    return fit.run()


def _moves(parameters: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return how far sources moved along an axis at most [pixel]."""
    return np.abs(parameters[:, [X, Y]] - start[:, [X, Y]]).max(axis=1, initial=0)


class SourceImages:
    """The images of fitted sources, in all bands."""

    def __init__(self, fits: list[tuple[int, SourceFit]], failed: np.ndarray) -> None:
        self._fits, self._failed = fits, failed

    def draw(self, where: np.ndarray, target: np.ndarray) -> None:
        """Write the images of sources into an array.

        Args:
            where: Which of an image's sources each is, ``(m,)``.
            target: Electrons, float32 ``(b, sources, bands, H, W)``, zeros at first.
        """
        for band, fit in self._fits:
            for source, (image, rows, columns), pixels in fit.images():
                # Beyond those of the catalog are hidden ones.
                if source < len(self._failed) and not self._failed[source]:
                    # Light is not negative: what the Fourier modes leave beside it is cut off.
                    np.maximum(pixels, 0, out=target[image, where[source], band, rows, columns])


def _scenes(
    images: np.ndarray, usable: np.ndarray, conditions: list[BandConditions], band: int
) -> Scenes:
    own = conditions[band]
    own.check_shape(usable.shape)
    return Scenes(
        images[:, band],
        usable,
        own.background,
        own.psf,
        own.psf_with_pixel,
        own.pixel_scale_arcsec,
    )


def _calibrated(
    found: LightFit,
    start: np.ndarray,
    sigma: np.ndarray,
    p_detect: np.ndarray,
    doubt: np.ndarray,
    calibration: LightCalibration,
    scale_arcsec: float,
) -> Light:
    """Return a fit in the units of the catalog, with errors that hold 68%.

    `doubt` is the variance of flux, column and row for hidden sources, ``(m, 3)``.
    """
    parameters, covariance = found.parameters, found.covariance
    variance = np.einsum("mii->mi", covariance)
    radius = np.exp(parameters[:, LOG_RADIUS])
    floor = calibration.place_floor_radii * radius
    x_err, y_err = (
        np.sqrt(calibration.place_scale**2 * variance[:, axis] + floor**2 + doubt[:, axis])
        for axis in CHANGED[1:]
    )
    flux = parameters[:, FLUX]
    flux_err = np.sqrt(
        calibration.flux_scale**2 * variance[:, FLUX]
        + (calibration.flux_floor * flux) ** 2
        + doubt[:, FLUX]
        + _doubt(found, p_detect)
    )
    known = variance[:, [FLUX, X, Y]]
    failed = (
        ~found.converged
        | ~np.isfinite(parameters).all(axis=1)
        | ~((known > 0) & (known < np.inf)).all(axis=1)
        | (_moves(parameters, start) > MAX_SHIFT_PIXELS - 1e-6)
        | (flux <= sigma)
    )
    return Light(
        parameters[:, X],
        parameters[:, Y],
        x_err,
        y_err,
        flux,
        flux_err,
        radius * scale_arcsec,
        parameters[:, G1],
        parameters[:, G2],
        failed,
    )


def _doubt(found: LightFit, p_detect: np.ndarray) -> np.ndarray:
    """Return the variance of each flux for not knowing which of its neighbours are there.

    Without a neighbour j a flux would be larger by ``-C_ij / C_jj F_j``, with the covariance of
    the fluxes: what a Gaussian says of one value when another is known to be 0. With probability
    p of the neighbour that has the variance ``p (1 - p)`` times the square.
    """
    variance = np.zeros(len(found.parameters))
    for members, covariance in zip(found.groups, found.flux_covariance, strict=True):
        if len(members) > 1:
            flux, p = found.parameters[members, FLUX], p_detect[members]
            own = np.diag(covariance)
            change = covariance / np.where(own > 0, own, 1) * flux
            np.fill_diagonal(change, 0)
            variance[members] = (p * (1 - p) * change**2).sum(axis=1)
    return variance
