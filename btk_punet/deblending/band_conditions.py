"""What the measurement of light needs to know of one band: PSF, pixel, noise, zero point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import galsim
import numpy as np

from btk_punet.errors import InputError


@dataclass(frozen=True)
class BandConditions:
    """How one band of some images was observed.

    Attributes:
        psf: The PSF, any GalSim object of flux 1, in arcsec.
        psf_with_pixel: Whether ``psf`` holds the pixel already, as one cut from an image does.
        pixel_scale_arcsec: Pixel size [arcsec].
        background: Variance of a pixel without sources [electron^2]: one number, or one for each
            pixel, ``(b, H, W)``. Where a pixel is not usable give what its surroundings have.
        unit_magnitude: AB magnitude of a flux of 1 electron; NaN where it is not known: then
            there are no magnitudes, and the prior on sizes is a broad one (see `LightPrior`).

    Raises:
        InputError: The background is not positive and finite everywhere, the pixel size not
            positive, or the magnitude infinite.
    """

    psf: galsim.GSObject
    psf_with_pixel: bool
    pixel_scale_arcsec: float
    background: float | np.ndarray
    unit_magnitude: float

    def __post_init__(self) -> None:
        background = np.asarray(self.background)
        if background.ndim not in (0, 3):
            raise InputError(
                "background must be one number, or an array of the shape (images, H, W), got the "
                f"shape {background.shape}. Give a map of one image an axis in front."
            )
        bad = ~((background > 0) & (background < np.inf))
        if bad.any():
            raise InputError(
                "background must be the variance of each pixel [electron^2], positive and "
                f"finite, got {background[bad][0]:g} (in {bad.sum()} of {bad.size} values). Mark "
                "pixels without a variance as not usable, and give them that of their "
                "surroundings."
            )
        if not 0 < self.pixel_scale_arcsec < math.inf:
            raise InputError(
                "pixel_scale_arcsec must be positive and finite, got "
                f"{self.pixel_scale_arcsec!r}. Euclid's is 0.1."
            )
        if math.isinf(self.unit_magnitude):
            raise InputError(
                f"unit_magnitude must be finite, or NaN where it is not known, got "
                f"{self.unit_magnitude!r}. It is the AB magnitude of a flux of 1 electron."
            )

    def background_of(self, image: int) -> float | np.ndarray:
        """Return the variance in one image: one number, or one for each pixel, ``(H, W)``."""
        return (
            self.background[image] if isinstance(self.background, np.ndarray) else self.background
        )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise InputError unless the background fits images of a shape ``(b, H, W)``."""
        if np.ndim(self.background) and np.shape(self.background) != shape:
            raise InputError(
                f"The background has the shape {np.shape(self.background)}, and the images have "
                f"{shape}. Give one number, or one for each pixel."
            )
