import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.probabilities.batch import batch_probabilities
from btk_punet.evaluation.studies.probabilities.probability_tables import (
    probability_tables,
    without_missed,
)
from tests.evaluation.conftest import bright_scenes, deblend_batch, detection_table
from tests.evaluation.oracle import Oracle
from tests.evaluation.studies.probabilities.test_blend_identification import POSITIONS, SAID, said

# Each scene: two sources 6 pixels apart, and one on its own.
SCENES = [[(20, 20), (26, 20), (45, 45)]] * 10


def summed_up(positions, methods):
    """Return the tables of methods on bright scenes: of deblenders, or of what they return."""
    batch = bright_scenes(positions)
    found = {name: method(batch) for name, method in methods.items()}
    truth, detections = batch_tables(batch, found)
    probabilities = batch_probabilities(batch, found, truth, detections)
    return probability_tables(probabilities, truth, detections, list(methods))


def plain(x, y):
    """Return a method that finds the same places in each scene, without probabilities."""

    def method(batch):
        return deblend_batch([detection_table(batch, x, y) for _ in range(batch.batch_size)])

    return method


def test_nothing():
    assert summed_up([[], []], {"plain": plain([], [])}) == {}
    tables = summed_up([[], []], {"plain": plain([], []), "oracle": Oracle()})
    assert list(tables) == ["count_calibration", "calibration_scores", "probability_scores"]
    row = tables["probability_scores"].iloc[0]
    assert (row["n_candidates"], row["n_scenes"]) == (0, 2)
    assert np.isnan(row["brier_score"])


def test_candidates_without_sources():
    tables = summed_up([[], []], {"plain": plain([], []), "oracle": Oracle(spurious=0.2)})
    assert set(tables) == {
        "purity_completeness",
        "calibration",
        "calibration_by_magnitude",
        "calibration_by_neighbour_distance",
        "count_calibration",
        "calibration_scores",
        "probability_scores",
    }
    assert np.isnan(tables["purity_completeness"]["completeness"]).all()


def test_equal_purity():
    # The other one finds one of the pair and the single source, with one false detection; the
    # oracle all three for sure, and the false one at 0.2.
    methods = {"other": plain([20, 45, 5], [20, 45, 5]), "oracle": Oracle((0.9,), spurious=0.2)}
    tables = summed_up(SCENES, methods)
    margins = tables["equal_purity"]
    assert margins[["detector", "method"]].to_numpy().tolist() == [["oracle", "other"]]
    row = margins.iloc[0]
    assert row["purity"] == pytest.approx(2 / 3)
    assert (row["completeness"], row["completeness_other"]) == (1.0, pytest.approx(2 / 3))
    # All scenes are alike, so every draw of them is.
    for name in ("margin", "margin_lo", "margin_hi", "margin_lo_95", "margin_hi_95"):
        assert row[name] == pytest.approx(1 / 3)
    by_distance = tables["equal_purity_by_neighbour_distance"].set_index("lo")
    assert by_distance["n"].to_dict() == {0.5: 20, 2.0: 10}
    assert by_distance["margin"].to_dict() == {0.5: pytest.approx(1 / 2), 2.0: 0.0}


def test_detectors_are_compared_with_each_other():
    tables = summed_up(SCENES, {"sure": Oracle((0.9,)), "halting": Oracle((0.9, 0.3, 0.8))})
    pairs = tables["equal_purity"][["detector", "method"]].to_numpy().tolist()
    assert pairs == [["sure", "halting"], ["halting", "sure"]]
    assert tables["equal_purity"]["margin"].tolist() == [pytest.approx(1 / 3), 0.0]


def test_purity_completeness_is_of_each_threshold():
    tables = summed_up(SCENES, {"oracle": Oracle((0.9, 0.6, 0.3), spurious=0.2)})
    curve = tables["purity_completeness"]
    assert curve["threshold"].tolist() == [0.2, 0.3, 0.6, 0.9]
    assert curve["n_detections"].tolist() == [40, 30, 20, 10]
    assert curve["purity"].tolist() == [0.75, 1, 1, 1]
    np.testing.assert_allclose(curve["completeness"], [1, 1, 2 / 3, 1 / 3])
    assert "equal_purity" not in tables


def test_calibration_is_of_all_candidates():
    """In bounds; whatever the threshold; not only those at the top."""
    scenes = [[*scene, (0, 30)] for scene in SCENES]  # whose fourth source is out of bounds
    tables = summed_up(scenes, {"oracle": Oracle((0.95, 0.95, 0.25, 0.5), 0.5, spurious=0.05)})
    table = tables["calibration"].query("n > 0").set_index("lo")
    assert table["n"].to_dict() == {0.0: 10, 0.2: 10, 0.9: 20}
    assert table["k"].to_dict() == {0.0: 0, 0.2: 10, 0.9: 20}
    np.testing.assert_allclose(table["mean_probability"], [0.05, 0.25, 0.95])
    score = tables["probability_scores"].iloc[0]
    assert score["n_candidates"] == 40
    assert score["expected_calibration_error"] == pytest.approx((0.05 + 0.75 + 2 * 0.05) / 4)
    brier = (0.05**2 + 0.75**2 + 2 * 0.05**2) / 4
    assert score["brier_score"] == pytest.approx(brier)
    assert score["brier_skill"] == pytest.approx(1 - brier / (0.75 * 0.25))


@pytest.mark.parametrize("max_n_sources", [3, 10])
def test_right_counts_leave_a_gap_by_chance_only(max_n_sources):
    tables = summed_up(SCENES * 20, {"oracle": Oracle(max_n_sources=max_n_sources)})
    score = tables["probability_scores"].iloc[0]
    assert score["n_scenes"] == 200
    assert score["count_gap_by_chance"] == pytest.approx(1.36 / 200**0.5)
    assert score["largest_count_gap"] < score["count_gap_by_chance"]


def test_wrong_counts_leave_a_gap():
    batch = bright_scenes(SCENES)
    found = {"oracle": Oracle()(batch)}
    for extra in found["oracle"].extra_data:
        extra["count_posterior"] = np.roll(extra["count_posterior"], 2)
    truth, detections = batch_tables(batch, found, with_limit=False)
    probabilities = batch_probabilities(batch, found, truth, detections)
    tables = probability_tables(probabilities, truth, detections, ["oracle"])
    assert tables["probability_scores"]["largest_count_gap"].tolist() == [1.0]


def test_last_probability_of_the_count_is_that_of_more_too():
    counts = pd.DataFrame({"scene": range(50), "method": "m", "true_count": 7, "p_0": 0.0})
    counts["p_1"] = 1.0
    empty = pd.DataFrame({"method": pd.Series([], dtype=str)})
    tables = probability_tables({"counts": counts}, empty, empty, ["m"])
    assert tables["probability_scores"]["largest_count_gap"].iloc[0] < 1.36 / 50**0.5


def test_blend_identification_is_handed_through():
    batch = bright_scenes(POSITIONS)
    found = {"maps": said(batch, SAID)}
    truth, detections = batch_tables(batch, found, with_limit=False)
    probabilities = batch_probabilities(batch, found, truth, detections)
    tables = probability_tables(probabilities, truth, detections, ["maps"])
    assert list(tables) == ["blend_identification"]
    assert set(without_missed(tables["blend_identification"])["quantity"]) == {
        "purity",
        "completeness",
    }
