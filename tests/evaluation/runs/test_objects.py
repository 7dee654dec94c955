"""Margins over galaxies: which galaxy a detection belongs to, by hand."""

import pandas as pd

from btk_punet.evaluation.runs.objects import with_nearest_object

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
