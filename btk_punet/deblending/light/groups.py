"""Which sources are fitted together: those whose light overlaps, but not too many."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from btk_punet.deblending.light.profiles import X, Y

# Sources of a group that are solved for together, at most: beyond, the weakest links are cut.
MAX_GROUP = 24
# Share of their reach within which sources are linked, at first; and where cutting ends.
_FIRST_LINK, _LEAST_LINK = 0.7, 0.02


def overlapping_groups(image: np.ndarray, parameters: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the number of each source's group: those whose light overlaps, cut where too many."""
    group = np.full(len(image), -1)
    n_groups, factor = 0, _FIRST_LINK
    left = np.arange(len(image))
    while len(left):
        number = _linked(image[left], parameters[left], factor * reach[left])
        if factor < _LEAST_LINK:
            # All on one spot, which no data can tell apart: each for itself.
            number = np.arange(len(left))
        small = np.bincount(number)[number] <= MAX_GROUP
        _, own = np.unique(number[small], return_inverse=True)
        group[left[small]] = n_groups + own
        n_groups += own.max(initial=-1) + 1
        left, factor = left[~small], 0.7 * factor
    return group


def _linked(image: np.ndarray, parameters: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return numbers of the groups that hang together by circles that overlap."""
    n = len(image)
    # Images are set far apart from each other.
    apart = 1e6
    places = np.stack([parameters[:, X], parameters[:, Y] + apart * image], axis=1)
    pairs = KDTree(places).query_pairs(2 * reach.max(initial=0), output_type="ndarray")
    distance = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    pairs = pairs[distance < reach[pairs].sum(axis=1)]
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(n, n))
    return connected_components(graph, directed=False)[1]
