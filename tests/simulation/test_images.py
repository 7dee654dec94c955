"""Images of one's own as batches."""

import numpy as np
import pytest
from btk.survey import get_surveys

from btk_punet import SepDeblender, get_euclid_survey, image_batch
from btk_punet.errors import InputError


@pytest.fixture(scope="module")
def survey():
    return get_euclid_survey()


def test_no_images(survey):
    assert image_batch(np.zeros((0, 1, 64, 64)), survey).catalog_list == []


def test_one_image_of_any_size(survey):
    image = np.random.default_rng(1).normal(0, 26.45, (82, 82))
    image[30:34, 50:54] += 1000
    batch = image_batch(image, survey)
    assert batch.image_size == 82  # where BTK's int(8.2 / 0.1) is 81
    np.testing.assert_array_equal(batch.blend_images[0, 0], image)
    assert batch.psf[0].calculateFWHM() == pytest.approx(0.16, abs=0.005)
    (found,) = SepDeblender(5)(batch).catalog_list
    assert (found["x_peak"][0], found["y_peak"][0]) == pytest.approx((51.5, 31.5), abs=0.3)


def test_several_bands_and_psfs_that_are_functions():
    lsst = get_surveys("LSST")
    batch = image_batch(np.zeros((2, 6, 30, 30)), lsst)
    assert batch.batch_size == 2 and len(batch.psf) == 6


@pytest.mark.parametrize("shape", [(64,), (3, 64, 64), (1, 2, 64, 64), (60, 64)])
def test_other_shapes(survey, shape):
    with pytest.raises(InputError, match=r"square images of the shape \(n, 1, H, H\) for Euclid"):
        image_batch(np.zeros(shape), survey)
