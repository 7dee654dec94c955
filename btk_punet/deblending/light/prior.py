"""What is known of a source's size, shape and profile before it is seen: Euclid's population.

Faint sources say little of their size and profile, and their total flux hangs on both. The priors
are Gaussians in the parameters of the fit, as wide as the population.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

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

# Mean of log10(half-light radius / arcsec) at magnitude m, slope * (m - 24) + value: that of the
# skew normal law of the population (`simulation.catalog`); its scatter [dex] a little wider.
RADIUS_SLOPE_DEX, RADIUS_AT_24_DEX, RADIUS_SCATTER_DEX = -0.0997, -0.596, 0.20
# The same where the magnitude is not known: all sizes from a galaxy's of magnitude 20 to one's of
# 27 are within 1.3 of this scatter.
RADIUS_UNKNOWN_DEX, RADIUS_UNKNOWN_SCATTER_DEX = RADIUS_AT_24_DEX, 0.4
# Geometric mean and scatter (of the natural logarithm) of the Sersic index of the disk: that of
# single profiles is 1.2, and a little more makes total fluxes unbiased.
INDEX_MEAN, INDEX_SCATTER = 1.4, 0.45
# Mean and scatter of the share of the light in the bulge: half of the population have none.
BULGE_MEAN, BULGE_SCATTER = 0.22, 0.22
# Scatter of each component of the ellipticity g.
G_SCATTER = 0.25
# How far a centre may lie from where the search began [pixel]; far more than the network's error.
PLACE_SCATTER_PIXELS = 2.0

_MAGNITUDE = 2.5 / math.log(10)


@dataclass(frozen=True)
class LightPrior:
    """Priors of the parameters of a source.

    Attributes:
        zeropoint: Magnitude of a source of one electron in the whole exposure; NaN where it is not
            known. Then a flux says nothing of the size, whose prior is that of all galaxies at
            once: around 0.25 arcsec, twice as wide.
        pixel_scale_arcsec: Pixel size [arcsec].
        least_flux: Of fainter sources than this [electron] the size is that of this flux: what
            they are is noise. One number, or one for each source, ``(m,)``.
        place_scatter_pixels: How far the centre may lie from where the search began [pixel], in
            the same way.
    """

    zeropoint: float
    pixel_scale_arcsec: float
    least_flux: float | np.ndarray
    place_scatter_pixels: float | np.ndarray = PLACE_SCATTER_PIXELS

    def take(self, rows: np.ndarray) -> LightPrior:
        """Return the prior of some of the sources."""
        return replace(
            self,
            **{
                name: np.asarray(getattr(self, name))[rows]
                for name in ("least_flux", "place_scatter_pixels")
                if np.ndim(getattr(self, name))
            },
        )

    def joined(self, other: LightPrior) -> LightPrior:
        """Return the prior of these sources and others, both given one by one."""
        names = ("least_flux", "place_scatter_pixels")
        return replace(
            self, **{n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in names}
        )

    def log_radius(self, flux: np.ndarray) -> np.ndarray:
        """Return the mean logarithm of the half-light radius [pixel] of sources of a flux."""
        if math.isnan(self.zeropoint):
            dex = np.full(np.shape(flux), RADIUS_UNKNOWN_DEX)
        else:
            magnitude = self.zeropoint - _MAGNITUDE * np.log(np.maximum(flux, 1.0))
            dex = RADIUS_SLOPE_DEX * (magnitude - 24) + RADIUS_AT_24_DEX
        return dex * math.log(10) - math.log(self.pixel_scale_arcsec)

    def equations(
        self, parameters: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return minus the prior's logarithm, and the derivatives that a step needs.

        Args:
            parameters: ``(..., 8)``.
            start: Where the search began, ``(..., 8)``.

        Returns:
            Minus the logarithm ``(...)``, minus its gradient ``(..., 8)``, and its second
            derivatives ``(..., 8, 8)``.
        """
        flux = np.maximum(parameters[..., FLUX], self.least_flux)
        gradient = np.zeros(parameters.shape)
        curvature = np.zeros((*parameters.shape, N_PARAMETERS))

        # The mean radius grows with the flux, so that both feel it.
        unknown = math.isnan(self.zeropoint)
        scatter_dex = RADIUS_UNKNOWN_SCATTER_DEX if unknown else RADIUS_SCATTER_DEX
        slope_dex = 0.0 if unknown else RADIUS_SLOPE_DEX
        width = scatter_dex * math.log(10)
        slope = -slope_dex * math.log(10) * _MAGNITUDE / flux / width
        slope = np.where(parameters[..., FLUX] > self.least_flux, slope, 0.0)
        off = (parameters[..., LOG_RADIUS] - self.log_radius(flux)) / width
        loss = 0.5 * off**2
        gradient[..., LOG_RADIUS] = -off / width
        gradient[..., FLUX] = off * slope
        curvature[..., LOG_RADIUS, LOG_RADIUS] = 1 / width**2
        curvature[..., FLUX, FLUX] = slope**2
        curvature[..., FLUX, LOG_RADIUS] = curvature[..., LOG_RADIUS, FLUX] = -slope / width

        for axis, mean, scatter in (
            (G1, 0.0, G_SCATTER),
            (G2, 0.0, G_SCATTER),
            (LOG_INDEX, math.log(INDEX_MEAN), INDEX_SCATTER),
            (BULGE, BULGE_MEAN, BULGE_SCATTER),
            (X, start[..., X], self.place_scatter_pixels),
            (Y, start[..., Y], self.place_scatter_pixels),
        ):
            loss += 0.5 * ((parameters[..., axis] - mean) / scatter) ** 2
            gradient[..., axis] = (mean - parameters[..., axis]) / scatter**2
            curvature[..., axis, axis] = 1 / scatter**2
        return loss, gradient, curvature
