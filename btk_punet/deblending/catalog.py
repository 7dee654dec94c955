"""The catalog of a network's detections in one image: positions, probabilities, photometry."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from scipy import ndimage

from btk_punet.deblending.band_conditions import BandConditions
from btk_punet.deblending.base import footprint_flags, sky_arcsec
from btk_punet.deblending.columns import Columns
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.footprints import Footprints
from btk_punet.deblending.instances import Candidates, footprints
from btk_punet.deblending.light.scenes import FITTED_FROM, Light
from btk_punet.deblending.recipe import DetectionRecipe

# Where the fit is farther than this from the network's place in x or y, that place stands: what the
# fit then follows is mostly the structure of a galaxy that no smooth profile has.
LARGEST_MOVE_PIXELS = 1.0
MAGNITUDES_PER_LOG = 2.5 / math.log(10)
_EIGHT_CONNECTED = np.ones((3, 3), int)


def position_errors(candidates: Candidates, recipe: DetectionRecipe) -> list[np.ndarray]:
    """Return the half-widths [pixel] that hold 68% of the true x, and of the true y."""
    variances = (candidates.x_variance, candidates.y_variance)
    return [recipe.position_scale * np.sqrt(v) for v in variances]


@dataclass(frozen=True)
class FootprintLight(Columns):
    """What the pixels of the footprints of an image's detections sum up to.

    Attributes:
        flux: Electrons, a pixel of several sources shared evenly among them, ``(n,)``.
        flux_err: Its standard deviation.
        n_pixels: Number of pixels of each footprint.
        overlap: Largest probability of class 2 in it.
        blend_id: Number of the part that hangs together, 8-connected, to which it belongs.
        flags: Bits of `DetectionFlag`.
    """

    flux: np.ndarray
    flux_err: np.ndarray
    n_pixels: np.ndarray
    overlap: np.ndarray
    blend_id: np.ndarray
    flags: np.ndarray

    @classmethod
    def measure(
        cls,
        footprints: Footprints,
        image: np.ndarray,
        usable: np.ndarray,
        class_probability: np.ndarray,
        variance: float | np.ndarray,
    ) -> FootprintLight:
        """Sum up the light in footprints.

        Args:
            footprints: The pixels of each detection.
            image: The band in which light is measured [electron], ``(H, W)``.
            usable: Which pixels have a value, bool ``(H, W)``.
            class_probability: ``(3, H, W)``.
            variance: Of the band's background [electron^2], one number or ``(H, W)``.
        """
        owner, row, column, n = footprints.owner, footprints.row, footprints.column, footprints.n

        def total(values: np.ndarray) -> np.ndarray:
            # Of no pixels, bincount gives integers.
            return np.bincount(owner, values, n).astype(float)

        light = np.where(usable[row, column], image[row, column], 0.0)
        variance = variance[row, column] if isinstance(variance, np.ndarray) else variance
        owners = footprints.n_owners()
        share = 1 / owners[row, column]
        overlap = np.zeros(n)
        np.maximum.at(overlap, owner, class_probability[2, row, column])
        part, _ = ndimage.label(owners > 0, _EIGHT_CONNECTED)
        blend_id = np.zeros(n, int)
        blend_id[owner] = part[row, column] - 1
        return cls(
            total(share * light),
            np.sqrt(total(share**2 * (variance + np.maximum(light, 0)))),
            footprints.n_pixels(),
            overlap,
            blend_id,
            footprint_flags((owner, row, column), n, usable),
        )


class FootprintsOfImages:
    """Footprints of sources and the light in them; those of each image are kept, once measured.

    Args:
        class_probability: ``(b, 3, H, W)``.
        images: The band in which light is measured [electron], ``(b, H, W)``.
        usable: Which pixels have a value, bool ``(b, H, W)``.
        conditions: How the band was observed.
    """

    def __init__(
        self,
        class_probability: np.ndarray,
        images: np.ndarray,
        usable: np.ndarray,
        conditions: BandConditions,
    ) -> None:
        self._classes, self._images, self._usable = class_probability, images, usable
        self._conditions = conditions
        self._kept: dict[int, tuple[Candidates, Footprints, FootprintLight]] = {}

    def of(self, i: int, found: Candidates) -> tuple[Footprints, FootprintLight]:
        """Return those of some sources of an image, in their order."""
        if i in self._kept:
            before, covered, light = self._kept[i]
            if np.array_equal(before.x, found.x) and np.array_equal(before.y, found.y):
                return covered, light
        classes = self._classes[i]
        covered = footprints(found.x, found.y, classes)
        light = FootprintLight.measure(
            covered, self._images[i], self._usable[i], classes, self._conditions.background_of(i)
        )
        self._kept[i] = found, covered, light
        return covered, light

    def first_flux(self, candidates: Candidates) -> np.ndarray:
        """Return with which flux the fit begins [electron], ``(m,)``; 0 of what it leaves out.

        Args:
            candidates: Of all images, those of an image in a row.
        """
        (probable,) = np.nonzero(candidates.mass >= FITTED_FROM)
        flux = np.zeros(len(candidates))
        for i in np.unique(candidates.image[probable]):
            own = probable[candidates.image[probable] == i]
            flux[own] = self.of(i, candidates.take(own))[1].flux
        return flux


def detection_catalog(
    found: Candidates,
    footprint: FootprintLight,
    light: Light | None,
    recipe: DetectionRecipe,
    band: str,
    unit_magnitude: float,
    wcs: WCS | None,
) -> Table:
    """Return the catalog of one image, as `ProbaUNetDeblender` describes it.

    Args:
        found: Its detections, at the places that the network gives.
        footprint: The light in their footprints.
        light: Their light by the fit; None if there was none.
        recipe: Calibration of the weights.
        band: Name of the band in which light is measured.
        unit_magnitude: AB magnitude of a flux of 1 electron; NaN where it is not known, and all
            magnitudes then are.
        wcs: World coordinates of the image in BTK's convention; None for no ``ra`` and ``dec``.
    """
    nothing = np.full(len(found), np.nan)
    x, y = found.x, found.y
    x_err, y_err = position_errors(found, recipe)
    flux = flux_err = radius = g1 = g2 = nothing
    flags = footprint.flags
    if light is not None:
        failed = light.failed
        own = ~failed & (np.maximum(abs(light.x - x), abs(light.y - y)) <= LARGEST_MOVE_PIXELS)
        x, y = np.where(own, light.x, x), np.where(own, light.y, y)
        x_err, y_err = np.where(own, light.x_err, x_err), np.where(own, light.y_err, y_err)
        flux = np.where(failed, footprint.flux, light.flux)
        flux_err = np.where(failed, footprint.flux_err, light.flux_err)
        radius = np.where(failed, np.nan, light.half_light_radius_arcsec)
        g1, g2 = np.where(failed, np.nan, light.g1), np.where(failed, np.nan, light.g2)
        flags = flags | np.where(failed, int(DetectionFlag.FIT_FAILED), 0)
    sky = {} if wcs is None else dict(zip(("ra", "dec"), sky_arcsec(wcs, x, y), strict=True))
    positive = np.where(flux > 0, flux, np.nan)
    return Table(
        {
            **sky,
            "x_peak": x,
            "y_peak": y,
            "x_err": x_err,
            "y_err": y_err,
            "p_detect": found.mass,
            "p_blend": recipe.p_blend(footprint.overlap),
            "flux": flux,
            "flux_err": flux_err,
            f"mag_{band}": unit_magnitude - 2.5 * np.log10(positive),
            f"mag_err_{band}": MAGNITUDES_PER_LOG * flux_err / positive,
            "flux_iso": footprint.flux,
            "half_light_radius": radius,
            "e1": g1,
            "e2": g2,
            "n_pixels": footprint.n_pixels,
            "blend_id": footprint.blend_id,
            "flags": flags,
        }
    )
