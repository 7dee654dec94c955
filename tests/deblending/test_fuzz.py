"""Any small array of numbers either works, with a catalog of finite places, or is refused."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.sep import SepDeblender
from btk_punet.errors import BtkPunetError, BtkPunetWarning
from btk_punet.simulation.images import image_batch
from btk_punet.simulation.survey import get_euclid_survey

SURVEY = get_euclid_survey()
MAX_N_SOURCES = 20
# Few that are images, since a network is compiled for each size.
SHAPES = [(1, 1), (8, 8), (1, 1, 8, 8), (2, 1, 8, 8), (0, 1, 8, 8)]
NO_SHAPES = [(), (3,), (0, 0), (8, 3), (1, 8, 8), (1, 2, 8, 8), (1, 1, 0, 0)]
ALWAYS_FINITE = {"p_detect", "x_peak", "y_peak", "x_err", "y_err", "flux", "flux_err", "flux_iso"}
DTYPES = ["f2", "f4", "f8", ">f4", "i2", "u1", "?", "c8"]


@st.composite
def images(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    elements = None
    if dtype.kind == "f":
        # Values of the size of a galaxy's too, which draws from all floats hardly ever are.
        elements = st.floats(width=8 * dtype.itemsize) | st.integers(-500, 5000)
    array = draw(arrays(dtype, st.sampled_from(SHAPES + NO_SHAPES), elements=elements))
    return draw(st.sampled_from([array, array.copy(order="F"), np.flip(array)]))


@pytest.fixture(scope="module")
def deblenders(network):
    return [
        SepDeblender(MAX_N_SOURCES),
        ProbaUNetDeblender(MAX_N_SOURCES, network, n_samples=2, threshold=0.1),
    ]


@settings(
    max_examples=80,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(images())
@example(np.full((8, 8), 5e-324))
@example(np.full((8, 8), np.nan))
@example(np.where(np.eye(8), np.nan, 3000))
@example(np.where(np.eye(8), 1e300, 3000))
@example(np.full((2, 1, 8, 8), 9e24))
@example(np.full((8, 8), -9e24, "f4"))
def test_any_array(deblenders, images):
    try:
        batch = image_batch(images, SURVEY)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BtkPunetWarning)
            deblended = [deblender(batch) for deblender in deblenders]
    except BtkPunetError:
        assert images.shape in NO_SHAPES or images.dtype.kind not in "fiu"
        return
    assert images.shape in SHAPES and images.dtype.kind in "fiu"
    for found in deblended:
        assert found.segmentation.shape == (len(batch.blend_images), 20, *images.shape[-2:])
        for catalog in found.catalog_list:
            for name in ALWAYS_FINITE & {*catalog.colnames}:
                assert np.isfinite(catalog[name]).all(), name
