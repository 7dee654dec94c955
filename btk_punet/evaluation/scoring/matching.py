"""Which detection is which source: as many pairs as possible, then as close as possible."""

import numpy as np
from astropy.table import Table
from btk.match import Matcher as BtkMatcher
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from btk_punet.errors import InputError
from btk_punet.simulation.snr import NEIGHBOUR_SNR


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
        near = self._near(true_x, true_y, x, y)
        if len(near) == 0:
            return np.zeros(0, int), np.zeros(0, int)
        radius = self.radius_arcsec / self.pixel_scale_arcsec
        # Only sources and detections that hang together by near pairs compete with each other.
        n_nodes = len(true_x) + len(x)
        graph = coo_array(
            (np.ones(len(near)), (near["i"], near["j"] + len(true_x))), shape=(n_nodes, n_nodes)
        )
        _, group_of = connected_components(graph, directed=False)
        group_of_pair = group_of[near["i"]]
        order = np.argsort(group_of_pair, kind="stable")
        starts = np.flatnonzero(np.diff(group_of_pair[order])) + 1
        pairs = [_match_group(near[group], radius) for group in np.split(order, starts)]
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
        near = self._near(true_x, true_y, x, y)
        reached: list[list[int]] = [[] for _ in range(len(x))]
        for source, detection in zip(near["i"].tolist(), near["j"].tolist(), strict=True):
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
    ) -> np.ndarray:
        """Return the pairs within the radius: source ``i``, detection ``j``, distance ``v``."""
        truth = np.stack([np.asarray(true_x, float), np.asarray(true_y, float)], axis=1)
        found = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
        for name, positions in [("source", truth), ("detection", found)]:
            if not np.isfinite(positions).all():
                raise InputError(f"Every {name} must have a finite position, got {positions}.")
        radius = self.radius_arcsec / self.pixel_scale_arcsec
        if len(truth) == 0 or len(found) == 0:
            return np.zeros(0, [("i", int), ("j", int), ("v", float)])
        near = KDTree(truth).sparse_distance_matrix(
            KDTree(found), radius * (1 + 1e-9), output_type="ndarray"
        )
        return near[near["v"] < radius]


def _match_group(near: np.ndarray, radius: float) -> np.ndarray:
    """Return the best pairs, shape (2, n), of the near pairs of one connected group."""
    if len(near) == 1:
        return np.array([near["i"], near["j"]], int)
    sources, rows = np.unique(near["i"], return_inverse=True)
    detections, cols = np.unique(near["j"], return_inverse=True)
    # Any pair within the radius is worth more than all the distance that it may cost elsewhere.
    worth = radius * (min(len(sources), len(detections)) + 1)
    cost = np.zeros((len(sources), len(detections)))
    cost[rows, cols] = near["v"] - worth
    row, col = linear_sum_assignment(cost)
    paired = cost[row, col] < 0
    return np.array([sources[row[paired]], detections[col[paired]]], int)
