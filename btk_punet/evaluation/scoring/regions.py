"""Connected true regions of a scene, and which detections are inside.

A *region* is a group of sources that hang together by footprints with pixels in common. Its
sources are those that can be matched (``alone_snr > 2``); fainter ones are left out. A footprint
is that of the labels (see `btk_punet.simulation.labels`), in the reference band; a source without
a pixel above the threshold has the pixel of its centre, so that it is part of the region it is on.

A detection is *inside* a region if it is matched to one of its sources; or else if it is on one of
its pixels; or else if it is within the matching radius of one of its sources (of the nearest, if
these are of several regions). It is inside one region at most.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from btk_punet.evaluation.scoring.maps import source_footprints
from btk_punet.evaluation.scoring.scenes import nearest_distance
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import reference_band


@dataclass(frozen=True)
class SceneRegions:
    """The connected true regions of a scene, numbered in the order of their first sources.

    Attributes:
        x: Column of each source [pixel], shape (n,).
        y: Row of each source [pixel].
        of_source: Region of each source, shape (n,); -1 for one that is left out.
        of_pixel: Region that covers each pixel, shape (H, W); -1 for none.
        footprints: Pixels of each source, booleans of shape (n, H, W).
    """

    x: np.ndarray
    y: np.ndarray
    of_source: np.ndarray
    of_pixel: np.ndarray
    footprints: np.ndarray

    @classmethod
    def of_scene(
        cls, blend_batch: BlendBatch, scene: int, truth: pd.DataFrame, k: float = 1.0
    ) -> "SceneRegions":
        """Return the regions of a scene of a batch.

        Args:
            blend_batch: The scenes.
            scene: Number of the scene in the batch.
            truth: What `scene_truth` says of each source, n rows.
            k: A pixel belongs to a source above this [sigma of the background].
        """
        x, y = truth["x"].to_numpy(float), truth["y"].to_numpy(float)
        footprints = source_footprints(blend_batch, scene, reference_band(blend_batch.survey), k)
        matchable = truth["alone_snr"].to_numpy(float) > NEIGHBOUR_SNR
        footprints[~matchable] = False
        row, column, on_image = _nearest_pixels(x, y, footprints.shape[1:])
        dark = np.flatnonzero(matchable & on_image & ~footprints.any(axis=(1, 2)))
        footprints[dark, row[dark], column[dark]] = True
        of_source = np.full(len(x), -1)
        of_source[matchable], of_pixel = connected_regions(footprints[matchable])
        return cls(x, y, of_source, of_pixel, footprints)

    def __len__(self) -> int:
        return int(self.of_source.max(initial=-1)) + 1

    def table(self, truth: pd.DataFrame, pixel_scale_arcsec: float) -> pd.DataFrame:
        """Return what is true of each region, one row each.

        Args:
            truth: What `scene_truth` says of each source, n rows.
            pixel_scale_arcsec: Pixel size [arcsec].

        Returns:
            Columns ``region``, ``n`` (number of sources), ``x``, ``y`` (mean position [pixel]),
            ``neighbour_distance_arcsec`` (between the closest two of its sources),
            ``magnitude_difference`` (between its brightest two), ``limit_snr`` (of the hardest,
            the least) and ``in_bounds`` (all of its sources are). Of one source, distance and
            difference are infinite.
        """
        magnitude, limit = (truth[name].to_numpy(float) for name in ("magnitude", "limit_snr"))
        in_bounds = truth["in_bounds"].to_numpy(bool)
        members = [np.flatnonzero(self.of_source == number) for number in range(len(self))]
        columns = {
            "n": (int, [len(m) for m in members]),
            "x": (float, [self.x[m].mean() for m in members]),
            "y": (float, [self.y[m].mean() for m in members]),
            "neighbour_distance_arcsec": (
                float,
                [pixel_scale_arcsec * _closest(self.x[m], self.y[m]) for m in members],
            ),
            "magnitude_difference": (float, [_difference(magnitude[m]) for m in members]),
            "limit_snr": (float, [limit[m].min() for m in members]),
            "in_bounds": (bool, [in_bounds[m].all() for m in members]),
        }
        table = pd.DataFrame({"region": np.arange(len(self))})
        return table.assign(**{name: np.array(of, kind) for name, (kind, of) in columns.items()})

    def inside(
        self, x: np.ndarray, y: np.ndarray, matched_to: np.ndarray, radius_pixels: float
    ) -> np.ndarray:
        """Return in which region each detection is, -1 for none.

        Args:
            x: Columns of the detections [pixel], shape (m,).
            y: Rows of the detections.
            matched_to: The source that each is matched to, -1 for none, shape (m,).
            radius_pixels: Matching radius.

        Returns:
            Integers of shape (m,).
        """
        regions = _regions_at(x, y, self.of_pixel, self.x, self.y, self.of_source, radius_pixels)
        own = np.append(self.of_source, -1)[matched_to]
        return np.where(own >= 0, own, regions)

    def detects(self, source: int, x: np.ndarray, y: np.ndarray, radius_pixels: float) -> bool:
        """Tell whether one of the detections in the image of a source alone is inside its region.

        Args:
            source: Number of the source, whose region is its footprint now.
            x: Columns of the detections [pixel], shape (m,).
            y: Rows of the detections.
            radius_pixels: Matching radius.
        """
        one = slice(source, source + 1)
        of_pixel = np.where(self.footprints[source], 0, -1)
        of_source = np.zeros(1, int)
        regions = _regions_at(x, y, of_pixel, self.x[one], self.y[one], of_source, radius_pixels)
        return bool((regions >= 0).any())


def connected_regions(footprints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the regions of sources that hang together by shared pixels.

    Args:
        footprints: Pixels of each source, booleans of shape (n, H, W).

    Returns:
        The region of each source, shape (n,), numbered in the order of their first sources, and
        of each pixel, shape (H, W), -1 for pixels that no source covers.
    """
    n_sources, *shape = footprints.shape
    # Sources and pixels are the nodes, and each pixel of a footprint joins the two.
    source, pixel = np.nonzero(footprints.reshape(n_sources, shape[0] * shape[1]))
    n_nodes = n_sources + shape[0] * shape[1]
    graph = coo_array((np.ones(len(source)), (source, n_sources + pixel)), shape=(n_nodes, n_nodes))
    _, labels = connected_components(graph, directed=False)
    _, first, of_source = np.unique(labels[:n_sources], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    of_pixel = np.full(shape[0] * shape[1], -1)
    of_pixel[pixel] = rank[of_source][source]
    return rank[of_source], of_pixel.reshape(shape)


def _regions_at(
    x: np.ndarray,
    y: np.ndarray,
    of_pixel: np.ndarray,
    true_x: np.ndarray,
    true_y: np.ndarray,
    of_source: np.ndarray,
    radius_pixels: float,
) -> np.ndarray:
    """Return the region of the pixel at each place, else of the nearest source in the radius."""
    regions = np.full(len(x), -1)
    used = np.flatnonzero(of_source >= 0)
    if len(x) == 0 or len(used) == 0:
        return regions
    tree = KDTree(np.stack([true_x[used], true_y[used]], axis=1))
    # Beyond the radius the nearest is len(used), which is none.
    _, nearest = tree.query(np.stack([x, y], axis=1), distance_upper_bound=radius_pixels)
    near = np.append(of_source[used], -1)[nearest]
    row, column, on_image = _nearest_pixels(x, y, of_pixel.shape)
    regions[on_image] = of_pixel[row[on_image], column[on_image]]
    return np.where(regions >= 0, regions, near)


def _closest(x: np.ndarray, y: np.ndarray) -> float:
    """Return the distance between the closest two points; infinite of one."""
    return float(nearest_distance(x, y, np.ones(len(x), bool)).min())


def _difference(magnitudes: np.ndarray) -> float:
    """Return by how much the second brightest is fainter than the brightest; infinite of one."""
    brightest = np.sort(magnitudes)[:2]
    return float(brightest[1] - brightest[0]) if len(brightest) == 2 else np.inf


def _nearest_pixels(
    x: np.ndarray, y: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row and column of the pixel at each place, and whether it is on the image."""
    # Cut off outside of the image: a far place has no integer.
    row, column = (
        np.floor(np.clip(place, -1.0, size) + 0.5).astype(int)
        for place, size in zip((y, x), shape, strict=True)
    )
    on_image = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return row, column, on_image
