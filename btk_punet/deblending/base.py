"""What the deblenders of this package share: name, checks, warnings, sky positions, flags."""

import inspect
import numbers
import warnings
from typing import Any

import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender
from scipy import ndimage

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError

# Electrons. Larger values are no light, and their sums leave single precision.
LARGEST_PIXEL_ELECTRONS = 1e25
_EIGHT_CONNECTED = np.ones((3, 3), bool)


class DetectingDeblender(Deblender):
    """Base of the deblenders of this package.

    A subclass stores its arguments under their names, and says which detections it keeps of too
    many (`KEPT`) and which argument makes them fewer (`FEWER_BY`).
    """

    KEPT = "brightest"
    FEWER_BY = "thresh"

    def __repr__(self) -> str:
        """Return the class and the parameters that differ from their defaults.

        BTK's DeblendGenerator names its results by this, so that two settings stay apart.
        """
        parameters = inspect.signature(type(self)).parameters.values()
        shown = [
            f"{p.name}={getattr(self, p.name)!r}"
            for p in parameters
            if p.default is p.empty or getattr(self, p.name) != p.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _check_batch(self, blend_batch: object) -> None:
        if not isinstance(blend_batch, BlendBatch):
            raise InputTypeError(
                f"{type(self).__name__} needs a btk BlendBatch, got {type(blend_batch).__name__}. "
                "Of a MultiResolutionBlendBatch, pass the batch of one survey."
            )

    def _warn_if_truncated(self, counts: list[int]) -> None:
        """Give one warning if any image held too many detections."""
        n_truncated = sum(count > self.max_n_sources for count in counts)
        if n_truncated:
            warnings.warn(
                f"{n_truncated} of {len(counts)} images hold more detections than max_n_sources="
                f"{self.max_n_sources} (up to {max(counts)}): {self!r} kept the {self.KEPT} and "
                f"set the flag TRUNCATED. Raise max_n_sources, or raise {self.FEWER_BY}.",
                BtkPunetWarning,
                stacklevel=4,  # the caller of batch_call
            )


def check_integer(name: str, value: object, lowest: int) -> None:
    """Raise InputError unless ``value`` is an integer of at least ``lowest``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < lowest:
        raise InputError(
            f"{name} must be an integer of at least {lowest}, got {value!r}. Pass for instance "
            f"{name}={lowest}."
        )


def usable_pixels(images: np.ndarray) -> np.ndarray:
    """Return where an image has a value that can be light: not NaN, infinite or beyond 1e25."""
    return np.abs(images) < LARGEST_PIXEL_ELECTRONS  # False for NaN too


def sky_arcsec(wcs: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return BTK's ra and dec [arcsec] of pixel positions; ra is not wrapped at 360 degrees."""
    ra, dec = (np.asarray(angle) for angle in wcs.pixel_to_world_values(x, y))
    return 3600 * (ra - 360 * (ra > 180)), 3600 * dec


def unwrapped_arcsec(ra: np.ndarray) -> np.ndarray:
    """Return right ascensions [arcsec] about 0: BTK's SEP wraps negative ones at 360 degrees."""
    ra = np.asarray(ra, float)
    return ra - 1_296_000.0 * np.round(ra / 1_296_000.0)


def catalog_positions(catalog: Table, wcs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows [pixel] of a catalog of any deblender, BTK's or ours.

    They come from ``x_peak`` and ``y_peak``, or from ``ra`` and ``dec`` where it has no others.
    """
    if "x_peak" in catalog.colnames:
        return np.asarray(catalog["x_peak"], float), np.asarray(catalog["y_peak"], float)
    ra, dec = unwrapped_arcsec(catalog["ra"]), np.asarray(catalog["dec"], float)
    return wcs.world_to_pixel_values(ra / 3600, dec / 3600)


def footprint_flags(
    pixels: tuple[np.ndarray, ...], n_footprints: int, usable: np.ndarray
) -> np.ndarray:
    """Return the flags BAD_PIXEL and EDGE of footprints.

    Args:
        pixels: ``np.nonzero`` of the footprints ``(n, H, W)``: pixel by pixel, since arrays of all
            detections by the image would fill the memory for a large field.
        n_footprints: Number ``n``.
        usable: Which pixels have a value, bool ``(H, W)``.

    Returns:
        Integers ``(n,)``, bits of `DetectionFlag`.
    """
    border = np.ones(usable.shape, bool)
    border[1:-1, 1:-1] = False
    near_bad = ndimage.binary_dilation(~usable, _EIGHT_CONNECTED)
    owner, row, column = pixels
    flags = np.zeros(n_footprints, int)
    for where, flag in ((near_bad, DetectionFlag.BAD_PIXEL), (border, DetectionFlag.EDGE)):
        flags[np.unique(owner[where[row, column]])] |= int(flag)
    return flags
