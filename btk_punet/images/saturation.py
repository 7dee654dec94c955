"""Saturated stars: each is one source, whatever a network makes of its ring and its spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from btk_punet.deblending.instances import Candidates, nearest_pixels
from btk_punet.images.tiles import Box

if TYPE_CHECKING:
    from btk_punet.images.sky_image import SkyImage

# A candidate is the star's own light unless the pixels around it hold so many times what the PSF
# has there at most: stars differ from the PSF that is known.
BRIGHTER_THAN_STAR = 3.0
# On a saturated pixel, or beside one, nothing can be told from the star [pixel].
MERGED_PIXELS = 1.5
# How far the light of a star is followed, and the width of the ring around the saturated pixels in
# which its flux is measured [pixel].
REACH_PIXELS, RING_PIXELS = 160, 12
_EIGHT_NEIGHBOURS_PIXELS = 1.5


@dataclass(frozen=True)
class SaturatedStars:
    """The saturated regions of an image, each taken for a star.

    Attributes:
        x: Column of the middle of each region's widest part [pixel], ``(n,)``: the star, where a
            bleed trail hangs on it.
        y: Row.
        radius: How far the border of the region is from there [pixel].
        flux: Of the star, by what is left of its light [electron]; 0 where nothing is.
        flux_err: Half-width that holds 68% of the pixels' estimates of it.
        pixels: Column and row of all saturated pixels, ``(p, 2)``.
        region: The region of each of them, ``(p,)``.
        psf: The PSF on pixels, its middle in the middle one; ``(0, 0)`` without regions.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    pixels: np.ndarray
    region: np.ndarray
    psf: np.ndarray

    @classmethod
    def of_pixels(cls, row: np.ndarray, column: np.ndarray, image: SkyImage) -> SaturatedStars:
        """Gather saturated pixels, each given once, into 8-connected regions, and measure them."""
        pixels = np.stack([column, row], axis=1).astype(float).reshape(-1, 2)
        number, region = _regions(pixels)
        x, y, radius, flux, flux_err = (np.zeros(number) for _ in range(5))
        psf = _psf_pixels(image) if number else np.zeros((0, 0))
        for i, members in enumerate(_members(region, number)):
            x[i], y[i], radius[i] = _middle(pixels[members])
            flux[i], flux_err[i] = _star_flux(image, psf, x[i], y[i], radius[i])
        return cls(x, y, radius, flux, flux_err, pixels, region, psf)

    def merged(
        self, candidates: Candidates, electrons: np.ndarray, window: Box
    ) -> tuple[Candidates, np.ndarray]:
        """Make one candidate, at the star, of all that are a star's own light.

        It is as probable as the most probable of them. Where there is none, there is no source: a
        saturated pixel alone is a fault of the detector.

        Args:
            candidates: Of a window of the image, in its pixels. Those that belong to a star
                outside of it are left out: they are another window's.
            electrons: The image in the window.
            window: Its rows and columns.

        Returns:
            The candidates, and which star each is, -1 for none.
        """
        if not len(self.x) or not len(candidates):
            return candidates, np.full(len(candidates), -1)
        star = self._star_of(candidates, electrons, window)
        keep = np.flatnonzero(star < 0)
        parts, stars = [candidates.take(keep)], [star[keep]]
        top, left = window[0].start, window[1].start
        for i in np.unique(star[star >= 0]):
            members = np.flatnonzero(star == i)
            column, row = self.x[[i]] - left, self.y[[i]] - top
            height, width = electrons.shape
            if not (-0.5 <= row[0] < height - 0.5 and -0.5 <= column[0] < width - 0.5):
                continue
            spread = np.array([max(self.radius[i] / 3, 0.5) ** 2])
            mass = candidates.mass[members].max(keepdims=True)
            image = candidates.image[members[:1]]
            parts.append(Candidates(image, column, row, spread, spread, mass))
            stars.append(np.array([i]))
        joined, star = Candidates.joined(parts), np.concatenate(stars)
        order = np.argsort(-joined.mass, kind="stable")
        return joined.take(order), star[order]

    def _star_of(self, candidates: Candidates, electrons: np.ndarray, window: Box) -> np.ndarray:
        """Return the star whose light each candidate is, -1 for none."""
        top, left = window[0].start, window[1].start
        places = np.stack([candidates.x + left, candidates.y + top], axis=1)
        _, nearest = KDTree(self.pixels).query(places, distance_upper_bound=MERGED_PIXELS)
        star = np.append(self.region, -1)[nearest]
        row, column = nearest_pixels(candidates.x, candidates.y, electrons.shape)
        light = ndimage.uniform_filter(electrons.astype(float), 3, mode="nearest")[row, column]
        tree = KDTree(places)
        middle = len(self.psf) // 2
        # The middle of a star is known to a pixel or so, and its speckles are no wider.
        glare = ndimage.grey_dilation(np.maximum(self.psf, 0), (3, 3))
        for i in np.flatnonzero(self.flux > 0):
            near = np.array(tree.query_ball_point((self.x[i], self.y[i]), middle - 1), int)
            down = row[near] + top - int(np.floor(self.y[i] + 0.5))
            right = column[near] + left - int(np.floor(self.x[i] + 0.5))
            own = self.flux[i] * glare[middle + down, middle + right]
            star[near[light[near] < BRIGHTER_THAN_STAR * own]] = i
        return star


def _regions(pixels: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the number of 8-connected regions, and that of each pixel."""
    n = len(pixels)
    if not n:
        return 0, np.zeros(0, int)
    pairs = KDTree(pixels).query_pairs(_EIGHT_NEIGHBOURS_PIXELS, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(n, n))
    number, region = connected_components(graph, directed=False)
    return int(number), region.astype(int)


def _members(region: np.ndarray, number: int) -> list[np.ndarray]:
    """Return the pixels of each region."""
    ends = np.cumsum(np.bincount(region, minlength=number))
    return np.split(np.argsort(region, kind="stable"), ends[:-1]) if number else []


def _middle(pixels: np.ndarray) -> tuple[float, float, float]:
    """Return column and row of the middle of a region's widest part, and how wide it is there."""
    first = pixels.min(axis=0).astype(int) - 1
    size = pixels.max(axis=0).astype(int) + 2 - first
    mask = np.zeros(size[::-1], bool)
    column, row = (pixels.astype(int) - first).T
    mask[row, column] = True
    depth = ndimage.distance_transform_edt(mask)
    rows, columns = np.nonzero(depth > 0.7 * depth.max())
    return columns.mean() + first[0], rows.mean() + first[1], float(depth.max())


def _psf_pixels(image: SkyImage) -> np.ndarray:
    """Return the PSF on pixels, as far as the light of a star is followed."""
    size = 2 * REACH_PIXELS + 1
    method = "no_pixel" if image.psf_with_pixel else "auto"
    drawn = image.psf.drawImage(
        nx=size, ny=size, scale=image.pixel_scale_arcsec, method=method, dtype=float
    )
    return drawn.array


def _star_flux(
    image: SkyImage, psf: np.ndarray, x: float, y: float, radius: float
) -> tuple[float, float]:
    """Return the flux of a star and its error, by the light around what is saturated."""
    reach = min(int(radius) + RING_PIXELS, REACH_PIXELS)
    middle = REACH_PIXELS
    row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
    rows, columns = (
        slice(max(place - reach, 0), min(place + reach + 1, length))
        for place, length in zip((row, column), image.shape, strict=True)
    )
    tile = image.tile(rows, columns)
    top, left = middle - row, middle - column
    model = psf[rows.start + top : rows.stop + top, columns.start + left : columns.stop + left]
    some = tile.usable & (model > 0)
    if not some.any():
        return 0.0, 0.0
    ratio, weight = tile.electrons[some] / model[some], model[some]
    # The weighted median, which a few neighbours do not move.
    order = np.argsort(ratio)
    total = np.cumsum(weight[order])
    ends = np.searchsorted(total, np.array([0.16, 0.5, 0.84]) * total[-1])
    low, flux, high = ratio[order][ends]
    return max(float(flux), 0.0), float(0.5 * (high - low))
