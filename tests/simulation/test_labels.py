import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.simulation.labels import (
    check_isolated,
    class_map,
    clean_real_galaxies,
    connected_part,
    overlap_count,
)


def pixels(*where, value=1.0, size=5):
    """Return an image that is 0 but for some pixels (row, column)."""
    image = np.zeros((size, size))
    for row, column in where:
        image[row, column] = value
    return image


# Three sources on 5 x 5 pixels: a row, a column that crosses it, and one pixel of the crossing.
ROW = pixels((2, 0), (2, 1), (2, 2), (2, 3), value=2.0)
COLUMN = pixels((0, 2), (1, 2), (2, 2), value=3.0)
POINT = pixels((2, 2), value=9.0)
COUNT = np.array(
    [
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [1, 1, 3, 1, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
)


def test_no_sources():
    none = np.zeros((0, 4, 6))
    for result in (overlap_count(none, 1.0), class_map(none, 1.0)):
        np.testing.assert_array_equal(result, np.zeros((4, 6)))
    np.testing.assert_array_equal(overlap_count(none, 1.0, x=[], y=[]), np.zeros((4, 6)))
    assert clean_real_galaxies(none, [], [], 1.0).shape == (0, 4, 6)


def test_count_and_class_of_a_crossing():
    scene = np.array([ROW, COLUMN, POINT])
    np.testing.assert_array_equal(overlap_count(scene, 1.0), COUNT)
    classes = class_map(scene, 1.0)
    np.testing.assert_array_equal(classes, np.minimum(COUNT, 2))
    assert classes.dtype == np.uint8


def test_two_sources_are_a_blend_as_well():
    assert class_map(np.array([ROW, COLUMN]), 1.0)[2, 2] == 2
    assert overlap_count(np.array([ROW, COLUMN]), 1.0)[2, 2] == 2


def test_a_pixel_belongs_to_a_source_only_above_the_threshold():
    # 2.0 does not exceed 2 sigma; just below it does.
    assert overlap_count(ROW[None], 2.0).sum() == 0
    assert overlap_count(ROW[None], 1.999).sum() == 4


def test_k_is_counted_in_sigma():
    scene = np.array([ROW, COLUMN, POINT])
    np.testing.assert_array_equal(overlap_count(scene, 0.5, k=4.0), overlap_count(scene, 2.0))
    assert overlap_count(scene, 1.0, k=2.5).sum() == 3 + 1
    assert overlap_count(scene, 1.0, k=10).sum() == 0


def test_sigma_of_each_pixel():
    sigma = np.ones((5, 5))
    sigma[2, :2] = 4.0  # the two left pixels of the row
    expected = COUNT.copy()
    expected[2, :2] = 0
    np.testing.assert_array_equal(overlap_count([ROW, COLUMN, POINT], sigma), expected)


def test_negative_fluxes_cover_nothing():
    assert overlap_count(-ROW[None], 1.0).sum() == 0


def test_only_the_part_that_holds_the_centre():
    noisy = ROW + pixels((4, 4), value=5.0)
    assert overlap_count(noisy[None], 1.0)[4, 4] == 1
    kept = overlap_count(noisy[None], 1.0, x=[1.2], y=[2.4])
    np.testing.assert_array_equal(kept, ROW > 0)


def test_a_centre_below_the_threshold_covers_nothing():
    assert overlap_count(ROW[None], 1.0, x=[1.0], y=[3.0]).sum() == 0


@pytest.mark.parametrize("name", ["x", "y"])
def test_one_coordinate_alone(name):
    with pytest.raises(InputError, match="give both or neither"):
        class_map(ROW[None], 1.0, **{name: [1.0]})


@pytest.mark.parametrize("shape", [(5, 5), (1, 1, 5, 5), (5,)])
def test_wrong_number_of_dimensions(shape):
    for call in (
        lambda: class_map(np.zeros(shape), 1.0),
        lambda: overlap_count(np.zeros(shape), 1.0),
        lambda: clean_real_galaxies(np.zeros(shape), [0], [0], 1.0),
        lambda: check_isolated(np.zeros(shape)),
    ):
        with pytest.raises(InputError, match=r"isolated must have the shape \(n, H, W\)"):
            call()


class TestConnectedPart:
    MASK = pixels((0, 0), (1, 1), (1, 2), (4, 4), (4, 0)).astype(bool)

    def test_nothing(self):
        assert not connected_part(np.zeros((3, 3), bool), 1, 1).any()

    def test_corners_connect(self):
        expected = pixels((0, 0), (1, 1), (1, 2)).astype(bool)
        np.testing.assert_array_equal(connected_part(self.MASK, 0, 0), expected)
        np.testing.assert_array_equal(connected_part(self.MASK, 2, 1), expected)

    def test_x_is_the_column(self):
        assert connected_part(self.MASK, 0, 4).sum() == 1  # row 4, column 0
        assert connected_part(self.MASK, 0, 4)[4, 0]
        assert not connected_part(self.MASK, 1, 2).any()

    def test_pixel_centres_are_whole_numbers(self):
        assert connected_part(self.MASK, 3.5, 4.49)[4, 4]
        assert not connected_part(self.MASK, 3.49, 4).any()
        assert connected_part(self.MASK, -0.5, -0.5)[0, 0]

    @pytest.mark.parametrize(("x", "y"), [(-0.6, 0), (0, -0.6), (4.5, 4), (4, 4.5), (99, -99)])
    def test_a_point_outside(self, x, y):
        assert not connected_part(self.MASK, x, y).any()

    def test_the_mask_is_not_changed(self):
        mask = self.MASK.copy()
        connected_part(mask, 0, 0)
        np.testing.assert_array_equal(mask, self.MASK)


def test_clean_real_galaxies_keeps_what_is_connected_above_half_a_sigma():
    galaxy = pixels((1, 1), value=9.0) + pixels((1, 2), value=1.1) + pixels((2, 2), value=0.9)
    noise = pixels((4, 4), value=3.0) + pixels((0, 4), value=-2.0)
    scene = np.array([galaxy + noise, noise])
    before = scene.copy()
    clean = clean_real_galaxies(scene, [1.0, 1.0], [1.0, 1.0], sigma=2.0)
    np.testing.assert_array_equal(clean[0], pixels((1, 1), value=9.0) + pixels((1, 2), value=1.1))
    np.testing.assert_array_equal(clean[1], np.zeros((5, 5)))  # nothing at its centre
    np.testing.assert_array_equal(scene, before)


def test_sigma_of_another_shape():
    with pytest.raises(InputError, match=r"sigma must be a number or have the shape \(4, 4\)"):
        class_map(np.zeros((1, 4, 4)), np.ones((3, 3)))
