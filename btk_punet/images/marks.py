"""How sources are marked in pictures and for DS9: colours by probability, squares for flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.figures import PALETTE

if TYPE_CHECKING:
    import numpy.typing as npt

# What is true of all sources of an image alike, and marks none of them.
_OF_THE_IMAGE = DetectionFlag.NOISE_ESTIMATED | DetectionFlag.PSF_UNLIKE_TRAINING
# Smallest radius of a mark [pixel].
_LEAST_RADIUS_PIXELS = 3.0


@dataclass(frozen=True)
class Grade:
    """A range of ``p_detect``.

    Attributes:
        lowest: Its lower end.
        label: In words.
        colour: Colour of its marks.
        ds9: DS9's name for a colour like it.
    """

    lowest: float
    label: str
    colour: str
    ds9: str


# The most probable first.
GRADES = (
    Grade(0.9, "p_detect ≥ 0.9", PALETTE[0], "blue"),
    Grade(0.7, "0.7 to 0.9", PALETTE[2], "green"),
    Grade(0.0, "< 0.7", PALETTE[1], "red"),
)


def grades(p_detect: npt.ArrayLike) -> np.ndarray:
    """Return the index in `GRADES` of each probability, ``(n,)``."""
    p = np.asarray(p_detect, float)
    return np.sum([p < grade.lowest for grade in GRADES], axis=0, dtype=int)


def is_flagged(catalog: Table) -> np.ndarray:
    """Return which sources have a flag of their own, bool ``(n,)``."""
    return np.asarray(catalog["flags"], int) & ~int(_OF_THE_IMAGE) != 0


def radii(catalog: Table) -> np.ndarray:
    """Return the radius of a circle of each footprint's area [pixel], ``(n,)``."""
    area = np.asarray(catalog["n_pixels"], float)
    return np.maximum(np.sqrt(area / np.pi), _LEAST_RADIUS_PIXELS)


def places(catalog: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row of each source [pixel, 0-based]."""
    x, y = (np.asarray(getattr(catalog[n], "value", catalog[n])) for n in ("x_peak", "y_peak"))
    return x.astype(float), y.astype(float)
