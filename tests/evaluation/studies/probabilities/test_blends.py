import numpy as np

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.probabilities.blends import blend_probabilities, has_p_blend
from tests.evaluation.conftest import bright_scenes, deblend_batch
from tests.evaluation.sayers import PAIR_AND_ONE, saying


def rows_of(batch, found, first_scene=0):
    _, detections = batch_tables(batch, found, first_scene, with_limit=False)
    return blend_probabilities(batch, found, detections, first_scene)


def test_nothing():
    batch = bright_scenes([[], []])
    rows = rows_of(batch, {"m": saying(batch, p_blend=[])})
    assert len(rows) == 0
    assert {"p_blend", "overlapped", "magnitude"} <= set(rows.columns)
    assert not has_p_blend(deblend_batch([]))


def test_methods_without_p_blend_are_left_out():
    batch = bright_scenes([PAIR_AND_ONE])
    found = {
        "plain": saying(batch, [PAIR_AND_ONE]),
        "m": saying(batch, [[(45, 45)]], p_blend=[0.2]),
    }
    rows = rows_of(batch, found)
    assert rows["method"].tolist() == ["m"]
    assert rows["overlapped"].tolist() == [False]


def test_matched_detections_in_bounds_counted_by_hand():
    # Both of a pair, the single one, a false one; one alone; one that is out of bounds.
    batch = bright_scenes([PAIR_AND_ONE, [(30, 30)], [(1, 30)]])
    places = [[*PAIR_AND_ONE, (10, 50)], [(30, 30)], [(1, 30)]]
    p_blend = [0.9, 0.8, 0.3, 0.7, 0.1, 0.6]
    rows = rows_of(batch, {"m": saying(batch, places, p_blend=p_blend)}, first_scene=7)
    assert rows["scene"].tolist() == [7, 7, 7, 8]
    assert rows["p_blend"].tolist() == [0.9, 0.8, 0.3, 0.1]
    assert rows["overlapped"].tolist() == [True, True, False, False]
    np.testing.assert_allclose(rows["neighbour_distance_arcsec"][:2], 0.2)


def test_faint_sources_overlap_too():
    """The source that was matched is overlapped by one that no method finds."""
    batch = bright_scenes([[(20, 20), (24, 20)]])
    rows = rows_of(batch, {"m": saying(batch, [[(20, 20)]], p_blend=[0.5])})
    assert rows["overlapped"].tolist() == [True]
