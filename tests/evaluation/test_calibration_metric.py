import numpy as np
import pandas as pd
import pytest
from btk.match import Matching

from btk_punet.errors import InputError
from btk_punet.evaluation.calibration_metric import Calibration
from tests.evaluation.conftest import (
    bright_scenes,
    deblend_batch,
    detection_table,
    part_of,
    random_scenes,
)

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

    def test_detector_that_does_not_say_how_sure_it_is(self):
        batch = bright_scenes([[(20, 20)]])
        found = deblend_batch([detection_table(batch, [20], [20])])
        with pytest.raises(InputError, match="must have a p_detect"):
            Calibration()(batch, found)
