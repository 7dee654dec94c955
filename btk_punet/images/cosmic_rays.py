"""Cosmic rays by L.A.Cosmic (van Dokkum 2001, arXiv:astro-ph/0108003), as astroscrappy has it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from btk_punet.errors import MissingProgramError
from btk_punet.images.masks import PixelSet

if TYPE_CHECKING:
    from btk_punet.images.sky_image import SkyImage

# An image is searched in blocks that lie where they lie, whatever tile is asked for, each with a
# margin that the filters (7 pixels, four times) do not reach across [pixel].
_BLOCK, _MARGIN = 1024, 32
# Higher than the defaults (4.5 and 5), since Euclid's stars are as sharp as cosmic rays. In a drawn
# field of 1024 x 1024 pixels with 37 stars and 329 galaxies the defaults take 20 stars and 1 galaxy
# for rays, these 2 stars of magnitude 26, and of 200 rays they still find 98%.
_SIGMA, _STAR_LIMIT = 6.0, 20.0


def require_astroscrappy() -> Any:
    """Return the module astroscrappy.

    Raises:
        MissingProgramError: if it is not installed.
    """
    try:
        return importlib.import_module("astroscrappy")
    except ImportError as error:
        raise MissingProgramError(
            "Cosmic rays are found by astroscrappy, which is not installed. Run pip install "
            "'btk_punet[cosmic-rays]', or leave cosmic_rays out."
        ) from error


def find_cosmic_rays(image: SkyImage) -> PixelSet:
    """Return the pixels of an image that a cosmic ray hit.

    Args:
        image: The image, without a search for cosmic rays.

    Raises:
        MissingProgramError: if astroscrappy is not installed.
    """
    astroscrappy = require_astroscrappy()
    height, width = image.shape
    found = [np.zeros(0, np.int64)]
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _BLOCK):
            rows, inner_rows = _block(top, height)
            columns, inner_columns = _block(left, width)
            tile = image.tile(rows, columns)
            # The photon noise of the sources too, where it is known.
            variance = tile.variance + (np.clip(tile.electrons, 0, None) if image.gain_known else 0)
            hit, _ = astroscrappy.detect_cosmics(
                tile.electrons,
                inmask=~tile.usable,
                invar=variance.astype(np.float32),
                gain=1.0,
                readnoise=0.0,
                sigclip=_SIGMA,
                satlevel=np.inf,
                objlim=_STAR_LIMIT,
            )
            row, column = np.nonzero(hit[inner_rows, inner_columns])
            found.append((top + row) * width + left + column)
    return PixelSet(np.concatenate(found), image.shape)


def _block(first: int, length: int) -> tuple[slice, slice]:
    """Return a block with its margins, and the slice within it without them."""
    start, stop = max(0, first - _MARGIN), min(length, first + _BLOCK + _MARGIN)
    return slice(start, stop), slice(first - start, min(first + _BLOCK, length) - start)
