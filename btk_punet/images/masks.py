"""Which pixels of an image can be used, and what is wrong with the others.

A pixel is not usable (BAD_PIXEL) where the image has no finite value or one that can be no light,
where mask or weight say so, where it is saturated or hit by a cosmic ray, and where there are no
data: in blocks of 6 x 6 pixels, and lines of 32, that hold one and the same value. Noise cannot
make those, but borders of mosaics and dead columns are that. (A sky without noise is too: give
images with their noise.) Whatever a pixel's neighbours say about it is within `REACH` pixels, so
no answer depends on the piece of the image that is asked for.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage, sparse

from btk_punet.deblending.base import usable_pixels
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.images.noise_maps import NoiseMap
from btk_punet.images.pixels import Pixels, strips

# How far the pixels lie that decide on one [pixel].
REACH = 48
# Blocks and lines of one value are no data from these sizes on [pixel].
_BLOCK, _LINE = 6, 32
# Zeros this near to a block of zeros belong to it: borders of mosaics are ragged [pixel].
_RAGGED = 4
# Saturated areas are widened by this, for what leaks out of them [pixel].
_SATURATION_MARGIN = 2
# Pixels above this share of the way from sky to saturation, and connected to a saturated one,
# are taken for parts of its bleed trail.
_NEARLY_SATURATED = 0.5
# More than this share of an image cannot be saturated: then the level is wrong.
MOST_SATURATED = 0.2
# Where this share of neighbours beyond blocks and lines is equal, the values are too coarse to
# tell dead pixels from noise (a noise of 0.7 steps).
_COARSE = 0.4


class PixelSet:
    """Some pixels of a large image, few enough to be listed.

    Args:
        index: Their places in the flattened image, in any order, ``(n,)``.
        shape: Rows and columns of the image.
    """

    def __init__(self, index: np.ndarray, shape: tuple[int, int]) -> None:
        self.index = np.unique(np.asarray(index, np.int64))
        self.shape = shape

    def __len__(self) -> int:
        """Return their number."""
        return len(self.index)

    def within(self, rows: slice, columns: slice) -> np.ndarray:
        """Return which pixels of a piece of the image belong to it, bool ``(h, w)``."""
        width = self.shape[1]
        first, last = np.searchsorted(self.index, [rows.start * width, rows.stop * width])
        row, column = np.divmod(self.index[first:last], width)
        inside = (column >= columns.start) & (column < columns.stop)
        found = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        found[row[inside] - rows.start, column[inside] - columns.start] = True
        return found

    def connected_to(self, seeds: PixelSet) -> PixelSet:
        """Return those that hang together (8 neighbours) with one of ``seeds``, part of these."""
        n, width = len(self.index), self.shape[1]
        row, column = np.divmod(self.index, width)
        ones, others = [], []
        for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
            there = (column + right >= 0) & (column + right < width)
            wanted = (row + down)[there] * width + (column + right)[there]
            place = np.minimum(np.searchsorted(self.index, wanted), n - 1)
            is_there = self.index[place] == wanted if n else np.zeros(0, bool)
            ones.append(np.flatnonzero(there)[is_there])
            others.append(place[is_there])
        one, other = np.concatenate(ones), np.concatenate(others)
        graph = sparse.coo_array((np.ones(len(one), bool), (one, other)), shape=(n, n))
        _, label = sparse.csgraph.connected_components(graph, directed=False)
        with_seed = np.unique(label[np.searchsorted(self.index, seeds.index)])
        return PixelSet(self.index[np.isin(label, with_seed)], self.shape)

    def widened(self, margin: int) -> PixelSet:
        """Return these and all pixels within so many rows and columns of them."""
        height, width = self.shape
        row, column = np.divmod(self.index, width)
        steps = np.arange(-margin, margin + 1)
        rows = (row[:, None, None] + steps[:, None]).clip(0, height - 1)
        columns = (column[:, None, None] + steps).clip(0, width - 1)
        return PixelSet((rows * width + columns).ravel(), self.shape)


@dataclasses.dataclass(frozen=True)
class PixelMasks:
    """The values of an image, and what is wrong with each pixel.

    Attributes:
        pixels: The image.
        mask: 0 where a pixel is good; None if there is no mask.
        noise: Given noise, whose unusable pixels are masked; None if there is none.
        background: Given background, likewise.
        find_no_data: Whether blocks and lines of one value are taken for no data.
        saturated: Pixels that are saturated or belong to a bleed trail.
        cosmic_rays: Pixels that a cosmic ray hit.
    """

    pixels: Pixels
    mask: Pixels | None = None
    noise: NoiseMap | None = None
    background: Pixels | None = None
    find_no_data: bool = True
    saturated: PixelSet | None = None
    cosmic_rays: PixelSet | None = None

    def read(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return a piece of the image.

        Args:
            rows: Slice with start and stop within the image.
            columns: The same.

        Returns:
            Values, float64 ``(h, w)``, and bits of `DetectionFlag`, int32 ``(h, w)``.
        """
        wide_rows, inner_rows = _widened(rows, self.pixels.shape[0])
        wide_columns, inner_columns = _widened(columns, self.pixels.shape[1])
        values = self.pixels.read(wide_rows, wide_columns)
        blocks, lines = no_data_areas(values, self.find_no_data)
        inner = (inner_rows, inner_columns)
        values, blocks = values[inner], blocks[inner]
        bad = ~usable_pixels(values) | blocks | lines[inner]
        if self.mask is not None:
            bad |= self.mask.read(rows, columns) != 0  # True for NaN
        if self.noise is not None:
            bad |= np.isnan(self.noise.variance(rows, columns))
        if self.background is not None:
            bad |= ~usable_pixels(self.background.read(rows, columns))
        flags = np.zeros(values.shape, np.int32)
        flags[blocks] |= int(DetectionFlag.EDGE)
        for found, flag in (
            (self.saturated, DetectionFlag.SATURATED),
            (self.cosmic_rays, DetectionFlag.COSMIC_RAY),
        ):
            if found is not None and len(found):
                hit = found.within(rows, columns)
                flags[hit] |= int(flag)
                bad |= hit
        flags[bad] |= int(DetectionFlag.BAD_PIXEL)
        for at_border, line in (
            (rows.start == 0, np.s_[0]),
            (rows.stop == self.pixels.shape[0], np.s_[-1]),
            (columns.start == 0, np.s_[:, 0]),
            (columns.stop == self.pixels.shape[1], np.s_[:, -1]),
        ):
            if at_border:
                flags[line] |= int(DetectionFlag.EDGE)
        return values, flags


def is_usable(flags: np.ndarray) -> np.ndarray:
    """Return which pixels with these flags can be used."""
    return (flags & int(DetectionFlag.BAD_PIXEL)) == 0


def no_data_areas(values: np.ndarray, by_value: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the blocks and the lines that hold no data; see the module.

    Args:
        values: ``(H, W)``.
        by_value: Whether one value everywhere is no data; else only the lack of a usable value is.

    Returns:
        Which pixels belong to a block, and to a line, bool ``(H, W)``.
    """
    missing = ~usable_pixels(values)
    # Whether a pixel is like the one to its right, and like the one below it.
    right, down = np.zeros((2, *values.shape), bool)
    if by_value:
        np.equal(values[:, :-1], values[:, 1:], out=right[:, :-1])
        np.equal(values[:-1], values[1:], out=down[:-1])
    if missing.any():
        right[:, :-1] |= missing[:, :-1] & missing[:, 1:]
        down[:-1] |= missing[:-1] & missing[1:]
    # Whether it is like those to the right, below, and below to the right.
    square = right & down
    square[:-1] &= right[1:]
    square[-1] = False
    block = _opened(square, _BLOCK - 1, (0, 1))
    block[1:] |= block[:-1].copy()
    block[:, 1:] |= block[:, :-1].copy()
    zeros = block & (values == 0)
    if zeros.any():
        block |= _spread_by(zeros, _RAGGED) & (values == 0)
    across = _opened(right, _LINE - 1, (1,))
    across[:, 1:] |= across[:, :-1].copy()
    along = _opened(down, _LINE - 1, (0,))
    along[1:] |= along[:-1].copy()
    return block, across | along


def is_coarse(pixels: Pixels) -> bool:
    """Tell whether the steps of the values are too coarse to tell dead pixels from noise.

    It looks at blocks of 128 pixels all over the image, at most 64.
    """
    n_equal = n_pairs = 0
    for rows in _spread(pixels.shape[0]):
        for columns in _spread(pixels.shape[1]):
            values = pixels.read(rows, columns)
            alive = usable_pixels(values) & ~np.logical_or(*no_data_areas(values))
            pairs = alive[:, 1:] & alive[:, :-1]
            n_pairs += int(pairs.sum())
            n_equal += int((pairs & (values[:, 1:] == values[:, :-1])).sum())
    return n_equal > _COARSE * n_pairs


def usual_value(pixels: Pixels) -> float:
    """Return the median of some blocks of an image; NaN if they hold no usable value."""
    blocks = [
        pixels.read(rows, columns)[::4, ::4].ravel()
        for rows in _spread(pixels.shape[0])
        for columns in _spread(pixels.shape[1])
    ]
    values = np.concatenate(blocks)
    values = values[usable_pixels(values)]
    return float(np.median(values)) if len(values) else np.nan


def saturated_pixels(pixels: Pixels, level: float, sky: float) -> tuple[PixelSet, float]:
    """Return the saturated pixels of an image with their bleed trails.

    Args:
        pixels: The image.
        level: Value from which on a pixel is saturated.
        sky: A usual value of the image.

    Returns:
        The pixels, and the share of the image that reaches the level.
    """
    shape, size = pixels.shape, pixels.shape[0] * pixels.shape[1]
    nearly = sky + _NEARLY_SATURATED * (level - sky)
    seeds, all_of_them, n_full = [], [], 0
    for rows in strips(shape):
        values = pixels.read(rows, slice(0, shape[1])).ravel()
        first = rows.start * shape[1]
        full = np.flatnonzero(values >= level)
        n_full += len(full)
        if n_full > MOST_SATURATED * size:
            return PixelSet(np.zeros(0), shape), n_full / size
        seeds.append(full + first)
        all_of_them.append(np.flatnonzero(values >= nearly) + first)
    seed = PixelSet(np.concatenate(seeds), shape)
    if not len(seed):
        return seed, 0.0
    trails = PixelSet(np.concatenate(all_of_them), shape).connected_to(seed)
    return trails.widened(_SATURATION_MARGIN), n_full / size


def _opened(flags: np.ndarray, size: int, axes: tuple[int, ...]) -> np.ndarray:
    """Return the flags within whole runs (one axis) or squares (two) of an odd size, all set."""
    if not flags.any() or any(flags.shape[axis] < size for axis in axes):
        return np.zeros_like(flags)
    bits = flags.view(np.uint8)
    for kind in (ndimage.minimum_filter1d, ndimage.maximum_filter1d):
        for axis in axes:
            bits = kind(bits, size, axis, mode="constant", cval=0)
    return bits.view(bool)


def _spread_by(flags: np.ndarray, margin: int) -> np.ndarray:
    """Return the flags widened by so many pixels in rows and columns."""
    bits = flags.view(np.uint8)
    for axis in (0, 1):
        bits = ndimage.maximum_filter1d(bits, 2 * margin + 1, axis, mode="constant", cval=0)
    return bits.view(bool)


def _widened(piece: slice, length: int) -> tuple[slice, slice]:
    """Return a slice with `REACH` more at both ends, and the slice within it that is the first."""
    start, stop = max(0, piece.start - REACH), min(length, piece.stop + REACH)
    return slice(start, stop), slice(piece.start - start, piece.stop - start)


def _spread(length: int, size: int = 128, most: int = 8) -> list[slice]:
    """Return at most so many slices of a size, spread over a length."""
    number = min(most, -(-length // size))
    starts = np.linspace(0, max(0, length - size), number).astype(int)
    return [slice(int(start), min(length, int(start) + size)) for start in starts]
