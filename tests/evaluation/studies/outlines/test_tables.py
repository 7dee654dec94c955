import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.outlines.metric import SegmentationReport
from btk_punet.evaluation.studies.outlines.tables import N_POINTS, segmentation_tables
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.studies.outlines.test_batch import tables_of
from tests.evaluation.studies.outlines.test_metric import FOUND, PAIR_AND_ONE, box, outlined


def summed_up(positions, methods):
    """Return the tables of methods, name -> (what they find in each scene, with p_detect)."""
    batch = bright_scenes(positions)
    found = {
        name: outlined(batch, *scenes, p_detect=p_detect)
        for name, (scenes, p_detect) in methods.items()
    }
    truth, _ = batch_tables(batch, found, with_limit=False)
    return segmentation_tables(tables_of(batch, found), truth, [*methods, "without outlines"])


TWO = {"sure": ([FOUND], True), "plain": ([FOUND[:3]], False)}


def test_nothing():
    assert segmentation_tables({}, pd.DataFrame(), ["SEP"]) == {}


def test_no_sources_and_no_detections():
    tables = summed_up([[]], {"mine": ([[]], True)})
    row = tables["segmentation_scores"].iloc[0]
    assert (row["mean_iou_n"], row["unmatched_n"]) == (0, 0)
    assert np.isnan(row[["mean_iou", "average_precision", "outlined_worse"]].astype(float)).all()
    assert len(tables["mask_curves"]) == 0
    assert tables["segmentation_classes"]["support"].tolist()[1:] == [0, 0]


def test_scores_are_those_of_the_metric():
    tables = summed_up([PAIR_AND_ONE], TWO)
    scores = tables["segmentation_scores"].set_index("method")
    assert scores.index.tolist() == ["sure", "plain"]
    batch = bright_scenes([PAIR_AND_ONE])
    metric = SegmentationReport(by="magnitude")
    sure = scores.loc["sure"]
    assert sure["mean_iou"] == metric(batch, outlined(batch, FOUND))
    assert sure["blended_region_iou"] == 1 / 3
    assert sure["average_precision"] == metric.mean_average_precision()
    at_50, at_75 = metric.average_precision()["average_precision"].iloc[[0, 5]]
    assert (sure["average_precision_50"], sure["average_precision_75"]) == (at_50, at_75)
    assert sure["mean_iou_hi"] - sure["mean_iou"] == pytest.approx(metric.total()["error"][0])
    for row in metric.worse_than_undeblended().itertuples():
        assert sure[row.quantity] == row.value
        assert sure[f"{row.quantity}_lo"] == row.value_lo
        assert (sure[f"{row.quantity}_n"], sure[f"{row.quantity}_k"]) == (row.n, row.k)
    binned = tables["segmentation_by_magnitude"].query("method == 'sure' and n > 0")
    expected = metric.aggregate().query("n > 0")
    np.testing.assert_array_equal(binned.drop(columns="method"), expected)


def test_without_probabilities_there_is_a_point():
    tables = summed_up([PAIR_AND_ONE], TWO)
    plain = tables["segmentation_scores"].set_index("method").loc["plain"]
    assert np.isnan(plain["average_precision"]) and np.isnan(plain["average_precision_50"])
    curves = tables["mask_curves"].query("method == 'plain'")
    assert curves["iou_threshold"].tolist() == [0.5, 0.75]
    assert curves["purity"].tolist() == [2 / 3, 1 / 3]
    curve = tables["mask_curves"].query("method == 'sure' and iou_threshold == 0.5")
    assert curve["p_detect"].tolist() == [0.9, 0.8, 0.7, 0.6]


def test_bins_without_any_source_are_left_out():
    by_distance = summed_up([PAIR_AND_ONE], TWO)["segmentation_by_neighbour_distance"]
    assert by_distance["lo"].unique().tolist() == [0, 0.3, 0.5, 0.8, 1.2, 2]
    near = summed_up([PAIR_AND_ONE[:2]], {"mine": ([FOUND[:3]], True)})
    assert near["segmentation_by_neighbour_distance"]["hi"].tolist() == [0.3]


def test_long_curves_are_thinned_out():
    n_scenes = 3 * N_POINTS
    scenes = [[(20, 20, 1 - i / n_scenes, box(18, 22, 18, 22))] for i in range(n_scenes)]
    tables = summed_up([[(20, 20)]] * n_scenes, {"mine": (scenes, True)})
    curve = tables["mask_curves"].query("iou_threshold == 0.75")
    assert len(curve) == N_POINTS
    assert curve["n_detections"].iloc[[0, -1]].tolist() == [1, n_scenes]
    assert set(np.diff(curve["n_detections"])) == {3, 4}
