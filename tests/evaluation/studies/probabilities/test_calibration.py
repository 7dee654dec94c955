import numpy as np
import pytest

from btk_punet.evaluation.studies.probabilities.calibration import doubtful_scores
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.oracle import Oracle
from tests.evaluation.sayers import PAIR_AND_ONE, RIGHT, SWAPPED, saying
from tests.evaluation.studies.probabilities.collecting import (
    all_predicted,
    collected,
    of_scenes,
    tables_of,
)

# Each scene: two sources 6 pixels apart, and one on its own.
SCENES = [[(20, 20), (26, 20), (45, 45)]] * 10


def scores_of(tables):
    return tables["calibration_scores"].data.set_index(["method", "quantity"])


def test_scenes_without_anything():
    batch = bright_scenes([[], []])
    tables = tables_of(collected(batch, {"m": all_predicted(batch, [], RIGHT)}), ["m"])
    assert {"class_calibration", "calibration_scores"} <= set(tables)
    scores = scores_of(tables)
    assert (scores["n"] == 0).all() and scores["brier_score"].isna().all()


def test_perfect_and_hopeless():
    batch = bright_scenes([PAIR_AND_ONE] * 2)
    found = {
        "perfect": all_predicted(batch, [1, 1, 0] * 2, RIGHT),
        "plain": saying(batch),
        "hopeless": all_predicted(batch, [0, 0, 1] * 2, SWAPPED),
    }
    scores = scores_of(tables_of(collected(batch, found), list(found)))
    quantities = ["p_blend", "background", "isolated", "blended"]
    assert list(scores.index) == [(m, q) for m in ("perfect", "hopeless") for q in quantities]
    assert scores["n"].tolist() == [6, 120, 120, 120] * 2
    assert scores.loc["perfect", "base_rate"].tolist() == [2 / 3, 0, 3 / 4, 1 / 4]
    assert (scores.loc["perfect", ["expected_calibration_error", "brier_score"]] == 0).all().all()
    assert scores.loc["perfect", "brier_skill"].dropna().tolist() == [1, 1, 1]
    # Background is never predicted, and never true.
    wrong = scores.loc["hopeless", ["expected_calibration_error", "brier_score"]]
    assert wrong.to_numpy().tolist() == [[1, 1], [0, 0], [1, 1], [1, 1]]


def test_calibration_is_of_all_candidates():
    """In bounds; whatever the threshold; not only those at the top."""
    scenes = [[*scene, (0, 30)] for scene in SCENES]  # whose fourth source is out of bounds
    tables = of_scenes(scenes, {"oracle": Oracle((0.95, 0.95, 0.25, 0.5), 0.5, spurious=0.05)})
    table = tables["calibration"].data.query("n > 0").set_index("lo")
    assert table["n"].to_dict() == {0.0: 10, 0.2: 10, 0.9: 20}
    assert table["k"].to_dict() == {0.0: 0, 0.2: 10, 0.9: 20}
    np.testing.assert_allclose(table["mean_probability"], [0.05, 0.25, 0.95])
    score = tables["probability_scores"].data.iloc[0]
    assert score["n_candidates"] == 40
    assert score["expected_calibration_error"] == pytest.approx((0.05 + 0.75 + 2 * 0.05) / 4)
    brier = (0.05**2 + 0.75**2 + 2 * 0.05**2) / 4
    assert score["brier_score"] == pytest.approx(brier)
    assert score["brier_skill"] == pytest.approx(1 - brier / (0.75 * 0.25))
    doubtful = tables["doubtful_calibration"].data.iloc[0]
    assert (doubtful["n"], doubtful["base_rate"]) == (10, 1)
    assert doubtful["expected_calibration_error"] == pytest.approx(0.75)


def test_candidates_without_sources_and_counts_alone():
    tables = of_scenes([[], []], {"plain": saying, "oracle": Oracle()})
    assert set(tables) == {"count_calibration", "calibration_scores", "probability_scores"}
    row = tables["probability_scores"].data.iloc[0]
    assert (row["n_candidates"], row["n_scenes"]) == (0, 2) and np.isnan(row["brier_score"])
    tables = of_scenes([[], []], {"plain": saying, "oracle": Oracle(spurious=0.2)})
    assert tables["calibration"].data["n"].sum() == 2
    assert tables["doubtful_calibration"].data["method"].tolist() == ["oracle"]


def test_counts_that_are_never_right():
    batch = bright_scenes([PAIR_AND_ONE] * 3)
    found = {"oracle": Oracle()(batch)}
    for extra in found["oracle"].extra_data:
        extra["count_posterior"] = np.roll(extra["count_posterior"], 2)
    row = scores_of(tables_of(collected(batch, found), ["oracle"])).loc["oracle", "count"]
    assert (row["n"], row["expected_calibration_error"], row["brier_score"]) == (3, 1, 1)


def test_doubtful_candidates():
    assert doubtful_scores([], [])["n"] == 0
    sure = doubtful_scores([0.1, 0.9, 0.95], [0, 1, 1])
    assert sure["n"] == 0 and np.isnan(sure["expected_calibration_error"])
    some = doubtful_scores([0.05, 0.35, 0.65, 0.99], [1, 1, 0, 0])
    assert some["n"] == 2 and some["mean_probability"] == some["base_rate"] == 0.5
    assert some["expected_calibration_error"] == pytest.approx(0.65)
    assert some["error_by_chance"] == pytest.approx((2 / np.pi * 0.35 * 0.65) ** 0.5)
