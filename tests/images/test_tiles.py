"""Tiles: their cores fill the region once, and their windows hold what is around."""

import numpy as np
import pytest

from btk_punet.images.tiles import Tile, cut, even_size


def region(rows, columns):
    return slice(*rows), slice(*columns)


def test_an_image_smaller_than_a_tile_is_one():
    (tile,) = cut(region((0, 1), (0, 30)), (64, 64), 16, (1, 30))
    assert tile.core == tile.window == region((0, 1), (0, 30))
    assert tile.core_in_window == region((0, 1), (0, 30))


@pytest.mark.parametrize("box", [((0, 100), (0, 130)), ((5, 77), (64, 65)), ((63, 129), (1, 200))])
def test_cores_cover_the_region_once(box):
    counts = np.zeros((200, 210), int)
    tiles = cut(region(*box), (64, 64), 16, counts.shape)
    for tile in tiles:
        counts[tile.core] += 1
        part = np.zeros(counts.shape, int)[tile.window]
        part[tile.core_in_window] = 1
        assert part.sum() == counts[tile.core].size
    expected = np.zeros(counts.shape, int)
    expected[region(*box)] = 1
    np.testing.assert_array_equal(counts, expected)
    assert [tile.number for tile in tiles] == list(range(len(tiles)))


@pytest.mark.parametrize("length", [300, 301, 307])
def test_windows_are_of_one_shape_and_hold_the_margin(length):
    tiles = cut(region((0, length), (0, 9)), (64, 64), 16, (length, 9), multiple=8)
    for tile in tiles:
        core, window = tile.core[0], tile.window[0]
        assert window.start % 8 == 0
        assert window.start <= max(core.start - 16, 0) and window.stop >= min(
            core.stop + 16, length
        )
    sizes = [tile.window[0].stop - tile.window[0].start for tile in tiles]
    assert sizes[:-1] == [96] * (len(tiles) - 1) and 96 <= sizes[-1] < 96 + 8


def test_a_region_is_cut_as_the_whole_image():
    whole = cut(region((0, 300), (0, 9)), (64, 64), 16, (300, 9), multiple=8)
    part = cut(region((70, 250), (0, 9)), (64, 64), 16, (300, 9), multiple=8)
    assert [tile.window for tile in part] == [tile.window for tile in whole[1:4]]
    assert [tile.core[0] for tile in part] == [slice(70, 128), slice(128, 192), slice(192, 250)]


def test_within():
    tile = Tile(3, region((64, 128), (0, 64)), region((48, 144), (0, 80)))
    assert tile.within(region((60, 300), (0, 70))).window == region((60, 144), (0, 70))


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 8), (768, 768), (769, 392), (4096, 688), (2000, 672)]
)
def test_cores_are_even(length, expected):
    assert even_size(length, 768, 8) == expected
    n_tiles = -(-length // expected)
    assert n_tiles == -(-length // 768)
