import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.probabilities.batch import (
    batch_probabilities,
    joined_probabilities,
)
from btk_punet.evaluation.studies.probabilities.calibration_tables import (
    binned_reliability,
    calibration_tables,
)
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.oracle import Oracle
from tests.evaluation.sayers import PAIR_AND_ONE, RIGHT, SWAPPED, maps, saying

BINS = ["lo", "hi", "n", "k", "mean_probability", "value"]


def collected(batch, found, first_scene=0):
    truth, detections = batch_tables(batch, found, first_scene, with_limit=False)
    return batch_probabilities(batch, found, truth, detections, first_scene)


def everything_said(batch, p_blend, said):
    """Return the output of a method that says p_blend and classes, and finds everything."""
    places = [list(zip(t["x_peak"], t["y_peak"], strict=True)) for t in batch.catalog_list]
    return saying(batch, places, maps(batch, said, variance_of_wrong=0.5), p_blend=p_blend)


def scores_of(tables):
    return tables["calibration_scores"].set_index(["method", "quantity"])


def test_nothing():
    assert calibration_tables({}, ["plain"]) == {}
    batch = bright_scenes([[], []])
    assert calibration_tables(collected(batch, {"plain": saying(batch)}), ["plain"]) == {}


def test_scenes_without_anything():
    batch = bright_scenes([[], []])
    probabilities = collected(batch, {"m": everything_said(batch, [], RIGHT)})
    tables = calibration_tables(probabilities, ["m"])
    assert list(tables) == ["class_calibration", "calibration_scores"]
    scores = scores_of(tables)
    assert (scores["n"] == 0).all() and scores["brier_score"].isna().all()


def test_perfect_and_hopeless():
    batch = bright_scenes([PAIR_AND_ONE] * 2)
    found = {
        "perfect": everything_said(batch, [1, 1, 0] * 2, RIGHT),
        "plain": saying(batch),
        "hopeless": everything_said(batch, [0, 0, 1] * 2, SWAPPED),
    }
    scores = scores_of(calibration_tables(collected(batch, found), list(found)))
    quantities = ["p_blend", "background", "isolated", "blended"]
    assert list(scores.index) == [(m, q) for m in ("perfect", "hopeless") for q in quantities]
    assert scores["n"].tolist() == [6, 120, 120, 120] * 2
    assert scores.loc["perfect", "base_rate"].tolist() == [2 / 3, 0, 3 / 4, 1 / 4]
    assert (scores.loc["perfect", ["expected_calibration_error", "brier_score"]] == 0).all().all()
    assert scores.loc["perfect", "brier_skill"].dropna().tolist() == [1, 1, 1]
    # Background is never said, and never so.
    wrong = scores.loc["hopeless", ["expected_calibration_error", "brier_score"]]
    assert wrong.to_numpy().tolist() == [[1, 1], [0, 0], [1, 1], [1, 1]]


def test_blends_by_magnitude_and_distance():
    # The pair is 0.2 arcsec apart; the single source 3.4 arcsec from it.
    batch = bright_scenes([PAIR_AND_ONE])
    found = {"m": everything_said(batch, [0.9, 0.6, 0.25], RIGHT)}
    tables = calibration_tables(collected(batch, found), ["m"])
    some = tables["calibration_by_neighbour_distance"].query("n > 0")
    assert set(some["quantity"]) == {"p_blend"}
    assert some[BINS].to_numpy().tolist() == [[0, 0.3, 2, 2, 0.75, 1], [2, np.inf, 1, 0, 0.25, 0]]
    np.testing.assert_allclose(some["expected_calibration_error"], [0.25, 0.25])
    np.testing.assert_allclose(some["brier_score"], [(0.1**2 + 0.4**2) / 2, 0.25**2])
    interval = fractions(np.array([2, 1]), np.array([2, 0]))[["value_lo", "value_hi"]]
    np.testing.assert_array_equal(some[["value_lo", "value_hi"]], interval)
    by_magnitude = tables["calibration_by_magnitude"]
    assert by_magnitude["n"].sum() == 3
    table = tables["blend_calibration"].query("n > 0")
    assert table["lo"].tolist() == [0.2, 0.6, 0.9]


def test_candidates_by_distance():
    """To the nearest other candidate, whether or not it is above the threshold."""
    batch = bright_scenes([[(20, 20), (26, 20), (45, 45)]])
    found = {"oracle": Oracle((0.9, 0.3, 0.8))(batch)}
    table = calibration_tables(collected(batch, found), ["oracle"])
    some = table["calibration_by_neighbour_distance"].query("n > 0")
    np.testing.assert_allclose(
        some[BINS].astype(float), [[0.5, 0.8, 2, 2, 0.6, 1], [2, np.inf, 1, 1, 0.8, 1]]
    )
    count = table["count_calibration"].query("n > 0")
    assert count[["lo", "n", "k", "mean_probability"]].to_numpy().tolist() == [[0.9, 1, 1, 1]]


def test_detections_without_light_have_a_bin():
    magnitude = [22.1, np.inf, 22.4, np.inf]
    table = binned_reliability(magnitude, [0.5, 0.2, 0.7, 0.4], [1, 0, 1, 1], "magnitude")
    some = table.query("n > 0")
    np.testing.assert_allclose(
        some[BINS], [[22, 22.5, 2, 2, 0.6, 1], [np.inf, np.inf, 2, 1, 0.3, 0.5]]
    )
    assert table.columns.tolist()[:5] == ["lo", "hi", "n", "k", "mean_probability"]


def test_counts_that_are_never_right():
    batch = bright_scenes([PAIR_AND_ONE] * 3)
    found = {"oracle": Oracle()(batch)}
    for extra in found["oracle"].extra_data:
        extra["count_posterior"] = np.roll(extra["count_posterior"], 2)
    scores = scores_of(calibration_tables(collected(batch, found), ["oracle"]))
    row = scores.loc["oracle", "count"]
    assert (row["n"], row["expected_calibration_error"], row["brier_score"]) == (3, 1, 1)


@pytest.mark.parametrize("backwards", [False, True])
def test_parts_make_the_whole(backwards):
    rng = np.random.default_rng(8)
    scenes = [PAIR_AND_ONE, [], [(30, 30)], PAIR_AND_ONE]
    p_blend = rng.uniform(0, 1, sum(map(len, scenes)))
    parts, first, used = {}, 0, 0
    for size in (1, 2, 1):
        batch = bright_scenes(scenes[first : first + size])
        number = sum(map(len, scenes[first : first + size]))
        found = {"m": everything_said(batch, p_blend[used : used + number], SWAPPED)}
        for name, table in collected(batch, found, first).items():
            parts.setdefault(name, []).insert(0 if backwards else first, table)
        first, used = first + size, used + number
    whole = bright_scenes(scenes)
    expected = collected(whole, {"m": everything_said(whole, p_blend, SWAPPED)})
    joined = joined_probabilities(parts, ["plain", "m"])
    assert list(joined) == list(expected)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(joined[name], table, check_exact=True)
    for name, table in calibration_tables(expected, ["m"]).items():
        pd.testing.assert_frame_equal(calibration_tables(joined, ["m"])[name], table)
