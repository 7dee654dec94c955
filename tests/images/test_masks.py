import numpy as np
import pytest

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.images.masks import (
    PixelMasks,
    PixelSet,
    is_coarse,
    is_usable,
    no_data_areas,
    saturated_pixels,
    usual_value,
)
from btk_punet.images.noise_maps import NoiseMap
from btk_punet.images.pixels import ArrayPixels, ConstantPixels
from tests.images.scenes import noise

BAD, EDGE, SATURATED = (
    int(flag) for flag in (DetectionFlag.BAD_PIXEL, DetectionFlag.EDGE, DetectionFlag.SATURATED)
)


def pieces(shape):
    """An image whole, and in uneven pieces."""
    rows, columns = shape
    yield slice(0, rows), slice(0, columns)
    for row, column in ((0, 0), (7, 60), (95, 3)):
        yield slice(row, row + 41), slice(column, column + 33)


def test_an_empty_set_of_pixels():
    empty = PixelSet(np.zeros(0), (4, 5))
    assert len(empty) == 0 and not empty.within(slice(0, 4), slice(0, 5)).any()
    assert len(empty.widened(2)) == 0
    assert len(empty.connected_to(empty)) == 0


def test_a_set_of_pixels_by_pieces():
    whole = np.random.default_rng(0).random((20, 30)) < 0.2
    some = PixelSet(np.flatnonzero(whole)[::-1], whole.shape)
    for rows, columns in ((slice(0, 20), slice(0, 30)), (slice(5, 6), slice(29, 30))):
        np.testing.assert_array_equal(some.within(rows, columns), whole[rows, columns])


def test_connected_pixels_touch_across_corners_and_not_around_the_border():
    drawn = np.array(["#....", ".#..#", "....#", "#...."])
    cells = np.array([list(line) for line in drawn]) == "#"
    seed = PixelSet(np.array([0]), cells.shape)
    found = PixelSet(np.flatnonzero(cells), cells.shape).connected_to(seed)
    assert found.index.tolist() == [0, 6]


def test_widened_pixels_stay_in_the_image():
    found = PixelSet(np.array([0]), (4, 5)).widened(1)
    assert found.index.tolist() == [0, 1, 5, 6]


def test_noise_holds_no_areas_without_data():
    assert not np.any(no_data_areas(noise((300, 300))))
    # Whole numbers with a noise of one step repeat all the time, but never over a block or line.
    assert not np.any(no_data_areas(np.round(noise((2000, 1000)))))


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, np.inf, 1e30])
def test_blocks_and_lines_of_one_value(value):
    values = noise((80, 90))
    values[10:16, 20:27] = value  # a block
    values[30:62, 50] = value  # a line down
    values[70, 5:37] = value  # a line across
    values[40:45, 60:65] = value  # a block that is too small
    values[25:56, 80] = value  # a line that is too short
    blocks, lines = no_data_areas(values)
    expected = np.zeros((2, 80, 90), bool)
    expected[0, 10:16, 20:27] = True
    expected[1, 30:62, 50] = expected[1, 70, 5:37] = True
    np.testing.assert_array_equal(blocks, expected[0])
    np.testing.assert_array_equal(lines, expected[1])
    only_missing = no_data_areas(values, by_value=False)
    assert np.any(only_missing) == (not abs(value) < 1e25)


def test_zeros_at_the_ragged_border_of_a_mosaic():
    values = noise((60, 60))
    values[:10] = 0.0
    values[10:14, 30] = 0.0  # too narrow for a block
    values[40, 40] = 0.0  # far from the border
    blocks, _ = no_data_areas(values)
    assert blocks[:10].all() and blocks[10:14, 30].all() and blocks.sum() == 604


@pytest.mark.parametrize(("sigma", "expected"), [(0.3, True), (0.5, True), (1.0, False)])
def test_steps_that_are_too_coarse(sigma, expected):
    # Equal neighbours among whole numbers: 1 / (2 sqrt(pi) sigma) of them, 0.28 for sigma = 1.
    assert is_coarse(ArrayPixels(np.round(noise((200, 200), sigma)))) == expected


def test_an_image_of_one_value_and_little_noise_is_not_coarse():
    values = np.zeros((200, 200))
    values[:30] = noise((30, 200))
    assert not is_coarse(ArrayPixels(values))


def test_the_usual_value():
    assert np.isnan(usual_value(ArrayPixels(np.full((5, 5), np.nan))))
    assert usual_value(ArrayPixels(noise((500, 500)) + 100)) == pytest.approx(100, abs=0.1)


def saturated_star(shape=(150, 160)):
    """A star in a sky of 100 +- 1 whose bleed trail runs down column 70; saturation at 1000."""
    values = 100 + noise(shape)
    values[60:65, 68:73] = 1000.0
    values[65:140, 70] = 700.0  # the trail, nearly saturated
    values[20, 20] = 900.0  # bright, but not connected to anything saturated
    return values


def test_no_pixel_is_saturated():
    pixels, share = saturated_pixels(ArrayPixels(noise()), 1000.0, 0.0)
    assert len(pixels) == 0 and share == 0


def test_saturation_takes_the_bleed_trail_and_a_margin():
    pixels, share = saturated_pixels(ArrayPixels(saturated_star()), 1000.0, 100.0)
    expected = np.zeros((150, 160), bool)
    expected[58:67, 66:75] = True
    expected[63:142, 68:73] = True
    np.testing.assert_array_equal(pixels.within(slice(0, 150), slice(0, 160)), expected)
    assert share == 25 / (150 * 160)


def test_a_level_that_all_pixels_reach_ends_the_search():
    pixels, share = saturated_pixels(ArrayPixels(noise() + 10), 5.0, 0.0)
    assert len(pixels) == 0 and share > 0.2


def test_flags_say_why_and_do_not_depend_on_the_piece():
    values = saturated_star()
    values[0, 0] = np.nan
    values[:, 10] = 7.0  # a dead column
    values[140:] = 0.0  # no data
    mask, weight = np.zeros((2, *values.shape))
    mask[30, 30] = 1
    weight[:] = 1
    weight[31, 31] = 0
    image = ArrayPixels(values)
    saturated, _ = saturated_pixels(image, 1000.0, 100.0)
    masks = PixelMasks(
        image, ArrayPixels(mask), NoiseMap("weight", ArrayPixels(weight)), saturated=saturated
    )
    found, flags = masks.read(slice(0, 150), slice(0, 160))
    np.testing.assert_array_equal(found, values)
    expected = np.zeros(values.shape, int)
    expected[[0, -1]] = expected[:, [0, -1]] = EDGE
    expected[140:] = EDGE | BAD
    expected[:, 10] |= BAD
    for place in ((0, 0), (30, 30), (31, 31)):
        expected[place] |= BAD
    expected[saturated.within(slice(0, 150), slice(0, 160))] |= SATURATED | BAD
    np.testing.assert_array_equal(flags, expected)
    np.testing.assert_array_equal(is_usable(flags), (flags & BAD) == 0)
    for rows, columns in pieces((150, 160)):
        np.testing.assert_array_equal(masks.read(rows, columns)[1], expected[rows, columns])


@pytest.mark.parametrize(
    ("kind", "value", "variance"),
    [("rms", 2.0, 4.0), ("variance", 2.0, 2.0), ("weight", 4.0, 0.25)]
    + [(kind, bad, np.nan) for kind in ("rms", "weight") for bad in (0.0, -1.0, np.nan, np.inf)]
    + [("rms", 1e200, np.nan), ("weight", 1e-320, np.nan)],
)
def test_the_variance_of_a_noise_map(kind, value, variance):
    found = NoiseMap(kind, ConstantPixels(value, (3, 3))).variance(slice(0, 1), slice(0, 2))
    np.testing.assert_array_equal(found, [[variance, variance]])
