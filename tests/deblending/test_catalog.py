"""Catalogs of detections: which place stands, the network's or the fit's."""

import dataclasses

import numpy as np
import pytest

from btk_punet.deblending import instances
from btk_punet.deblending.catalog import FootprintLight, detection_catalog
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.footprints import Footprints
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.scenes import Light
from btk_punet.deblending.recipe import DetectionRecipe

from .conftest import make_batch

UNIT_MAGNITUDE = 32.8


def catalog_of(moves, failed, unit_magnitude=UNIT_MAGNITUDE, sky=True):
    """Return the catalog of detections at (10, 20), which the fit moves in x."""
    n = len(moves)
    same = {field.name: np.zeros(n) for field in dataclasses.fields(Candidates)}
    found = Candidates(**(same | {"x": np.full(n, 10.0), "y": np.full(n, 20.0)}))
    values = {field.name: np.ones(n) for field in dataclasses.fields(Light)}
    moved = {"x": 10.0 + np.array(moves), "y": np.full(n, 20.5), "failed": np.array(failed, bool)}
    footprint = FootprintLight(*np.full((4, n), 7.0), np.zeros(n, int), np.zeros(n, int))
    wcs = make_batch(np.zeros((1, 32, 32))).wcs if sky else None
    light = Light(**(values | moved))
    return detection_catalog(found, footprint, light, DetectionRecipe(), "IE", unit_magnitude, wcs)


def test_no_detections():
    assert len(catalog_of([], [])) == 0


def test_the_fit_s_place_unless_it_failed_or_moved_far():
    catalog = catalog_of([0.3, -0.9, 1.2, 0.3], [False, False, False, True])
    assert list(catalog["x_peak"]) == pytest.approx([10.3, 9.1, 10.0, 10.0])
    assert list(catalog["y_peak"]) == pytest.approx([20.5, 20.5, 20.0, 20.0])
    assert list(catalog["x_err"]) == [1, 1, 0, 0]
    # A place that does not stand takes no flux with it.
    assert list(catalog["flux"]) == [1, 1, 1, 7]
    assert list(catalog["flags"]) == [0, 0, 0, int(DetectionFlag.FIT_FAILED)]


def test_magnitudes_by_hand():
    catalog = catalog_of([0.0, 0.0], [False, True])  # of 1 and 7 electrons
    np.testing.assert_allclose(catalog["mag_IE"], [32.8, 32.8 - 2.5 * np.log10(7)])
    np.testing.assert_allclose(catalog["mag_err_IE"], 1.0857 * np.ones(2), rtol=1e-4)


def test_without_zero_point_and_sky():
    catalog = catalog_of([0.0], [False], np.nan, sky=False)
    assert np.isnan(catalog["mag_IE"]).all()
    assert catalog["mag_err_IE"][0] == pytest.approx(1.0857, rel=1e-4)
    assert catalog.colnames[:2] == ["x_peak", "y_peak"]


def test_light_of_footprints_under_a_map_of_variances():
    """Two sources that share a pixel; the first has a pixel of its own under 100 electron^2."""
    footprints = Footprints(
        np.array([0, 0, 1, 1]),
        np.array([5, 5, 5, 5]),
        np.array([3, 4, 4, 5]),
        np.array([True, True, False, True]),
        2,
        (9, 9),
    )
    image, variance = np.zeros((9, 9)), np.full((9, 9), 16.0)
    image[5, 3:6] = 10.0, 8.0, -6.0
    variance[5, 3] = 100.0
    classes = np.zeros((3, 9, 9))
    classes[2, 5, 4] = 0.75
    usable = np.ones((9, 9), bool)
    light = FootprintLight.measure(footprints, image, usable, classes, variance)
    np.testing.assert_allclose(light.flux, [14.0, -2.0])
    np.testing.assert_allclose(light.flux_err, np.sqrt([110 + 24 / 4, 16 + 24 / 4]))
    np.testing.assert_array_equal(light.n_pixels, [2, 2])
    np.testing.assert_array_equal(light.overlap, [0.75, 0.75])
    assert light.blend_id[0] == light.blend_id[1]


def test_light_of_no_footprints():
    footprints = instances.footprints(np.zeros(0), np.zeros(0), np.zeros((3, 9, 9)))
    ones = np.ones((9, 9))
    light = FootprintLight.measure(footprints, ones, ones > 0, np.zeros((3, 9, 9)), ones)
    assert all(len(getattr(light, column.name)) == 0 for column in dataclasses.fields(light))
