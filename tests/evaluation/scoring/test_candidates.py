"""Candidates as rows, and which of them bring a match when the threshold falls to them."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.candidates import (
    CANDIDATE_COLUMNS,
    batch_candidates,
    extra_of_scenes,
    outcomes,
)
from btk_punet.evaluation.scoring.matching import Matcher
from tests.evaluation.conftest import bright_scenes, deblend_batch, detection_table
from tests.evaluation.oracle import Oracle

# Two sources far apart; one; none.
SCENES = [[(20, 20), (40, 40)], [(30, 30)], []]


def candidates_of(batch, found, first_scene=0):
    truth, _ = batch_tables(batch, found, first_scene, with_limit=False)
    return batch_candidates(batch, found, truth, first_scene)


def test_methods_without_candidates():
    batch = bright_scenes(SCENES)
    plain = deblend_batch([detection_table(batch, [20], [20]) for _ in SCENES])
    assert extra_of_scenes({"plain": plain}, "candidates") == {}
    assert len(candidates_of(batch, {"plain": plain})) == 0
    both = candidates_of(batch, {"plain": plain, "oracle": Oracle()(batch)})
    assert set(both["method"]) == {"oracle"}


def test_scenes_without_anything():
    batch = bright_scenes([[], []])
    table = candidates_of(batch, {"oracle": Oracle()(batch)})
    assert len(table) == 0 and list(table) == [column.name for column in CANDIDATE_COLUMNS]


def test_candidates_are_rows_like_detections():
    batch = bright_scenes(SCENES)
    found = {"oracle": Oracle((0.9, 0.3), spurious=0.1)(batch)}
    table = candidates_of(batch, found, first_scene=10)
    assert table["scene"].tolist() == [10, 10, 10, 11, 11, 12]
    assert table["candidate"].tolist() == [0, 1, 2, 0, 1, 0]
    assert table["p_detect"].tolist() == [0.9, 0.3, 0.1, 0.9, 0.1, 0.1]
    assert table["matched"].tolist() == [True, True, False, True, False, False]
    assert table["source"].tolist() == [0, 1, -1, 0, -1, -1]
    assert table["in_bounds"].all()
    assert table["outcome"].tolist() == table["matched"].tolist()
    _, detections = batch_tables(batch, found, 10, with_limit=False)
    shared = ["scene", "method", "x", "y", "ra", "dec", "aperture_flux", "magnitude", "p_detect"]
    assert detections["x"].tolist() == [20, 30]
    as_found = table[table["p_detect"] >= 0.5].reset_index(drop=True)
    pd.testing.assert_frame_equal(as_found[shared], detections[shared])


def test_improbable_candidates_are_left_out():
    batch = bright_scenes(SCENES)
    table = candidates_of(batch, {"oracle": Oracle((0.9, 0.019))(batch)})
    assert table[["scene", "x"]].to_numpy().tolist() == [[0, 20], [1, 30]]


def test_outcomes_without_sources():
    candidates = {
        name: np.array([value]) for name, value in (("x", 5), ("y", 5), ("p_detect", 0.5))
    }
    truth = dict.fromkeys(("x", "y", "alone_snr"), np.zeros(0))
    assert outcomes(truth, candidates, Matcher(0.3, 0.1)).tolist() == [False]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_the_surer_of_two_candidates_of_a_source_brings_the_match(order):
    # The nearer one, which is matched when all are matched at once, comes too late. The second
    # source is too faint to be matched.
    truth = {"x": [20.0, 40.0], "y": [20.0, 20.0], "alone_snr": [9.0, 1.0]}
    candidates = {"x": [20.0, 22.0, 40.0], "y": [20.0] * 3, "p_detect": [0.3, 0.6, 0.9]}
    found = outcomes(
        {name: np.array(values) for name, values in truth.items()},
        {name: np.array(values)[order] for name, values in candidates.items()},
        Matcher(0.3, 0.1),
    )
    np.testing.assert_array_equal(found, np.array([False, True, False])[order])
