"""Saturated stars: each is one source, whatever a network makes of the ring that is left of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from btk_punet.deblending.instances import Candidates
from btk_punet.images.tiles import Box

# Around the saturated core, in units of its radius and in pixels, there is no other source to be
# told from the star's own light.
MERGED_RADII, MERGED_PIXELS = 1.5, 4.0
_EIGHT_NEIGHBOURS_PIXELS = 1.5


@dataclass(frozen=True)
class SaturatedRegions:
    """The saturated regions of an image.

    Attributes:
        x: Column of the middle of each region's widest part [pixel], ``(n,)``: the star, where a
            bleed trail hangs on it.
        y: Row.
        radius: How far the border of the region is from there [pixel].
        pixels: Column and row of all saturated pixels, ``(p, 2)``.
        region: The region of each of them, ``(p,)``.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    pixels: np.ndarray
    region: np.ndarray

    @classmethod
    def of_pixels(cls, row: np.ndarray, column: np.ndarray) -> SaturatedRegions:
        """Gather saturated pixels, each given once, into 8-connected regions."""
        pixels = np.stack([column, row], axis=1).astype(float).reshape(-1, 2)
        n = len(pixels)
        pairs = KDTree(pixels).query_pairs(_EIGHT_NEIGHBOURS_PIXELS, output_type="ndarray")
        graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(n, n))
        number, region = connected_components(graph, directed=False) if n else (0, np.zeros(0, int))
        x, y, radius = (np.zeros(number) for _ in range(3))
        order = np.argsort(region, kind="stable")
        ends = np.cumsum(np.bincount(region, minlength=number))
        for i, members in enumerate(np.split(order, ends[:-1]) if number else ()):
            first = pixels[members].min(axis=0).astype(int) - 1
            size = pixels[members].max(axis=0).astype(int) + 2 - first
            mask = np.zeros(size[::-1], bool)
            across, up = (pixels[members].astype(int) - first).T
            mask[up, across] = True
            depth = ndimage.distance_transform_edt(mask)
            widest_row, widest_column = np.nonzero(depth > 0.7 * depth.max())
            x[i], y[i] = widest_column.mean() + first[0], widest_row.mean() + first[1]
            radius[i] = depth.max()
        return cls(x, y, radius, pixels, region)

    def merged(self, candidates: Candidates, window: Box) -> Candidates:
        """Return candidates of which those in and around each region are one, at its middle.

        It is as probable as the most probable of them. Where there is none, there is no source: a
        saturated pixel alone is a fault of the detector.

        Args:
            candidates: Of a window of the image, in its pixels. Those that belong to a region
                whose middle lies outside of it are left out: they are another window's.
            window: Its rows and columns.
        """
        if not len(self.x) or not len(candidates):
            return candidates
        top, left = window[0].start, window[1].start
        places = np.stack([candidates.x + left, candidates.y + top], axis=1)
        # Those on or beside a saturated pixel, and those in the glare of a region's middle.
        distance, nearest = KDTree(self.pixels).query(places, distance_upper_bound=MERGED_PIXELS)
        region = np.append(self.region, -1)[nearest]
        middles = np.stack([self.x, self.y], axis=1)
        reach = MERGED_RADII * self.radius + MERGED_PIXELS
        for i, near in enumerate(KDTree(places).query_ball_point(middles, reach)):
            region[near] = i
        keep = np.flatnonzero(region < 0)
        parts = [candidates.take(keep)]
        for i in np.unique(region[region >= 0]):
            members = np.flatnonzero(region == i)
            column, row = np.floor(self.x[i] + 0.5), np.floor(self.y[i] + 0.5)
            if not (
                window[0].start <= row < window[0].stop
                and window[1].start <= column < window[1].stop
            ):
                continue
            spread = np.array([max(self.radius[i] / 3, 0.5) ** 2])
            parts.append(
                Candidates(
                    candidates.image[members[:1]],
                    self.x[[i]] - left,
                    self.y[[i]] - top,
                    spread,
                    spread,
                    candidates.mass[members].max(keepdims=True),
                )
            )
        joined = Candidates.joined(parts)
        return joined.take(np.argsort(-joined.mass, kind="stable"))
