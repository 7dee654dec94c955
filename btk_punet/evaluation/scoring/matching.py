"""Which detection is which source: as many pairs as possible, then as close as possible."""

import numpy as np
from astropy.table import Table
from btk.match import Matcher as BtkMatcher
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from btk_punet.errors import InputError
from btk_punet.simulation.snr import NEIGHBOUR_SNR

# Up to so many pairs all distances are faster than a tree.
FEW_PAIRS = 10_000


class Matcher(BtkMatcher):
    """Match truth and detections one to one within a radius.

    Of all the ways to pair them closer than the radius, one with the most pairs is taken, and
    among those the one with the least total distance. (BTK's ``PixelHungarianMatcher`` minimises
    the distance over all sources first and cuts afterwards, which loses pairs.)

    Called with lists of true and predicted catalogs it returns BTK's ``Matching``, for BTK's own
    metrics. A true catalog with a column ``alone_snr`` is matched where that is above 2 only.

    Args:
        radius_arcsec: A pair is closer than this [arcsec].
        pixel_scale_arcsec: Pixel size [arcsec]: the distances are taken between ``x_peak``,
            ``y_peak`` [pixel].

    Raises:
        InputError: if either is not above 0.
    """

    def __init__(self, radius_arcsec: float = 0.3, pixel_scale_arcsec: float = 0.1):
        super().__init__()
        for name, value in [
            ("radius_arcsec", radius_arcsec),
            ("pixel_scale_arcsec", pixel_scale_arcsec),
        ]:
            if not value > 0:
                raise InputError(f"{name} must be above 0 arcsec, got {value}.")
        self.radius_arcsec = radius_arcsec
        self.pixel_scale_arcsec = pixel_scale_arcsec

    def match_catalogs(
        self, truth_catalog: Table, predicted_catalog: Table
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of both catalogs that are paired, in the order of the truth."""
        true_x, true_y = self.preprocess_catalog(truth_catalog)
        candidates = np.arange(len(truth_catalog))
        if "alone_snr" in truth_catalog.colnames:
            candidates = np.flatnonzero(np.asarray(truth_catalog["alone_snr"]) > NEIGHBOUR_SNR)
        pairs = self.match_positions(
            np.asarray(true_x)[candidates],
            np.asarray(true_y)[candidates],
            *self.preprocess_catalog(predicted_catalog),
        )
        return candidates[pairs[0]], pairs[1]

    def match_positions(
        self, true_x: np.ndarray, true_y: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Match positions [pixel] in one image.

        Args:
            true_x: Columns of the sources, shape (n,).
            true_y: Rows of the sources, shape (n,).
            x: Columns of the detections, shape (m,).
            y: Rows of the detections, shape (m,).

        Returns:
            Indices of the paired sources, and of their detections, in the order of the sources.

        Raises:
            InputError: if a position is not finite.
        """
        i, j, distance = self._near(true_x, true_y, x, y)
        lone = lone_pairs(i, j)
        pairs = [np.stack([i[lone], j[lone]])]
        if not lone.all():
            i, j, distance = i[~lone], j[~lone], distance[~lone]
            radius = self.radius_arcsec / self.pixel_scale_arcsec
            pairs += [
                _match_group(i[group], j[group], distance[group], radius)
                for group in pair_groups(i, j)
            ]
        source, detection = np.concatenate(pairs, axis=1)
        by_source = np.argsort(source)
        return source[by_source], detection[by_source]

    def gains(
        self, true_x: np.ndarray, true_y: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> np.ndarray:
        """Tell of each detection whether it brings one more pair than those before it have.

        For detections in the order of their probability that is what each one's probability is
        of: as a threshold falls, the pairs are as many as the detections above it that gained.
        (Matched all at once, an unlikely detection may take the source of a likely one.)

        Args and errors are those of `match_positions`.

        Returns:
            Booleans, shape (m,).
        """
        i, j, _ = self._near(true_x, true_y, x, y)
        reached: list[list[int]] = [[] for _ in range(len(x))]
        for source, detection in zip(i.tolist(), j.tolist(), strict=True):
            reached[detection].append(source)
        owner: dict[int, int] = {}

        def augment(detection: int, tried: set[int]) -> bool:
            # Kuhn's algorithm: take a free source, or one whose owner can have another.
            for source in reached[detection]:
                if source not in tried:
                    tried.add(source)
                    if source not in owner or augment(owner[source], tried):
                        owner[source] = detection
                        return True
            return False

        return np.array([augment(detection, set()) for detection in range(len(x))], bool)

    def _near(
        self, true_x: np.ndarray, true_y: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return source, detection and distance [pixel] of each pair within the radius."""
        truth = np.stack([np.asarray(true_x, float), np.asarray(true_y, float)], axis=1)
        found = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
        for name, positions in [("source", truth), ("detection", found)]:
            if not np.isfinite(positions).all():
                raise InputError(f"Every {name} must have a finite position, got {positions}.")
        radius = self.radius_arcsec / self.pixel_scale_arcsec
        if len(truth) * len(found) <= FEW_PAIRS:
            offset = truth[:, None] - found
            distance = np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2)
            i, j = np.nonzero(distance < radius)
            return i, j, distance[i, j]
        return near_pairs(truth, found, radius)


def near_pairs(
    places: np.ndarray, others: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of places that are closer than a radius.

    Args:
        places: Shape (n, dimensions), one or more.
        others: Shape (m, dimensions), one or more.
        radius: The radius, in their unit.

    Returns:
        Number of the place, number of the other, and distance of each pair.
    """
    near = KDTree(places).sparse_distance_matrix(
        KDTree(others), radius * (1 + 1e-9), output_type="ndarray"
    )
    near = near[near["v"] < radius]
    return near["i"], near["j"], near["v"]


def lone_pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Tell which pairs compete with no other one, as both their source and detection have one.

    Args:
        i: Source of each pair, shape (n,).
        j: Detection of each pair.

    Returns:
        Booleans, shape (n,).
    """
    return (np.bincount(i)[i] == 1) & (np.bincount(j)[j] == 1)


def pair_groups(i: np.ndarray, j: np.ndarray) -> list[np.ndarray]:
    """Return the pairs of each group that hangs together by sources and detections in common.

    Only within a group do sources and detections compete with each other.

    Args:
        i: Source of each pair, shape (n,).
        j: Detection of each pair.

    Returns:
        Numbers of the pairs of each group, increasing.
    """
    parent = list(range(len(i)))

    def root(pair: int) -> int:
        while parent[pair] != pair:
            parent[pair] = parent[parent[pair]]
            pair = parent[pair]
        return pair

    for ends in (i.tolist(), j.tolist()):
        first: dict[int, int] = {}
        for pair, end in enumerate(ends):
            parent[root(pair)] = root(first.setdefault(end, pair))
    members: dict[int, list[int]] = {}
    for pair in range(len(i)):
        members.setdefault(root(pair), []).append(pair)
    return [np.array(group) for group in members.values()]


def _match_group(i: np.ndarray, j: np.ndarray, distance: np.ndarray, radius: float) -> np.ndarray:
    """Return the best pairs, shape (2, n), of the near pairs of one connected group."""
    sources, rows = np.unique(i, return_inverse=True)
    detections, cols = np.unique(j, return_inverse=True)
    # Any pair within the radius is worth more than all the distance that it may cost elsewhere.
    worth = radius * (min(len(sources), len(detections)) + 1)
    cost = np.zeros((len(sources), len(detections)))
    cost[rows, cols] = distance - worth
    row, col = linear_sum_assignment(cost)
    paired = cost[row, col] < 0
    return np.array([sources[row[paired]], detections[col[paired]]], int)
