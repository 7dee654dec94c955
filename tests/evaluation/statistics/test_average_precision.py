from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.average_precision import (
    FALSE,
    IGNORED,
    IOU_THRESHOLDS,
    MATCHED,
    MaskPrecision,
    average_precision,
    mask_outcomes,
)

COLUMNS = ["iou_threshold", "n_detections", "n_matched", "n_truth", "purity", "completeness"]


def outcomes(iou, p_detect=None, in_bounds=None, counts=None):
    """Return the outcomes of a scene in which everything counts unless said."""
    iou = np.array(iou, float)
    m, n = iou.shape
    return mask_outcomes(
        iou,
        np.full(m, np.nan) if p_detect is None else np.array(p_detect, float),
        np.ones(m, bool) if in_bounds is None else np.array(in_bounds),
        np.ones(n, bool) if counts is None else np.array(counts),
    )


def added(*scenes):
    """Return the precision over scenes of (iou, p_detect), in which everything counts."""
    masks = MaskPrecision()
    for iou, p_detect in scenes:
        iou = np.array(iou, float).reshape(len(p_detect), -1)
        masks.add_outcomes(outcomes(iou, p_detect), p_detect, iou.shape[1])
    return masks


# Three ranked detections and two sources: matched; false; matched.
THREE = ([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [0.9, 0.8, 0.7])


class TestMaskOutcomes:
    @pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 2), (2, 0)])
    def test_nothing(self, m, n):
        found = outcomes(np.zeros((m, n)))
        assert found.shape == (10, m)
        assert (found == FALSE).all()

    def test_thresholds(self):
        assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

    @pytest.mark.parametrize(
        ("iou", "n_reached"), [(0.49, 0), (1 / 2, 1), (3 / 5, 3), (19 / 20, 10)]
    )
    def test_reached_and_equal(self, iou, n_reached):
        expected = [[MATCHED]] * n_reached + [[FALSE]] * (10 - n_reached)
        assert outcomes([[iou]]).tolist() == expected

    def test_one_to_one_and_the_most_probable_first(self):
        two = [[0.6], [0.9]]
        assert outcomes(two, [0.8, 0.7])[0].tolist() == [MATCHED, FALSE]
        assert outcomes(two, [0.7, 0.8])[0].tolist() == [FALSE, MATCHED]
        # Above 0.6 the more probable one cannot have it.
        assert outcomes(two, [0.8, 0.7])[4].tolist() == [FALSE, MATCHED]

    @pytest.mark.parametrize("p_detect", [None, [0.5, 0.5]])
    def test_as_probable_the_largest_iou_first(self, p_detect):
        assert outcomes([[0.6], [0.9]], p_detect)[0].tolist() == [FALSE, MATCHED]

    def test_takes_the_largest_iou_that_is_left(self):
        iou = [[0.6, 0.8], [0.0, 0.7], [0.55, 0.0]]
        found = outcomes(iou, [0.9, 0.8, 0.7])
        assert found[0].tolist() == [MATCHED, FALSE, MATCHED]

    def test_source_that_does_not_count(self):
        # Neither right nor wrong; and the second one on it is false.
        found = outcomes([[0.9], [0.8]], [0.9, 0.8], counts=[False])
        assert found[0].tolist() == [IGNORED, FALSE]
        assert found[-1].tolist() == [FALSE, FALSE]

    def test_source_that_counts_goes_first(self):
        found = outcomes([[0.9, 0.6]], [0.9], counts=[False, True])
        assert found[:, 0].tolist() == [MATCHED] * 3 + [IGNORED] * 6 + [FALSE]

    def test_detection_out_of_bounds(self):
        found = outcomes([[0.9], [0.0]], [0.9, 0.8], in_bounds=[False, False])
        assert found[0].tolist() == [MATCHED, IGNORED]

    def test_arrays_that_do_not_fit(self):
        good = [np.zeros((2, 3)), np.zeros(2), np.ones(2, bool), np.ones(3, bool)]
        for number, wrong in enumerate([np.zeros((3, 2)), np.zeros(3), np.ones(3), np.ones(2)]):
            arguments = [*good[:number], wrong, *good[number + 1 :]]
            with pytest.raises(InputError, match=r"iou must have the shape \(m, n\), .*; got"):
                mask_outcomes(*arguments)


class TestAveragePrecision:
    def test_nothing(self):
        assert np.isnan(average_precision([], [], 0))
        assert np.isnan(average_precision([1], [0], 0))
        assert average_precision([], [], 3) == 0

    def test_by_hand(self):
        # Purity 1, 1/2, 2/3 at completeness 1/2, 1/2, 1: 51 levels up to 1/2, 50 above.
        assert average_precision([1, 2, 3], [1, 1, 2], 2) == pytest.approx((51 + 50 * 2 / 3) / 101)

    def test_purity_never_rises_with_completeness(self):
        # 0 of 1 and then 3 of 4: 3/4 all the way to completeness 3/5.
        assert average_precision([1, 4], [0, 3], 5) == pytest.approx(61 * 0.75 / 101)

    @pytest.mark.parametrize("k", range(1, 101))
    def test_levels_in_whole_numbers(self, k):
        assert average_precision([k], [k], 100) == pytest.approx((k + 1) / 101, rel=1e-12)


class TestMaskPrecision:
    def test_nothing(self):
        nothing = MaskPrecision()
        table = nothing.table()
        assert table.columns.tolist() == [*COLUMNS, "average_precision"]
        assert table["iou_threshold"].tolist() == list(IOU_THRESHOLDS)
        assert (table[["n_detections", "n_matched", "n_truth"]] == 0).all(axis=None)
        assert table[["purity", "completeness", "average_precision"]].isna().all(axis=None)
        assert np.isnan(nothing.mean_average_precision())
        assert len(nothing.curve()) == 0
        assert "p_detect" in nothing.curve()

    def test_no_detection(self):
        masks = MaskPrecision()
        masks.add_outcomes(outcomes(np.zeros((0, 2))), np.zeros(0), 2)
        assert masks.mean_average_precision() == 0
        assert masks.table()["completeness"].tolist() == [0.0] * 10
        assert masks.table()["purity"].isna().all()

    def test_three_ranked_detections(self):
        masks = added(THREE)
        first = masks.curve().iloc[:3]
        assert first["iou_threshold"].tolist() == [0.5] * 3
        assert first["p_detect"].tolist() == [0.9, 0.8, 0.7]
        assert first["n_detections"].tolist() == [1, 2, 3]
        assert first["n_matched"].tolist() == [1, 1, 2]
        assert first["purity"].tolist() == [1, 1 / 2, 2 / 3]
        assert first["completeness"].tolist() == [1 / 2, 1 / 2, 1]
        expected = (51 + 50 * 2 / 3) / 101
        assert masks.table()["average_precision"].tolist() == pytest.approx([expected] * 10)
        assert masks.mean_average_precision() == pytest.approx(expected)

    def test_mean_over_thresholds(self):
        # One source, found with an IoU of 0.7: five of the ten thresholds.
        masks = added(([[0.7]], [0.9]))
        assert masks.table()["average_precision"].tolist() == [1.0] * 5 + [0.0] * 5
        assert masks.mean_average_precision() == 0.5

    def test_same_probability_enters_together(self):
        masks = added(([[0.0], [1.0]], [0.8, 0.8]))
        curve = masks.curve()
        assert len(curve) == 10
        assert curve.iloc[0][["n_detections", "n_matched"]].tolist() == [2, 1]
        assert masks.mean_average_precision() == 0.5

    def test_without_a_probability(self):
        masks = added((THREE[0], [np.nan] * 3))
        curve = masks.curve()
        assert len(curve) == 10 and curve["p_detect"].isna().all()
        assert (curve["purity"] == 2 / 3).all() and (curve["completeness"] == 1).all()
        table = masks.table()
        pd.testing.assert_frame_equal(table[COLUMNS], curve[COLUMNS])
        assert table["average_precision"].isna().all()
        assert np.isnan(masks.mean_average_precision())

    def test_one_scene_without_a_probability(self):
        masks = added(THREE, ([[1.0]], [np.nan]))
        assert not masks.is_ranked
        assert masks.table().iloc[0][["n_detections", "n_matched", "n_truth"]].tolist() == [4, 3, 3]
        assert np.isnan(masks.mean_average_precision())

    def test_parts_in_any_order(self):
        rng = np.random.default_rng(0)
        scenes = [
            (rng.random((m, n)), np.round(rng.random(m), 1))
            for m, n in [(4, 3), (1, 2), (6, 5), (2, 1)]
        ]
        whole = added(*scenes)
        assert 0 < whole.mean_average_precision() < 1
        for order in permutations(added(scene) for scene in scenes):
            merged = sum(order, MaskPrecision())
            pd.testing.assert_frame_equal(merged.table(), whole.table(), check_exact=True)
            pd.testing.assert_frame_equal(merged.curve(), whole.curve(), check_exact=True)

    def test_only_with_its_kind(self):
        with pytest.raises(TypeError, match="unsupported operand"):
            MaskPrecision() + 1
