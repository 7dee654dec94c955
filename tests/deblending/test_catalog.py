"""Catalogs of detections: which place stands, the network's or the fit's."""

import dataclasses

import numpy as np
import pytest
from btk.survey import get_surveys

from btk_punet.deblending.catalog import FootprintLight, detection_catalog
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light import Light
from btk_punet.deblending.recipe import DetectionRecipe

from .conftest import make_batch

BAND = get_surveys("Euclid_VIS").get_filter("IE")


def catalog_of(moves, failed):
    """Return the catalog of detections at (10, 20), which the fit moves in x."""
    n = len(moves)
    same = {field.name: np.zeros(n) for field in dataclasses.fields(Candidates)}
    found = Candidates(**(same | {"x": np.full(n, 10.0), "y": np.full(n, 20.0)}))
    values = {field.name: np.ones(n) for field in dataclasses.fields(Light)}
    moved = {"x": 10.0 + np.array(moves), "y": np.full(n, 20.5), "failed": np.array(failed, bool)}
    footprint = FootprintLight(*np.full((4, n), 7.0), np.zeros(n, int), np.zeros(n, int))
    wcs = make_batch(np.zeros((1, 32, 32))).wcs
    return detection_catalog(
        found, footprint, Light(**(values | moved)), DetectionRecipe(), BAND, wcs
    )


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
