"""The noise of an image as it may be given: standard deviation, variance, or weight."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from btk_punet.images.pixels import Pixels


@dataclasses.dataclass(frozen=True)
class NoiseMap:
    """The noise of the background of each pixel.

    Attributes:
        kind: Whether the values are standard deviations [unit of the image], their squares, or
            weights, the inverse of the squares.
        pixels: The values. What is not finite or not above 0 marks a pixel that cannot be used;
            so does an infinite standard deviation.
    """

    kind: Literal["rms", "variance", "weight"]
    pixels: Pixels

    def variance(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the variance of a piece, float64 ``(h, w)``; NaN where a pixel has none."""
        values = self.pixels.read(rows, columns)
        values[~((values > 0) & (values < np.inf))] = np.nan
        with np.errstate(over="ignore", under="ignore"):
            if self.kind == "rms":
                values = values**2
            elif self.kind == "weight":
                values = 1 / values
        values[~((values > 0) & (values < np.inf))] = np.nan
        return values
