"""Outlines as a question of the report: tables from the tidy ones, LaTeX, figures."""

import numpy as np
import pytest
from btk.blend_batch import DeblendBatch

from btk_punet.evaluation.report.latex import latex_table
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.outlines.precision import N_POINTS
from btk_punet.evaluation.studies.outlines.scores import SegmentationReport
from btk_punet.evaluation.studies.outlines.study import Outlines
from tests.evaluation.conftest import bright_scenes, deblend_batch
from tests.evaluation.studies.outlines.test_scores import FOUND, PAIR_AND_ONE, box, outlined


def collected(positions, methods, rules=None):
    """Return the run of methods, name -> (what they find in each scene, with p_detect)."""
    batch = bright_scenes(positions)
    found: dict[str, DeblendBatch] = {
        name: outlined(batch, *scenes, p_detect=p_detect)
        for name, (scenes, p_detect) in methods.items()
    }
    found["without outlines"] = deblend_batch([batch.catalog_list[0][:0]] * len(positions))
    matched = MatchedBatch.match(batch, found)
    tidy = {"truth": matched.truth, **Outlines().collect(matched)}
    return Collected(list(found), len(positions), tidy, rules or Rules())


def summed_up(positions, methods, rules=None):
    """Return the numbers of the tables of `collected`, by name."""
    run = collected(positions, methods, rules)
    return {table.name: table.data for table in Outlines().tables(run)}


TWO = {"sure": ([FOUND], True), "plain": ([FOUND[:3]], False)}


def test_nothing():
    study = Outlines()
    for run in (Collected(["SEP"], 0, {}), collected([[]], {})):
        assert list(study.tables(run)) == []
        assert list(study.figures(run, {})) == list(study.definitions(run, {})) == []


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


def test_bins_of_the_user():
    tables = summed_up([PAIR_AND_ONE], TWO, Rules(distance_bins=[0, 1, 10]))
    assert tables["segmentation_by_neighbour_distance"]["hi"].unique().tolist() == [1, 10]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "segmentation_by_neighbour_distance",
            r"0--0.3 & 2 & $0.733^{+0.067}_{-0.067}$ & 2 &",
        ),
        ("segmentation_by_neighbour_distance", r"$>2$ & 1 & 1.000 & 0 & -- \\"),
        ("segmentation_scores", r"sure & 3 & $0.822^{+0.097}_{-0.097}$ & 0.333 & "),
        ("segmentation_scores", r"plain & 2 & $0.733^{+0.067}_{-0.067}$ & 0.333 & -- & -- & -- &"),
        ("segmentation_classes", r"sure & blended & 1.000 & 0.333 & 0.500 & 0.333 & 15 \\"),
        ("mask_precision", r"0.50 & 0.750 & 1.000 & 0.834 & 0.667 & 0.667 & -- \\"),
    ],
)
def test_latex(name, line):
    tables = {table.name: table for table in Outlines().tables(collected([PAIR_AND_ONE], TWO))}
    assert line in latex_table(tables[name])
    assert tables["mask_curves"].layout is None


def test_figures():
    run = collected([PAIR_AND_ONE], TWO)
    tables = {table.name: table for table in Outlines().tables(run)}
    figures = {figure.name: figure for figure in Outlines().figures(run, tables)}
    assert list(figures) == [
        "segmentation_by_magnitude", "segmentation_by_neighbour_distance", "mask_curves",
    ]  # fmt: skip
    # Colours are those of all methods of the run.
    assert all(
        f.display.everyone == ["sure", "plain", "without outlines"] for f in figures.values()
    )
    empty = collected([[]], {"sure": ([[]], True)})
    tables = {table.name: table for table in Outlines().tables(empty)}
    assert list(Outlines().figures(empty, tables)) == []
