import numpy as np
import pytest

from btk_punet.images.holes import SIGNIFICANT, fill_holes


def image(value: float, shape: tuple[int, int] = (7, 7), sigma: float = 1.0):
    return np.full(shape, value, np.float32), np.full(shape, sigma**2, np.float32)


def masked(*where: object, shape: tuple[int, int] = (7, 7)) -> np.ndarray:
    usable = np.ones(shape, bool)
    usable[where] = False
    return usable


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1)])
def test_images_without_neighbours(shape):
    electrons, variance = image(3.0, shape)
    for usable in (np.ones(shape, bool), np.zeros(shape, bool)):
        filled, now = fill_holes(electrons, variance, usable)
        np.testing.assert_array_equal(filled, electrons)
        np.testing.assert_array_equal(now, usable)


def test_without_a_mask_nothing_is_changed():
    electrons, variance = image(3.0)
    filled, usable = fill_holes(electrons, variance, np.ones((7, 7), bool))
    assert filled is electrons and usable.all()


def test_in_the_light_of_a_source_a_hole_gets_the_mean():
    electrons, variance = image(100.0)
    usable = masked(3, 3)
    electrons[3, 3] = 0
    electrons[2, 2], electrons[3, 2] = 112.0, 130.0  # of weights 1 and 2, of 12
    mean = 100 + (12 + 2 * 30) / 12
    noise_squared = (4 * 1 + 4 * 4) / 12**2
    filled, now = fill_holes(electrons, variance, usable)
    assert filled[3, 3] == pytest.approx(mean - SIGNIFICANT**2 * noise_squared / mean)
    assert filled.dtype == np.float32 and now.all()
    assert not usable[3, 3] and electrons[3, 3] == 0  # what was given
    filled[3, 3] = 0
    np.testing.assert_array_equal(filled, electrons)


def test_noise_is_not_repeated():
    # Its noise is 0.37 sigma, a third of what it takes.
    for value in (-1.0, 0.0, 1.0):
        filled, now = fill_holes(*image(value), masked(3, 3))
        assert filled[3, 3] == 0 and now.all()
    assert fill_holes(*image(-100.0), masked(3, 3))[0][3, 3] == pytest.approx(-100, abs=0.1)


def test_unusable_neighbours_do_not_count():
    electrons, variance = image(50.0)
    usable = masked(3)  # a dead row
    electrons[3] = 1e9
    filled, now = fill_holes(electrons, variance, usable)
    assert now[3, 1:-1].all()
    assert filled[3, 1:-1] == pytest.approx(50, abs=0.2)
    # At the border there are four neighbours, of a row.
    assert now.all() and filled[3, 0] == pytest.approx(50, abs=0.3)


def test_wide_masks_keep_what_is_inside():
    usable = np.ones((11, 11), bool)
    usable[3:8, 3:8] = False
    _, now = fill_holes(*image(5.0, (11, 11)), usable)
    inside = np.zeros((11, 11), bool)
    inside[4:7, 4:7] = True
    np.testing.assert_array_equal(~now, inside)
    # One row at the border of the image has three usable neighbours, a corner two.
    _, now = fill_holes(*image(5.0), masked(0))
    assert now[0, 1:-1].all() and not now[0, 0] and not now[0, -1]
