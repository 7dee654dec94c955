"""Data and model of images, from which the fit of sources cuts a patch around each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import galsim
import numpy as np

# Sides of the patches [pixel].
PATCH_SIZES = (24, 32, 48, 64, 96, 128, 192)
# Image, rows and columns of a patch.
Box: TypeAlias = tuple[int, slice, slice]


@dataclass(frozen=True)
class Scenes:
    """Images of one band, as the fit sees them.

    Attributes:
        images: Electrons without background, ``(b, H, W)``.
        usable: Which pixels have a value, bool ``(b, H, W)``.
        background: Variance of a pixel without sources [electron^2], one number or
            ``(b, H, W)``.
        psf: The PSF.
        psf_with_pixel: Whether the PSF holds the pixel already.
        pixel_scale_arcsec: Pixel size [arcsec].
    """

    images: np.ndarray
    usable: np.ndarray
    background: float | np.ndarray
    psf: galsim.GSObject
    psf_with_pixel: bool
    pixel_scale_arcsec: float

    def sigma(self, image: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Return the noise of the background [electron] in some pixels, or those nearest to them.

        Args:
            image: Numbers of the images, ``(m,)``.
            column: Columns; of places outside of the image, the image's edge is taken.
            row: Rows.
        """
        if np.ndim(self.background) == 0:
            return np.full(len(image), np.sqrt(self.background))
        height, width = self.images.shape[1:]
        rows, columns = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
        return np.sqrt(np.asarray(self.background)[image, rows, columns].astype(float))


class Canvas:
    """Data and model of images, with a margin without weight, so that every patch fits."""

    MARGIN = PATCH_SIZES[-1] // 2 + 1

    def __init__(self, scenes: Scenes) -> None:
        margin = ((0, 0), (self.MARGIN, self.MARGIN), (self.MARGIN, self.MARGIN))
        usable = scenes.usable
        data = np.where(usable, scenes.images, 0.0).astype(np.float32)
        self.data = np.pad(data, margin)
        self.usable = np.pad(usable.astype(np.float32), margin)
        self.model = np.zeros(self.data.shape, np.float32)
        background = np.asarray(scenes.background, np.float32)
        # One number stays one, which is faster. In the margin, without weight, any will do but 0.
        self._background = (
            np.pad(background, margin, constant_values=1) if background.ndim else background
        )

    def box(self, image: int, column: int, row: int, size: int) -> Box:
        """Return image, rows and columns of the patch whose pixel ``size // 2`` is a given one."""
        height, width = self.data.shape[1:]
        left = min(max(int(column), 0), width - 2 * self.MARGIN) + self.MARGIN - size // 2
        bottom = min(max(int(row), 0), height - 2 * self.MARGIN) + self.MARGIN - size // 2
        return int(image), slice(bottom, bottom + size), slice(left, left + size)

    def inside(self, box: Box) -> tuple[Box, tuple[slice, slice]]:
        """Return where in the image a patch lies, and what part of the patch that is."""
        image, rows, columns = box
        places, parts = [], []
        for line, length in zip((rows, columns), self.data.shape[1:], strict=True):
            first = max(line.start, self.MARGIN)
            stop = max(min(line.stop, length - self.MARGIN), first)
            places.append(slice(first - self.MARGIN, stop - self.MARGIN))
            parts.append(slice(first - line.start, stop - line.start))
        return (image, places[0], places[1]), (parts[0], parts[1])

    def background(self, box: Box) -> np.ndarray:
        """Return the variance of the pixels of a patch without sources; one number if it is one."""
        return self._background if self._background.ndim == 0 else self._background[box]

    def add(self, box: Box, patch: np.ndarray) -> None:
        """Add a patch to the model."""
        self.model[box] += patch

    def weight_and_residual(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Return inverse variances and data less model of a patch."""
        model = self.model[box]
        weight = self.usable[box] / (self.background(box) + np.maximum(model, 0))
        return weight, self.data[box] - model

    def loss(self, boxes: list[Box]) -> float:
        """Return minus the logarithm of the Poisson likelihood in the pixels of some patches.

        Less what it is without sources, so that pixels without light add nothing.
        """
        image = boxes[0][0]
        rows, columns = (
            slice(min(line.start for line in lines), max(line.stop for line in lines))
            for lines in ([rows for _, rows, _ in boxes], [columns for *_, columns in boxes])
        )
        where = image, rows, columns
        light = np.maximum(self.model[where], 0)
        background = self.background(where)
        log = np.log1p(light / background)
        each = light - (self.data[where] + background) * log
        return float((self.usable[where] * each).sum(dtype=float))


def shared_part(one: Box, other: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the part that two patches share, in the pixels of each; None where there is none."""
    rows, columns = (
        (max(a.start, b.start), min(a.stop, b.stop))
        for a, b in ((one[1], other[1]), (one[2], other[2]))
    )
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        return None
    first, second = (
        (
            slice(rows[0] - box[1].start, rows[1] - box[1].start),
            slice(columns[0] - box[2].start, columns[1] - box[2].start),
        )
        for box in (one, other)
    )
    return first, second
