"""Tiles as one: ids in the order of the probability, labels, overlaps, blends across borders."""

import numpy as np
from astropy.table import Table

from btk_punet.images.joining import join
from btk_punet.images.maps import MapStore
from btk_punet.images.objects import TileObjects
from btk_punet.images.tiles import Tile

LEFT = Tile(0, (slice(0, 2), slice(0, 3)), (slice(0, 2), slice(0, 4)))
RIGHT = Tile(1, (slice(0, 2), slice(3, 6)), (slice(0, 2), slice(2, 6)))
NONE = -np.ones((2, 3), np.int32)


def part(x, y, p, blend_id, labels=NONE, others=(), overlaps=()):
    """What was found in a tile: sources at x, y and their candidates."""
    n = len(x)
    catalog = Table({"x_peak": np.array(x, float), "y_peak": np.array(y, float)})
    catalog["p_detect"] = np.array(p, float)
    catalog["blend_id"] = np.array(blend_id, int)
    catalog["x_network"], catalog["y_network"] = catalog["x_peak"], catalog["y_peak"]
    columns = [x, y, np.full(n, 0.1), np.full(n, 0.1), p, np.arange(n), x, y]
    return TileObjects(
        catalog,
        np.array(others, float).reshape(-1, 3),
        np.array(columns, float).T.reshape(-1, 8),
        np.array(labels, np.int32),
        np.array(overlaps, np.int32).reshape(-1, 3),
    )


def joined(folder, *parts):
    store = MapStore(folder, (slice(0, 2), slice(0, 6)), {"labels": np.int32})
    store.create()
    result = join([LEFT, RIGHT], list(parts), store)
    return result, np.array(store.whole("labels"))


def test_nothing(tmp_path):
    result, labels = joined(tmp_path, part([], [], [], []), part([], [], [], []))
    assert len(result.catalog) == len(result.candidates) == len(result.overlaps) == 0
    assert result.catalog.colnames[0] == "id" and not labels.any()


def test_two_tiles(tmp_path):
    # The source at x = 3 is the right tile's, and covers a column of the left tile.
    left = part([1], [0], [0.7], [4], [[0, 0, 1], [-1, 0, 1]], [(3, 1, 4)], overlaps=[(1, 0, 1)])
    right = part([3, 5], [1, 0], [0.9, 0.6], [0, 1], [[0, -1, 1], [0, 0, 1]], [(1, 0, 0)])
    result, labels = joined(tmp_path, left, right)
    assert list(result.catalog["id"]) == [1, 2, 3]
    assert list(result.catalog["x_peak"]) == [3, 1, 5]
    assert list(result.catalog["p_detect"]) == [0.9, 0.7, 0.6]
    assert list(result.catalog["blend_id"]) == [0, 0, 1]
    assert "x_network" not in result.catalog.colnames
    np.testing.assert_array_equal(labels, [[2, 2, 1, 1, 0, 3], [0, 2, 1, 1, 1, 3]])
    assert [tuple(row) for row in result.overlaps] == [(1, 0, 1)]
    assert list(result.candidates["id"]) == [1, 2, 3]


def test_a_blend_hangs_together_through_a_third(tmp_path):
    # 0 touches 1 in the left window, 1 touches 2 in the right one.
    left = part([2], [0], [0.9], [7], others=[(3, 0, 7)])
    right = part([3, 5], [0, 0], [0.8, 0.7], [2, 2], others=[(2, 0, 5)])
    result, _ = joined(tmp_path, left, right)
    assert list(result.catalog["blend_id"]) == [0, 0, 0]


def test_a_source_that_no_tile_has_leaves_no_label(tmp_path):
    left = part([1], [0], [0.7], [0], [[0, 1, 1], [0, 1, 1]], [(3.4, 1, 0)])
    result, labels = joined(tmp_path, left, part([], [], [], []))
    assert set(np.unique(labels)) == {0, 1}


def test_what_is_saved_is_read(tmp_path):
    before = part([1, 2], [0, 1], [0.7, 0.6], [0, 0], others=[(3, 1, 0)], overlaps=[(0, 1, 1)])
    before.save(tmp_path / "part.npz")
    after = TileObjects.load(tmp_path / "part.npz")
    assert after.catalog.colnames == before.catalog.colnames
    for name in ("others", "candidates", "labels", "overlaps"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
