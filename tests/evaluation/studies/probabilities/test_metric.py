import numpy as np
import pandas as pd
import pytest
from btk.match import Matching

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.counts import largest_gap
from btk_punet.evaluation.studies.probabilities.metric import Calibration
from tests.evaluation.conftest import (
    bright_scenes,
    deblend_batch,
    detection_table,
    part_of,
    random_scenes,
)
from tests.evaluation.oracle import Oracle
from tests.evaluation.sayers import PAIR_AND_ONE, RIGHT, SWAPPED, maps, saying

COLUMNS = ["lo", "hi", "mean_probability", "n", "k", "value", "value_lo", "value_hi"]


def found_in(batch, *scenes):
    """Return detections from (x, y, p_detect) for each scene."""
    tables = []
    for scene in scenes:
        x, y, p_detect = np.array(scene, float).reshape(-1, 3).T
        tables.append(detection_table(batch, x, y, p_detect=p_detect))
    return deblend_batch(tables)


class TestCalibration:
    def test_before_any_batch(self):
        with pytest.raises(InputError, match="Nothing to aggregate"):
            Calibration().aggregate()

    def test_no_detection(self):
        batch = bright_scenes([[(20, 20)], []])
        metric = Calibration()
        assert np.isnan(metric(batch, found_in(batch, [], [])))
        table = metric.aggregate()
        assert set(table.columns) == set(COLUMNS)
        assert len(table) == 10
        assert (table["n"] == 0).all()

    def test_counted_by_hand(self):
        batch = bright_scenes([[(20, 20), (40, 40)], [(30, 30)]])
        found = found_in(
            batch,
            [(20, 20, 0.95), (40, 41, 0.95), (50, 10, 0.15), (1, 1, 0.95)],  # the last one outside
            [(30, 30, 0.15), (30, 50, 0.1), (50, 50, 0.1), (10, 10, 0.1)],
        )
        metric = Calibration()
        # Two at 0.95 that match; five at 0.12 on the mean, of which one does.
        expected = (2 * 0.05 + abs(1 - 0.6)) / 7
        assert metric(batch, found) == pytest.approx(expected)
        some = metric.aggregate().query("n > 0")
        assert some[["lo", "hi", "n", "k"]].to_numpy().tolist() == [
            [0.1, 0.2, 5, 1],
            [0.9, 1.0, 2, 2],
        ]
        assert some["mean_probability"].tolist() == pytest.approx([0.12, 0.95])
        squares = [0.05**2] * 2 + [0.15**2, 0.85**2] + [0.1**2] * 3
        assert metric.reliability().brier_score() == pytest.approx(np.mean(squares))

    def test_batch_by_batch(self):
        batch, found = random_scenes(9, seed=6)
        rng = np.random.default_rng(7)
        for table in found.catalog_list:
            table["p_detect"] = rng.uniform(0, 1, len(table))
        whole, parts = Calibration(), Calibration()
        whole(batch, found)
        for scenes in (range(4), range(4, 5), range(5, 9)):
            parts(*part_of(batch, found, scenes))
        assert whole.aggregate()["n"].sum() > 10
        pd.testing.assert_frame_equal(whole.aggregate(), parts.aggregate())
        assert whole.reliability().brier_skill() == pytest.approx(parts.reliability().brier_skill())

    def test_a_matching_that_is_given(self):
        batch = bright_scenes([[(20, 20)]])
        found = found_in(batch, [(20, 20, 0.9)])
        none = Matching([np.zeros(0, int)], [np.zeros(0, int)], [1], [1])
        metric = Calibration()
        assert metric(batch, found, none) == pytest.approx(0.9)

    def test_number_of_bins(self):
        metric = Calibration(edges=[0, 0.25, 0.5, 0.75, 1])
        batch = bright_scenes([[(20, 20)]])
        metric(batch, found_in(batch, [(20, 20, 0.6)]))
        assert metric.aggregate()["n"].tolist() == [0, 0, 1, 0]

    @pytest.mark.parametrize("edges", [[0, 0.2, 1], [0, 0.5], [0.5, 1]])
    def test_bins_of_unequal_width(self, edges):
        with pytest.raises(InputError, match="equally far apart from 0 to 1"):
            Calibration(edges=edges)

    def test_detector_that_does_not_state_how_sure_it_is(self):
        batch = bright_scenes([[(20, 20)]])
        found = deblend_batch([detection_table(batch, [20], [20])])
        with pytest.raises(InputError, match="must have a p_detect"):
            Calibration()(batch, found)


def said_of(batch, quantity, right):
    """Return what says this quantity for sure, and is right or wrong."""
    found = Oracle()(batch)
    places = [list(zip(t["x_peak"], t["y_peak"], strict=True)) for t in batch.catalog_list]
    extra_data = maps(batch, RIGHT if right else SWAPPED)
    for extra, of_oracle in zip(extra_data, found.extra_data, strict=True):
        extra["count_posterior"] = np.roll(of_oracle["count_posterior"], 0 if right else 1)
    truly = [len(scene) == 3 and i < 2 for scene in places for i in range(len(scene))]
    p_blend = [float(so is right) for so in truly]
    return saying(batch, places, extra_data, p_blend=p_blend)


OTHERS = ["p_blend", "count", "isolated", "blended"]


class TestOtherQuantities:
    def test_name_that_is_not_known(self):
        with pytest.raises(InputError, match=r"one of \['p_detect', 'p_blend', .*got 'p'"):
            Calibration(quantity="p")

    @pytest.mark.parametrize("quantity", ["p_blend", "isolated"])
    def test_no_scene_holds_anything(self, quantity):
        batch = bright_scenes([[], []])
        metric = Calibration(quantity=quantity)
        assert np.isnan(metric(batch, said_of(batch, quantity, True)))
        assert (metric.aggregate()["n"] == 0).all()

    @pytest.mark.parametrize("quantity", OTHERS)
    def test_perfect_and_hopeless(self, quantity):
        batch = bright_scenes([PAIR_AND_ONE, [(30, 30)]])
        for right, score in ((True, 0.0), (False, 1.0)):
            metric = Calibration(quantity=quantity)
            assert metric(batch, said_of(batch, quantity, right)) == score
            assert metric.reliability().brier_score() == score
        number = {"p_blend": 4, "count": 2, "isolated": 85, "blended": 85}
        assert metric.reliability().n == number[quantity]

    def test_background_is_counted_where_it_is_in_doubt(self):
        batch = bright_scenes([PAIR_AND_ONE])
        extra = maps(batch)
        # Half of the doubtful pixels are background.
        extra[0]["class_probability"][:, :1] = np.array([0.5, 0.5, 0])[:, None, None]
        metric = Calibration(quantity="background", edges=[0, 0.5, 1])
        assert metric(batch, saying(batch, extra_data=extra)) == pytest.approx(64 * 0.5 / 124)
        assert metric.aggregate()[["n", "k"]].to_numpy().tolist() == [[60, 0], [64, 64]]

    @pytest.mark.parametrize("quantity", OTHERS)
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
    def test_batches_in_any_order_are_the_whole(self, quantity, order):
        parts = [[PAIR_AND_ONE], [[(30, 30)], []], [[(20, 40)], PAIR_AND_ONE]]
        whole, by_part = Calibration(quantity=quantity), Calibration(quantity=quantity)
        batch = bright_scenes(sum(parts, []))
        whole(batch, said_of(batch, quantity, False))
        for number in order:
            batch = bright_scenes(parts[number])
            by_part(batch, said_of(batch, quantity, False))
        assert whole.reliability().n > 0
        pd.testing.assert_frame_equal(by_part.aggregate(), whole.aggregate())
        if quantity == "count":
            np.testing.assert_array_equal(by_part.transforms(), whole.transforms())

    def test_transforms(self):
        with pytest.raises(InputError, match="Only counts have transforms, got quantity 'p_de"):
            Calibration().transforms()
        batch = bright_scenes([PAIR_AND_ONE] * 100)
        metric = Calibration(quantity="count")
        metric(batch, said_of(batch, "count", True))
        transforms = metric.transforms()
        assert transforms.shape == (100,) and largest_gap(transforms) < 1.36 / 10

    @pytest.mark.parametrize(
        ("quantity", "message"),
        [
            ("p_blend", "must have a column p_blend"),
            ("count", "hold a 'count_posterior' for each scene"),
            ("blended", "extra_data of 1 scenes, got none"),
        ],
    )
    def test_detector_that_does_not_state_it(self, quantity, message):
        batch = bright_scenes([[(20, 20)]])
        with pytest.raises(InputError, match=message):
            Calibration(quantity=quantity)(batch, saying(batch, [[(20, 20)]]))
