"""What is special to photutils; the rest is in `test_sep` and `test_contract`."""

import numpy as np
import pytest
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources
from scipy import ndimage

from btk_punet.deblending.photutils import _LEVELS, PhotutilsDeblender

from .conftest import SIGMA, gaussian, make_batch, random_scenes


@pytest.mark.parametrize(
    ("thresh", "minarea", "deblend_cont", "nthresh"), [(1.2, 5, 5e-4, 64), (1.5, 8, 0.005, 32)]
)
def test_equals_the_direct_call(thresh, minarea, deblend_cont, nthresh):
    batch = make_batch(random_scenes(10, seed=1))
    deblended = PhotutilsDeblender(200, thresh, minarea, deblend_cont, nthresh)(batch)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for ii, catalog in enumerate(deblended.catalog_list):
        image = batch.blend_images[ii, 0]
        smooth = ndimage.convolve(image, kernel, mode="constant")
        found = detect_sources(smooth, thresh * SIGMA, minarea)
        options = {"contrast": deblend_cont, _LEVELS: nthresh, "progress_bar": False}
        found = deblend_sources(smooth, found, minarea, **options)
        expected = SourceCatalog(image, found, convolved_data=smooth)
        order = np.argsort(-expected.segment_flux, kind="stable")
        assert len(catalog) == len(order)
        np.testing.assert_allclose(catalog["flux"], expected.segment_flux[order], rtol=1e-6)
        positions = np.stack([catalog["x_peak"], catalog["y_peak"]], axis=1)
        np.testing.assert_allclose(positions, expected.centroid[order], atol=1e-4)
        for row, label in enumerate(found.labels[order]):
            np.testing.assert_array_equal(deblended.segmentation[ii, row], found.data == label)


def test_split_at_the_saddle():
    blend = gaussian(27.0, 31.0, 20000) + gaussian(36.0, 31.0, 10000)
    batch = make_batch([blend])
    deblended = PhotutilsDeblender(5)(batch)
    np.testing.assert_allclose(deblended.catalog_list[0]["x_peak"], [27, 36], atol=0.3)
    assert deblended.segmentation[0, 0, 31, 31]  # below the saddle at 32
    assert deblended.segmentation[0, 1, 31, 33]
    (whole,) = PhotutilsDeblender(5, deblend_cont=1)(batch).catalog_list
    assert len(whole) == 1
