import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.probabilities.batch import (
    batch_probabilities,
    joined_probabilities,
)
from btk_punet.evaluation.studies.probabilities.blend_identification import FLAG_THRESHOLDS
from tests.evaluation.conftest import bright_scenes, deblend_batch, detection_table
from tests.evaluation.oracle import Oracle
from tests.evaluation.studies.probabilities.test_blend_identification import POSITIONS, SAID, said

# Two sources far apart; one; none.
SCENES = [[(20, 20), (40, 40)], [(30, 30)], []]


def collected(batch, found, first_scene=0):
    truth, detections = batch_tables(batch, found, first_scene, with_limit=False)
    return batch_probabilities(batch, found, truth, detections, first_scene)


def test_scenes_without_anything():
    batch = bright_scenes([[], []])
    tables = collected(batch, {"oracle": Oracle()(batch)})
    assert list(tables) == ["candidates", "counts"]
    assert len(tables["candidates"]) == 0
    assert tables["counts"]["true_count"].tolist() == [0, 0]


def test_methods_without_probabilities():
    batch = bright_scenes(SCENES)
    found = deblend_batch([detection_table(batch, [20], [20]) for _ in SCENES])
    assert collected(batch, {"plain": found}) == {}
    assert joined_probabilities({"candidates": [], "counts": []}, ["plain"]) == {}


def test_candidates_are_rows_like_detections():
    batch = bright_scenes(SCENES)
    found = {"oracle": Oracle((0.9, 0.3), spurious=0.1)(batch)}
    table = collected(batch, found, first_scene=10)["candidates"]
    assert table["scene"].tolist() == [10, 10, 10, 11, 11, 12]
    assert table["candidate"].tolist() == [0, 1, 2, 0, 1, 0]
    assert table["p_detect"].tolist() == [0.9, 0.3, 0.1, 0.9, 0.1, 0.1]
    assert table["matched"].tolist() == [True, True, False, True, False, False]
    assert table["source"].tolist() == [0, 1, -1, 0, -1, -1]
    assert table["in_bounds"].all()
    _, detections = batch_tables(batch, found, 10, with_limit=False)
    shared = ["scene", "method", "x", "y", "ra", "dec", "aperture_flux", "magnitude", "p_detect"]
    assert detections["x"].tolist() == [20, 30]
    as_found = table[table["p_detect"] >= 0.5].reset_index(drop=True)
    pd.testing.assert_frame_equal(as_found[shared], detections[shared])


def test_hopeless_candidates_are_left_out():
    batch = bright_scenes(SCENES)
    table = collected(batch, {"oracle": Oracle((0.9, 0.019))(batch)})["candidates"]
    assert table[["scene", "x"]].to_numpy().tolist() == [[0, 20], [1, 30]]


def test_counts():
    batch = bright_scenes(SCENES)
    found = {"few": Oracle(max_n_sources=2)(batch), "many": Oracle(max_n_sources=3)(batch)}
    table = collected(batch, found, 5)["counts"]
    assert table["scene"].tolist() == [5, 6, 7, 5, 6, 7]
    assert table["true_count"].tolist() == [2, 1, 0, 2, 1, 0]
    assert table["p_2"].tolist() == [1, 0, 0, 1, 0, 0]
    assert table["p_3"].isna().tolist() == [True] * 3 + [False] * 3


def test_blend_identification():
    batch = bright_scenes(POSITIONS)
    tables = collected(batch, {"maps": said(batch, SAID)})
    assert list(tables) == ["blend_identification"]
    table = tables["blend_identification"]
    assert len(table) == 2 * len(FLAG_THRESHOLDS) + 1
    # Two true blends, of which one has no object on it.
    assert table.loc[table["quantity"] == "missed", ["n", "k"]].to_numpy().tolist() == [[2, 1]]
    at_most = table[(table["quantity"] == "purity") & (table["threshold"] == 1.0)]
    assert at_most[["n", "k"]].to_numpy().tolist() == [[4, 1]]


@pytest.mark.parametrize("backwards", [False, True])
def test_parts_make_the_whole(backwards):
    """Whatever the batches, and in whichever order they come."""
    both = {"b": Oracle((0.9, 0.3), spurious=0.4), "a": Oracle((0.6,))}
    parts = {"candidates": [], "counts": []}
    first = 0
    for positions in (SCENES[:2], SCENES[2:], SCENES):
        batch = bright_scenes(positions)
        tables = collected(batch, {name: method(batch) for name, method in both.items()}, first)
        for name, table in tables.items():
            parts[name].insert(0 if backwards else first, table)
        first += len(positions)
    whole = bright_scenes(SCENES + SCENES)
    expected = collected(whole, {name: method(whole) for name, method in both.items()})
    joined = joined_probabilities(parts, ["b", "a"])
    for name, table in expected.items():
        pd.testing.assert_frame_equal(joined[name], table)


def test_counts_of_blends_add_up():
    batch = bright_scenes(POSITIONS)
    table = collected(batch, {"maps": said(batch, SAID)})["blend_identification"]
    joined = joined_probabilities({"blend_identification": [table, table]}, ["sep", "maps"])
    doubled = joined["blend_identification"]
    assert doubled["n"].tolist() == (2 * table["n"]).tolist()
    assert doubled["k"].tolist() == (2 * table["k"]).tolist()
    np.testing.assert_array_equal(doubled["value"], table["value"])
    assert set(doubled["method"]) == {"maps"}
