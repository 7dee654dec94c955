"""What is measured around a candidate."""

import numpy as np
import pytest

from btk_punet.deblending.surroundings import (
    DEEP_VARIANCE,
    DOUBT_PIXELS,
    SHALLOW_VARIANCE,
    UNKNOWN_DEPTH,
    Surroundings,
    squares,
)
from btk_punet.simulation.survey import background_variance, get_euclid_survey


def measured(image, x, y, pixels, variance=SHALLOW_VARIANCE, ratio=1.0, mass=None):
    image, x, y = np.array(image, int), np.array(x, float), np.array(y, float)
    mass = np.full(len(image), 0.5) if mass is None else np.array(mass, float)
    return Surroundings.measure(image, x, y, mass, pixels, variance, ratio)


@pytest.mark.parametrize("shape", [(0, 8, 8), (2, 8, 8)])
def test_no_candidates(shape):
    found = measured([], [], [], np.zeros(shape))
    assert len(found) == 0
    assert all(values.shape == (0,) for values in vars(found).values())


@pytest.mark.parametrize(
    ("variance", "depth"),
    [
        (10.0, 0.0),
        (SHALLOW_VARIANCE, 0.0),
        ((SHALLOW_VARIANCE * DEEP_VARIANCE) ** 0.5, 0.5),
        (DEEP_VARIANCE, 1.0),
        (1e9, 1.0),
        (None, UNKNOWN_DEPTH),
    ],
)
def test_depth_is_that_of_the_background(variance, depth):
    found = measured([0], [3], [4], np.zeros((1, 8, 8)), variance)
    assert found.depth[0] == pytest.approx(depth)


def test_depth_of_euclid():
    survey = [get_euclid_survey(1, 0.0), get_euclid_survey(4, 4.4)]
    variance = [background_variance(one, one.get_filter("IE")) for one in survey]
    np.testing.assert_allclose(variance, [SHALLOW_VARIANCE, DEEP_VARIANCE], rtol=0.02)


def test_depth_is_that_of_the_pixel():
    variance = np.full((2, 8, 8), SHALLOW_VARIANCE)
    variance[1, 4, 3] = DEEP_VARIANCE
    found = measured([0, 1, 1], [3, 3.4, 4], [4, 3.6, 3], np.zeros((2, 8, 8)), variance)
    np.testing.assert_allclose(found.depth, [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize(("ratio", "density"), [(0.1, 0), (2, 0), (6, 0.5), (18, 1), (50, 1)])
def test_density(ratio, density):
    found = measured([0], [3], [4], np.zeros((1, 8, 8)), ratio=ratio)
    assert found.density[0] == pytest.approx(density)


def test_signal_to_noise_in_the_square():
    pixels = np.zeros((1, 12, 12))
    pixels[0, 3:8, 4:9] = 3 / 5  # 15 in all, over a noise of 5: 3
    found = measured([0] * 3, [6, 7, 11], [5, 5, 11], pixels)
    # One column further a fifth of it is lost; the corner has none.
    np.testing.assert_allclose(found.faint, [1 / 2, 1 / (1 + 0.8**4), 1])
    np.testing.assert_allclose(found.snr, [3, 2.4, 0], atol=1e-12)
    assert found.take(np.array([1])).snr == pytest.approx(2.4)


def test_a_negative_sum_is_as_faint_as_none():
    assert measured([0], [5], [5], np.full((1, 12, 12), -9.0)).faint[0] == 1


def test_at_a_border_what_is_outside_counts_nothing():
    found = measured([0], [0], [0], np.full((1, 6, 6), 5 / 9))
    assert found.faint[0] == pytest.approx(1 / (1 + (1 / 3) ** 4))


def test_near_is_to_the_more_probable_ones_of_the_image():
    found = measured([0, 0, 0, 1], [10, 14, 14, 10], [10, 10, 13, 10], np.zeros((2, 40, 40)))
    # 4 pixels from the first one; 3 from the second one; alone in its image.
    np.testing.assert_allclose(found.near, [0, np.exp(-1), np.exp(-9 / 16), 0])


def test_candidates_that_are_far_apart_are_not_near():
    found = measured([0, 0], [10, 10 + 2 * DOUBT_PIXELS + 1], [10, 10], np.zeros((1, 80, 80)))
    np.testing.assert_array_equal(found.near, 0)
    np.testing.assert_array_equal(found.doubt, 0)


def test_doubt_is_of_the_others_of_the_image():
    places = [20, 20 + DOUBT_PIXELS, 20, 20]
    found = measured([0, 0, 0, 1], places, [20] * 4, np.zeros((2, 80, 80)), mass=[0.9, 0.5, 0.2, 1])
    far = np.exp(-1)
    doubt = np.array([0.25 * far + 0.16, (0.09 + 0.16) * far, 0.09 + 0.25 * far, 0])
    np.testing.assert_allclose(found.doubt, doubt / (1 + doubt))


def test_sure_candidates_leave_no_doubt():
    found = measured([0, 0, 0], [20, 25, 30], [20] * 3, np.zeros((1, 64, 64)), mass=[1, 1, 0.5])
    doubt = 0.25 * np.exp([-0.16, -0.04, -np.inf])  # the last one's, 10 and 5 pixels away
    np.testing.assert_allclose(found.doubt, doubt / (1 + doubt))


def test_squares_by_hand():
    maps = np.arange(24.0).reshape(2, 3, 4)
    image, row, column = np.array([0, 1, 1]), np.array([1, 0, 2]), np.array([1, 0, 3])
    whole = maps[0, :, :3].sum()
    corners = maps[1, :2, :2].sum(), maps[1, 1:, 2:].sum()
    np.testing.assert_array_equal(squares(maps, image, row, column, 3), [whole, *corners])
    np.testing.assert_array_equal(squares(maps, image, row, column, 1), [5, 12, 23])
    assert squares(maps, image[:0], row[:0], column[:0], 3).shape == (0,)
