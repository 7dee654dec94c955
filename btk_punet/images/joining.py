"""The tiles of an image as one: one catalog with one number a source, one map of labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy.table import Table, vstack
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from btk_punet.images.maps import MapStore
from btk_punet.images.objects import TileObjects
from btk_punet.images.tiles import Tile

# Windows see the same maps, so that the place of a source is the same in all but for rounding.
_SAME_PLACE_PIXELS = 1e-3


@dataclass(frozen=True)
class Joined:
    """The sources of all tiles.

    Attributes:
        catalog: One row per source, the most probable first; ``id`` counts them from 1.
        candidates: ``x``, ``y``, ``x_err``, ``y_err``, ``p_detect`` and ``id`` (0 where it is not
            in the catalog), the most probable first; and ``x_network``, ``y_network``, the places
            before the fit.
        overlaps: ``id``, ``row`` and ``column`` of the pixels that a source covers and that bear
            the label of another.
    """

    catalog: Table
    candidates: Table
    overlaps: Table


def join(tiles: list[Tile], parts: list[TileObjects], labels: MapStore) -> Joined:
    """Join tiles, and write the map of labels.

    Args:
        tiles: All tiles of the image.
        parts: What was found in each.
        labels: Where the labels go: the map ``labels``.
    """
    # The own sources of all tiles one after another, as they are numbered for now.
    counts = [len(part.catalog) for part in parts]
    starts = np.cumsum([0, *counts])
    catalog = vstack([part.catalog for part in parts], metadata_conflicts="silent")
    order = np.lexsort((catalog["x_peak"], catalog["y_peak"], -catalog["p_detect"]))
    ids = np.zeros(len(catalog), np.int32)
    ids[order] = np.arange(1, len(catalog) + 1)

    numbers = list(_numbers(parts, starts))
    # Of each number in a tile its id; those that no tile has, and -1 for none, are 0.
    of_tile = [np.append(np.append(ids, 0)[number], 0).astype(np.int32) for number in numbers]
    overlaps = []
    for tile, part, to_id in zip(tiles, parts, of_tile, strict=True):
        labels.write(tile.core, labels=to_id[part.labels])
        owner, row, column = part.overlaps.T
        overlaps.append(np.stack([to_id[owner], row, column], axis=1))
    hidden = np.concatenate(overlaps) if overlaps else np.zeros((0, 3), np.int32)
    hidden = hidden[hidden[:, 0] > 0]
    hidden = hidden[np.lexsort((hidden[:, 2], hidden[:, 1], hidden[:, 0]))]

    catalog["blend_id"] = _blends(parts, numbers, len(catalog))[: len(catalog)]
    catalog = catalog[order]
    catalog.remove_columns(["x_network", "y_network"])
    # Numbered in the order of the catalog.
    _, first, blend = np.unique(catalog["blend_id"], return_index=True, return_inverse=True)
    catalog["blend_id"] = np.argsort(np.argsort(first))[blend]
    catalog.add_column(np.arange(1, len(catalog) + 1, dtype=np.int32), name="id", index=0)

    rows = []
    for part, start in zip(parts, starts, strict=False):
        own = part.candidates.copy()
        in_catalog = own[:, 5] >= 0
        own[in_catalog, 5] = ids[start + own[in_catalog, 5].astype(int)]
        own[~in_catalog, 5] = 0
        rows.append(own)
    every = np.concatenate(rows) if rows else np.zeros((0, 8))
    every = every[np.lexsort((every[:, 0], every[:, 1], -every[:, 4]))]
    names = ("x", "y", "x_err", "y_err", "p_detect", "id", "x_network", "y_network")
    candidates = Table(every, names=names)
    candidates["id"] = candidates["id"].astype(np.int32)
    return Joined(
        catalog, candidates, Table(hidden.astype(np.int32), names=("id", "row", "column"))
    )


def _numbers(parts: list[TileObjects], starts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield, for each tile, the numbers in all tiles of its sources; -1 where no tile has one."""
    network_x = np.concatenate([part.catalog["x_network"] for part in parts] or [np.zeros(0)])
    network_y = np.concatenate([part.catalog["y_network"] for part in parts] or [np.zeros(0)])
    places = np.stack([network_x, network_y], axis=1).astype(float)
    tree = KDTree(places) if len(places) else None
    for part, start in zip(parts, starts, strict=False):
        own = start + np.arange(len(part.catalog))
        others = np.full(len(part.others), -1)
        if tree is not None and len(others):
            _, nearest = tree.query(part.others[:, :2], distance_upper_bound=_SAME_PLACE_PIXELS)
            others = np.where(nearest < len(places), nearest, -1)
        yield np.concatenate([own, others]).astype(int)


def _blends(parts: list[TileObjects], numbers: list[np.ndarray], n_sources: int) -> np.ndarray:
    """Return for each source the part of the image that it hangs together in."""
    pairs = [np.zeros((0, 2), int)]
    for part, number in zip(parts, numbers, strict=True):
        blend = np.concatenate([np.asarray(part.catalog["blend_id"]), part.others[:, 2]])
        (known,) = np.nonzero(number >= 0)
        order = known[np.argsort(blend[known], kind="stable")]
        same = np.flatnonzero(np.diff(blend[order]) == 0)
        pairs.append(np.stack([number[order[same]], number[order[same + 1]]], axis=1))
    linked = np.concatenate(pairs)
    graph = coo_array((np.ones(len(linked)), tuple(linked.T)), shape=(n_sources, n_sources))
    return connected_components(graph, directed=False)[1] if n_sources else np.zeros(0, int)
