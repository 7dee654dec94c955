"""Margins over galaxies: which galaxy a detection belongs to, and which scenes count, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from btk_punet import EuclidCatalog, EuclidGenerator, EuclidPairSampling, get_euclid_survey
from btk_punet.evaluation.runs.objects import margins_by_object, with_nearest_object
from tests.evaluation.studies.equal_purity.test_of_run import run_of

TRUTH = pd.DataFrame(
    {"scene": [0, 0, 2], "method": "a", "x": [10.0, 30.0, 5.0], "y": [10.0, 10.0, 5.0],
     "object": [7, -3, 7]}
)  # fmt: skip


def test_no_detections():
    none = pd.DataFrame({"scene": [], "x": [], "y": []})
    assert list(with_nearest_object(none, TRUTH)["object"]) == []


def test_the_nearest_source_of_the_scene():
    found = pd.DataFrame(
        {"scene": [0, 0, 2, 1], "x": [12.0, 25.0, 40.0, 5.0], "y": [10.0, 10.0, 40.0, 5.0]}
    )
    # A scene without sources is an object of its own: 7 + 1, and the scene's 1 on top.
    assert list(with_nearest_object(found, TRUTH)["object"]) == [7, -3, 7, 9]


def test_a_scene_that_the_first_method_lacks():
    of_another = TRUTH[TRUTH["scene"] == 2].assign(method="b")
    truth = pd.concat([TRUTH[TRUTH["scene"] == 0], of_another])
    found = pd.DataFrame({"scene": [2], "x": [40.0], "y": [40.0]})
    assert list(with_nearest_object(found, truth)["object"]) == [7]


@pytest.fixture(scope="module")
def pairs():
    """Scenes of two galaxies, of four in all."""
    catalog = EuclidCatalog.simulate(4, seed=1)
    catalog.table["object_id"] = np.arange(4)
    sampling = EuclidPairSampling(max_mag=30.0)
    return EuclidGenerator(catalog, sampling, get_euclid_survey(), seed=1)


@pytest.mark.parametrize("order", [["sep", "whole", "net"], ["net", "whole", "sep"]])
def test_methods_that_lack_scenes(pairs, order):
    table = margins_by_object(run_of(*order), pairs, n_bootstrap=20)
    assert (table["detector"] == "net").all()
    table = table.set_index("method")
    columns = ["n_scenes", "n", "purity", "completeness_other", "completeness"]
    # As over scenes, where they are counted.
    expected = [[2, 4, 3 / 4, 3 / 4, 1], [3, 6, 3 / 4, 3 / 6, 3 / 6]]
    np.testing.assert_allclose(table.loc[["sep", "whole"], columns], expected)


def test_nobody_to_compare_with(pairs):
    assert margins_by_object(run_of("net"), pairs, n_bootstrap=2).empty
    run = run_of("sep", "net")
    none = replace(run, tidy={**run.tidy, "candidates": run.tidy["candidates"][:0]})
    assert margins_by_object(none, pairs, n_bootstrap=2).empty
