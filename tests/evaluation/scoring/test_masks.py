import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.masks import mask_iou, overlapped, shared_pixels, undeblended

SHAPE = (12, 20)


def masks(*boxes):
    """Return masks, a rectangle each, from (first column, last column, first row, last row)."""
    array = np.zeros((len(boxes), *SHAPE), bool)
    for mask, (left, right, low, high) in zip(array, boxes, strict=True):
        mask[low : high + 1, left : right + 1] = True
    return array


def whole(all_masks, footprints, detection, image=None):
    image = np.ones(SHAPE) if image is None else image
    return undeblended(all_masks, footprints, np.array(detection, int), image)


class TestMaskIou:
    @pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (2, 0)])
    def test_nothing(self, n, m):
        one, other = np.zeros((n, *SHAPE), bool), np.ones((m, *SHAPE), bool)
        assert mask_iou(one, other).shape == shared_pixels(one, other).shape == (n, m)

    def test_empty_masks_share_nothing(self):
        empty = np.zeros((1, *SHAPE), bool)
        assert mask_iou(empty, empty).tolist() == [[0.0]]
        assert mask_iou(empty, ~empty).tolist() == [[0.0]]

    def test_rectangles(self):
        # 4 x 2, 2 x 2 inside of it, 4 x 2 that shares 2 x 2, and one apart.
        some = masks((0, 3, 0, 1), (1, 2, 0, 1), (2, 5, 0, 1), (9, 9, 9, 9))
        shared = [[8, 4, 4, 0], [4, 4, 2, 0], [4, 2, 8, 0], [0, 0, 0, 1]]
        assert shared_pixels(some, some).tolist() == shared
        iou = [
            [1, 4 / 8, 4 / 12, 0],
            [4 / 8, 1, 2 / 10, 0],
            [4 / 12, 2 / 10, 1, 0],
            [0, 0, 0, 1],
        ]
        assert mask_iou(some, some).tolist() == iou
        assert mask_iou(some[:1], some[1:]).tolist() == [iou[0][1:]]

    def test_as_pixel_by_pixel(self):
        rng = np.random.default_rng(0)
        one, other = rng.random((3, *SHAPE)) < 0.5, rng.random((4, *SHAPE)) < 0.3
        both = (one[:, None] & other).sum(axis=(2, 3))
        either = (one[:, None] | other).sum(axis=(2, 3))
        np.testing.assert_array_equal(mask_iou(one, other), both / either)

    def test_wrong_masks(self):
        good = np.zeros((1, *SHAPE), bool)
        for wrong in (good[0], good.astype(int)):
            with pytest.raises(InputError, match=r"booleans of shape \(n, H, W\), one scene; got"):
                mask_iou(good, wrong)
        with pytest.raises(InputError, match=r"same image, got images of \(12, 20\) and \(12, 19"):
            mask_iou(good, good[:, :, 1:])


class TestUndeblended:
    def test_nothing(self):
        none = np.zeros((0, *SHAPE), bool)
        assert [len(values) for values in whole(none, none, [])] == [0, 0, 0, 0]

    def test_no_mask_anywhere(self):
        found = whole(np.zeros((1, *SHAPE), bool), masks((0, 3, 0, 3)), [0])
        assert np.isinf(found.x).all() and np.isinf(found.y).all()
        assert (found.iou.tolist(), found.deblended.tolist()) == ([0.0], [False])

    def test_two_that_touch_are_one(self):
        found = whole(masks((0, 3, 0, 3), (4, 5, 0, 3)), masks((0, 3, 0, 3), (2, 5, 0, 3)), [0, 1])
        assert found.x.tolist() == [2.5, 2.5]
        assert found.y.tolist() == [1.5, 1.5]
        assert found.iou.tolist() == [16 / 24, 16 / 24]
        assert found.deblended.tolist() == [True, True]

    def test_corners_touch(self):
        found = whole(masks((0, 1, 0, 1), (2, 3, 2, 3)), masks((0, 1, 0, 1)), [0])
        assert found.iou.tolist() == [0.5]

    def test_two_apart_are_not_deblended(self):
        apart = masks((0, 1, 0, 1), (3, 4, 0, 1))
        found = whole(apart, apart, [0, 1])
        assert found.x.tolist() == [0.5, 3.5]
        assert found.iou.tolist() == [1, 1]
        assert found.deblended.tolist() == [False, False]

    def test_the_match_may_lie_elsewhere(self):
        found = whole(masks((0, 1, 0, 1), (9, 9, 9, 9)), masks((0, 1, 0, 1)), [1])
        assert (found.x.tolist(), found.deblended.tolist()) == ([0.5], [True])

    def test_region_that_shares_most(self):
        found = whole(masks((0, 2, 0, 0), (4, 8, 0, 0)), masks((0, 8, 0, 0)), [0])
        assert found.x.tolist() == [6.0]
        assert found.iou.tolist() == [5 / 9]

    def test_centroid_of_light(self):
        image = np.zeros(SHAPE)
        image[2, 2:5] = 1.0, 0.0, 3.0
        image[3, 2:5] = -5.0, np.nan, np.inf  # no light
        image[2, 5] = 100.0  # outside
        found = whole(masks((2, 4, 2, 3)), masks((2, 4, 2, 3)), [0], image)
        assert (found.x.tolist(), found.y.tolist()) == ([3.5], [2.0])

    def test_centroid_without_light(self):
        found = whole(masks((2, 4, 2, 3)), masks((2, 4, 2, 3)), [0], np.full(SHAPE, -1.0))
        assert (found.x.tolist(), found.y.tolist()) == ([3.0], [2.5])


def test_overlapped_masks():
    assert overlapped(np.zeros((0, 3, 3), bool)).shape == (0,)
    masks = np.zeros((4, 3, 3), bool)
    masks[0, 0, :2] = masks[1, :2, 1] = masks[2, 2] = True  # the last one is empty
    assert overlapped(masks).tolist() == [True, True, False, False]
