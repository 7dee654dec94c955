"""Place, total flux, size and shape of detections, and each source's image: a fit to the pixels.

The centres come from the network. From there all probable sources of a scene are fitted together,
each as a disk with a bulge seen through the survey's PSF (`fit`), and neighbours share the
light by their profiles. The fit is evidence on each candidate (`evidence`, `hidden`):
with what it says some are fitted that were not, and some no longer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from btk_punet.deblending.band_conditions import BandConditions
from btk_punet.deblending.columns import Columns
from btk_punet.deblending.evidence import Evidence
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.canvas import Scenes
from btk_punet.deblending.light.evidence import chi_squared_excess, fitted_evidence
from btk_punet.deblending.light.fit import MAX_SHIFT_PIXELS, LightFit, SourceFit
from btk_punet.deblending.light.hidden import CHANGED, Hidden, fit_with, judge
from btk_punet.deblending.light.prior import (
    BULGE_MEAN,
    INDEX_MEAN,
    PLACE_SCATTER_PIXELS,
    LightPrior,
)
from btk_punet.deblending.light.profiles import (
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

# Probability from which on a candidate is fitted.
FITTED_FROM = 0.5
# A source of less flux than this [sigma of a pixel] has no size of its own to speak of.
_LEAST_FLUX_SIGMA = 10.0
# How far the centre of a source may lie from the network's that else runs away from it [pixel].
_HELD_SCATTER_PIXELS = 0.3


@dataclass(frozen=True)
class Light(Columns):
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

    def at(self, rows: np.ndarray) -> Light:
        """Return the sources of some rows; those of row -1 have no fit."""
        values = [getattr(self, column.name) for column in fields(self)]
        return Light(*(np.append(v, True if v.dtype == bool else np.nan)[rows] for v in values))


class SceneLight:
    """The light of the sources of some images: fitted, asked for evidence, and fitted again.

    Args:
        images: Electrons without background, ``(b, bands, H, W)``.
        usable: Which pixels have a value, bool ``(b, H, W)``.
        conditions: How each band was observed.
        band: Which band is fitted.

    Raises:
        InputError: The conditions are not those of so many bands, or a background is not of the
            images' shape.
    """

    def __init__(
        self, images: np.ndarray, usable: np.ndarray, conditions: list[BandConditions], band: int
    ) -> None:
        if len(conditions) != images.shape[1]:
            raise InputError(
                f"The images have {images.shape[1]} band(s), and there are conditions of "
                f"{len(conditions)}. Give one for each band, in their order."
            )
        self._images, self._usable = images, usable
        self._conditions, self._band = conditions, band
        self._scenes = _scenes(images, usable, conditions, band)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the images [pixel]."""
        return self._images.shape[2:]

    def judge(self, candidates: Candidates, flux: np.ndarray) -> Evidence:
        """Fit the probable ones of the candidates, and ask the pixels about each of them.

        Args:
            candidates: Where sources may be, those of an image in a row; fitted are those of a
                mass of `FITTED_FROM` or more.
            flux: Of each of these [electron], to begin with, ``(m,)``.

        Returns:
            What the pixels say of each candidate.
        """
        self._candidates = candidates
        is_fitted = candidates.mass >= FITTED_FROM
        # Numbers of the candidates that are the sources of the fit, and of the others.
        (self._sources,), (self._tested,) = np.nonzero(is_fitted), np.nonzero(~is_fitted)
        first = candidates.take(self._sources)
        self._fit = SourceFit(self._scenes, first.image, *self._beginning(first, flux))
        self._found = _held(self._fit, self._fit.run())
        self._hidden = judge(self._fit, candidates.take(self._tested))
        gain, share, move = np.zeros((3, len(candidates)))
        gain[self._tested], share[self._tested] = self._hidden.gain, self._hidden.share
        excess = chi_squared_excess(self._fit.canvas, candidates.image, candidates.x, candidates.y)
        excess[self._tested] -= self._hidden.gain**2
        own = fitted_evidence(self._fit)
        gain[self._sources], share[self._sources], move[self._sources] = own
        return Evidence(is_fitted, gain, share, move, np.maximum(excess, 0))

    def measure(
        self, p_detect: np.ndarray, called: np.ndarray, calibration: LightCalibration
    ) -> tuple[Light, SourceImages]:
        """Fit what now is probable, and return the light of the sources that are called.

        Once, after `judge`. A candidate that is neither called nor probable is not fitted: what it
        would change in the others is taken off in proportion to its probability, and widens their
        errors.

        Args:
            p_detect: Probability of each candidate, with the evidence, ``(k,)``.
            called: Numbers of those that are called, ``(m,)``.
            calibration: Of the errors.

        Returns:
            What is known of each source that is called, and their images.
        """
        wanted = p_detect >= FITTED_FROM
        wanted[called] = True
        hidden, tested = self._without(~wanted)
        doubtful, p_tested = self._candidates.take(tested), p_detect[tested]
        chosen = hidden.apart(doubtful, p_tested, wanted[tested])
        new = doubtful.take(chosen)
        start, prior = self._beginning(new, hidden.flux[chosen])
        found, is_fitted = fit_with(self._fit, self._found, new.image, start, prior)
        self._sources = np.concatenate([self._sources, tested[chosen]])
        others = np.setdiff1d(np.arange(len(tested)), chosen[is_fitted])
        off, variance = hidden.expected(others, p_tested, found.parameters)
        parameters = found.parameters.copy()
        parameters[:, CHANGED] -= off
        own = self._conditions[self._band]
        light = _calibrated(
            replace(found, parameters=parameters),
            self._fit.start,
            self._fit.sigma,
            p_detect[self._sources],
            variance,
            calibration,
            own.pixel_scale_arcsec,
        )
        row = np.full(len(self._candidates), -1)
        row[self._sources] = np.arange(len(self._sources))
        light = light.at(row[called])
        place = np.full(len(self._sources), -1)
        is_there = ~light.failed
        place[row[called][is_there]] = np.flatnonzero(is_there)
        return light, SourceImages(self._of_bands(found), place)

    def _without(self, gone: np.ndarray) -> tuple[Hidden, np.ndarray]:
        """Take candidates out of the fit; return what it says of those outside, and which.

        Args:
            gone: Which candidates are not to be fitted, bool ``(k,)``.
        """
        (rows,) = np.nonzero(gone[self._sources])
        if not len(rows):
            return self._hidden, self._tested
        removed = self._sources[rows]
        number = self._fit.remove(rows)
        self._sources = np.delete(self._sources, rows)
        self._found = self._fit.run()
        again = judge(self._fit, self._candidates.take(removed))
        tested = np.concatenate([self._tested, removed])
        return self._hidden.renumbered(number).joined(again), tested

    def _beginning(self, some: Candidates, flux: np.ndarray) -> tuple[np.ndarray, LightPrior]:
        """Return where the search for sources begins, ``(m, 8)``, and their prior."""
        scenes = self._scenes
        column, row = (np.floor(place + 0.5).astype(int) for place in (some.x, some.y))
        least_flux = _LEAST_FLUX_SIGMA * scenes.sigma(some.image, column, row)
        prior = LightPrior(
            self._conditions[self._band].unit_magnitude,
            scenes.pixel_scale_arcsec,
            least_flux,
            np.full(len(some), PLACE_SCATTER_PIXELS),
        )
        start = np.zeros((len(some), N_PARAMETERS))
        start[:, FLUX] = np.maximum(flux, least_flux)
        start[:, X], start[:, Y] = some.x, some.y
        start[:, LOG_RADIUS] = prior.log_radius(start[:, FLUX])
        start[:, LOG_INDEX], start[:, BULGE] = np.log(INDEX_MEAN), BULGE_MEAN
        return start, prior

    def _of_bands(self, found: LightFit) -> list[tuple[int, SourceFit]]:
        """Return the fit of each band: in the others that of the fluxes alone."""
        fits = [(self._band, self._fit)]
        for other in range(self._images.shape[1]):
            if other != self._band:
                scenes = _scenes(self._images, self._usable, self._conditions, other)
                fixed = SourceFit(scenes, self._fit.image, found.parameters, self._fit.prior)
                fixed.run_fluxes()
                fits.append((other, fixed))
        return fits


def measure_light(
    images: np.ndarray,
    usable: np.ndarray,
    conditions: list[BandConditions],
    band: int,
    sources: Candidates,
    flux: np.ndarray,
    calibration: LightCalibration,
) -> tuple[Light, SourceImages]:
    """Fit the light of some sources, as if there were no others.

    Args:
        images: As `SceneLight` takes them.
        usable: The same.
        conditions: The same.
        band: The same.
        sources: Where they are, with the probabilities that they are there.
        flux: Of each [electron], to begin with, ``(m,)``.
        calibration: Of the errors.

    Returns:
        What is known of each source, and their images.

    Raises:
        InputError: as `SceneLight`.
    """
    light = SceneLight(images, usable, conditions, band)
    light.judge(replace(sources, mass=np.ones(len(sources))), flux)
    return light.measure(sources.mass, np.arange(len(sources)), calibration)


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
    """The images of fitted sources, in all bands.

    Args:
        fits: Of each band, with its number.
        place: Which of the sources that are called each one is, -1 of those that are not.
    """

    def __init__(self, fits: list[tuple[int, SourceFit]], place: np.ndarray) -> None:
        self._fits, self._place = fits, place

    def draw(self, where: np.ndarray, target: np.ndarray) -> None:
        """Write the images of sources into an array.

        Args:
            where: Which of an image's sources each one that is called is, ``(m,)``.
            target: Electrons, float32 ``(b, sources, bands, H, W)``, zeros at first.
        """
        for band, fit in self._fits:
            for source, (image, rows, columns), pixels in fit.images():
                if self._place[source] >= 0:
                    one = where[self._place[source]]
                    # Light is not negative: what the Fourier modes leave beside it is cut off.
                    np.maximum(pixels, 0, out=target[image, one, band, rows, columns])


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
