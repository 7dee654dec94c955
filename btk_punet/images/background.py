"""Background and noise of an image, measured on meshes as SExtractor does it.

On each mesh SEP clips what stands out and takes the mode of the rest. The grid of meshes is then
filtered by the median of 3 x 3 and interpolated linearly between their centres, so the value at a
pixel depends on its place alone. One row of meshes is in memory at a time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import sep
from scipy import ndimage

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.images.masks import PixelMasks, is_usable

# Side of a mesh: larger than galaxies, smaller than what the sky varies on.
_MESH_ARCSEC, _MESH_PIXELS = 12.8, (64, 512)
# A mesh is measured where so many of its pixels are usable, and at least so many in number.
_LEAST_SHARE, LEAST_PIXELS = 0.5, 256


@dataclasses.dataclass(frozen=True)
class Meshes:
    """Background and noise at the centres of meshes, NaN nowhere.

    Attributes:
        rows: Rows of the centres, ``(m,)``.
        columns: Columns of the centres, ``(n,)``.
        background: ``(m, n)`` [unit of the image].
        rms: Noise, ``(m, n)``, above 0.
    """

    rows: np.ndarray
    columns: np.ndarray
    background: np.ndarray
    rms: np.ndarray

    def at(self, grid: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return `background` or `rms` at the pixels of a piece of the image, ``(h, w)``."""
        top, down = _between(self.rows, np.arange(rows.start, rows.stop))
        left, right = _between(self.columns, np.arange(columns.start, columns.stop))
        # At the columns first, then down the rows: numbers by numbers, so that the result at a
        # pixel is the same to the last bit whatever the piece.
        wide = (
            grid[:, left] * (1 - right) + grid[:, np.minimum(left + 1, grid.shape[1] - 1)] * right
        )
        below = np.minimum(top + 1, grid.shape[0] - 1)
        return wide[top] * (1 - down)[:, None] + wide[below] * down[:, None]


@dataclasses.dataclass(frozen=True)
class MeshStatistics:
    """What a pass over an image measured.

    Attributes:
        meshes: Background and noise; None if no mesh had enough usable pixels or any noise.
        given_rms: Median of the noise that was given [unit of the image]; NaN if none was.
        n_usable: Number of usable pixels.
        faintest: Least absolute value of a usable pixel; infinity if there is none.
        flag_counts: Number of pixels with each bit of `DetectionFlag`.
    """

    meshes: Meshes | None
    given_rms: float
    n_usable: int
    faintest: float
    flag_counts: dict[int, int]


def mesh_size(pixel_scale_arcsec: float) -> int:
    """Return the side of a mesh [pixel]."""
    low, high = _MESH_PIXELS
    return int(min(max(round(_MESH_ARCSEC / pixel_scale_arcsec), low), high))


def measure_meshes(
    masks: PixelMasks, size: int, see: Callable[..., None] | None = None
) -> MeshStatistics:
    """Measure background and noise of an image on meshes.

    Args:
        masks: The image.
        size: Side of a mesh [pixel], roughly: the meshes are of equal size.
        see: Is shown the arrays of each row of meshes: values, flags, given variance.
    """
    height, width = masks.pixels.shape
    # Of a narrow image the meshes are long.
    row_edges = _edges(height, max(size, 4 * LEAST_PIXELS // width))
    column_edges = _edges(width, max(size, 4 * LEAST_PIXELS // height))
    grids = np.full((3, len(row_edges) - 1, len(column_edges) - 1), np.nan)
    counts = np.zeros(grids.shape[1:], int)
    faintest = math.inf
    flag_counts = dict.fromkeys(map(int, DetectionFlag), 0)
    for i in range(len(row_edges) - 1):
        rows = slice(int(row_edges[i]), int(row_edges[i + 1]))
        values, flags = masks.read(rows, slice(0, width))
        for bit in flag_counts:
            flag_counts[bit] += int(np.count_nonzero(flags & bit))
        usable = is_usable(flags)
        values = np.where(usable, values, 0)
        faintest = min(faintest, float(np.abs(values).min(where=usable, initial=np.inf)))
        if masks.background is not None:
            values[usable] -= masks.background.read(rows, slice(0, width))[usable]
        given = None if masks.noise is None else masks.noise.variance(rows, slice(0, width))
        if see is not None:
            see(values, flags, np.zeros(0) if given is None else given)
        for j in range(len(column_edges) - 1):
            columns = slice(int(column_edges[j]), int(column_edges[j + 1]))
            good = usable[:, columns]
            counts[i, j] = good.sum()
            if counts[i, j] >= LEAST_PIXELS:
                grids[:2, i, j] = _mode_and_rms(values[:, columns], good)
            if given is not None and counts[i, j]:
                grids[2, i, j] = math.sqrt(np.median(given[:, columns][good]))
    well = counts >= _LEAST_SHARE * np.outer(np.diff(row_edges), np.diff(column_edges))
    measured = (grids[1] > 0) & (well if (well & (grids[1] > 0)).any() else True)
    meshes = None
    if measured.any():
        background, rms = (_filtered(grid, measured) for grid in grids[:2])
        meshes = Meshes(_centres(row_edges), _centres(column_edges), background, rms)
    given_rms = float(np.nanmedian(grids[2])) if np.isfinite(grids[2]).any() else math.nan
    return MeshStatistics(meshes, given_rms, int(counts.sum()), faintest, flag_counts)


def _mode_and_rms(values: np.ndarray, good: np.ndarray) -> tuple[float, float]:
    """Return mode and noise of a mesh; noise 0 where all values are the same."""
    used = values[good]
    middle = float(np.median(used))
    spread = 1.4826 * float(np.median(np.abs(used - middle))) or float(used.std())
    if not spread > 0:
        return middle, 0.0
    # SEP counts in single precision: in units of the noise, and without what stands out far.
    scaled = np.clip((values - middle) / spread, -1e4, 1e4).astype(np.float32)
    scaled[~good] = 0
    found = sep.Background(scaled, mask=~good, bw=values.shape[1], bh=values.shape[0], fw=1, fh=1)
    return middle + spread * found.globalback, spread * found.globalrms


def _filtered(grid: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return a grid filled from its nearest measured meshes and filtered by the median."""
    nearest = ndimage.distance_transform_edt(~measured, return_distances=False, return_indices=True)
    return ndimage.median_filter(grid[tuple(nearest)], 3, mode="nearest")


def _edges(length: int, size: int) -> np.ndarray:
    """Return the first pixels of meshes of equal size, and the length."""
    return np.linspace(0, length, max(1, round(length / size)) + 1).round().astype(int)


def _centres(edges: np.ndarray) -> np.ndarray:
    return (edges[:-1] + edges[1:] - 1) / 2


def _between(centres: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each place the centre before it, and how far it is on the way to the next."""
    if len(centres) == 1:
        return np.zeros(len(places), int), np.zeros(len(places))
    before = np.clip(np.searchsorted(centres, places, "right") - 1, 0, len(centres) - 2)
    share = (places - centres[before]) / (centres[before + 1] - centres[before])
    return before, np.clip(share, 0.0, 1.0)
