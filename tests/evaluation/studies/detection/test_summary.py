import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.quantities import CEILING
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.detection.metrics import (
    ceiling_table,
    completeness_table,
    count_matrix,
    purity_table,
)
from btk_punet.evaluation.studies.detection.summary import summary_tables
from tests.evaluation.conftest import bright_scenes, deblend_batch, detection_table, random_scenes

COMPLETENESS = {
    "completeness_by_magnitude": "magnitude",
    "completeness_by_neighbour_distance": "neighbour_distance_arcsec",
    "completeness_by_size": "size_arcsec",
    "completeness_by_alone_snr": "alone_snr",
    "completeness_by_limit_snr": "limit_snr",
    "completeness_by_blendedness": "blendedness",
}
PURITY = {
    "purity_by_magnitude": "magnitude",
    "purity_by_neighbour_distance": "neighbour_distance_arcsec",
}


@pytest.fixture
def two_methods(five_sources):
    """Return the tables of the scene counted by hand, with a method that finds nothing first."""
    batch, found = five_sources
    nothing = deblend_batch([detection_table(batch, [], [])])
    return batch_tables(batch, {"nothing": nothing, "hand": found})


def of_method(table, method):
    return table[table["method"] == method].drop(columns="method").reset_index(drop=True)


class TestEmpty:
    def test_no_table(self):
        with pytest.raises(ValueError, match="nothing to sum up"):
            summary_tables(pd.DataFrame(), pd.DataFrame())

    def test_scenes_without_anything(self):
        batch = bright_scenes([[]])
        nothing = deblend_batch([detection_table(batch, [], [])])
        with pytest.raises(ValueError, match="nothing to sum up"):
            summary_tables(*batch_tables(batch, {"a": nothing}))

    def test_methods_without_a_row_can_be_named(self):
        batch = bright_scenes([[]])
        nothing = deblend_batch([detection_table(batch, [], [])])
        tables = summary_tables(*batch_tables(batch, {"a": nothing, "b": nothing}), ["a", "b"])
        assert tables["headline"]["method"].tolist() == ["a", "b"]
        assert tables["headline"]["completeness_n"].tolist() == [0, 0]
        assert tables["headline"][["completeness", "purity", "ceiling"]].isna().all(axis=None)

    def test_scenes_without_sources(self):
        batch = bright_scenes([[]])
        found = deblend_batch([detection_table(batch, [30], [30])])
        tables = summary_tables(*batch_tables(batch, {"a": found}))
        headline = tables["headline"].iloc[0]
        assert (headline["completeness_n"], headline["purity_n"], headline["purity"]) == (0, 1, 0)
        assert np.isnan(headline["completeness"])

    def test_no_detection_at_all(self):
        batch = bright_scenes([[(20, 20)]])
        nothing = deblend_batch([detection_table(batch, [], [])])
        tables = summary_tables(*batch_tables(batch, {"a": nothing}))
        assert tables["headline"]["completeness"].tolist() == [0]
        assert tables["headline"]["purity"].isna().all()
        assert tables["purity_by_magnitude"]["n"].sum() == 0


class TestSummaryTables:
    def test_names(self, two_methods):
        assert list(summary_tables(*two_methods)) == [
            "headline",
            *COMPLETENESS,
            *PURITY,
            "positions_by_magnitude",
            "positions_by_neighbour_distance",
            "efficiency",
            "count_matrix",
        ]

    def test_order_of_the_methods(self, two_methods):
        tables = summary_tables(*two_methods, ["hand", "nothing"])
        assert tables["headline"]["method"].tolist() == ["hand", "nothing"]
        assert tables["headline"]["completeness"].tolist() == [0.5, 0]

    def test_inputs_are_left_as_they_are(self, two_methods):
        truth, detections = (table.copy() for table in two_methods)
        summary_tables(*two_methods)
        pd.testing.assert_frame_equal(truth, two_methods[0])
        pd.testing.assert_frame_equal(detections, two_methods[1])

    def test_headline(self, two_methods):
        headline = summary_tables(*two_methods)["headline"]
        assert headline.columns.tolist() == [
            "method",
            *[
                f"{quantity}{end}"
                for quantity in ("completeness", "purity", "ceiling")
                for end in ("_n", "_k", "", "_lo", "_hi")
            ],
        ]
        assert headline["method"].tolist() == ["nothing", "hand"]
        assert headline["completeness_n"].tolist() == [2, 2]
        assert headline["completeness_k"].tolist() == [0, 1]
        assert headline["completeness"].tolist() == [0, 0.5]
        assert headline["purity_n"].tolist() == [0, 6]
        assert headline["purity_k"].tolist() == [0, 3]
        assert headline["purity"].tolist()[1] == 0.5
        assert headline["ceiling"].tolist() == [1, 1]
        low, high = headline["completeness_lo"], headline["completeness_hi"]
        assert (low <= headline["completeness"]).all()
        assert (high > headline["completeness"]).all()

    def test_headline_without_the_limit(self, five_sources):
        batch, found = five_sources
        tables = summary_tables(*batch_tables(batch, {"hand": found}, with_limit=False))
        assert tables["headline"]["ceiling"].isna().all()

    @pytest.mark.parametrize(("name", "by"), COMPLETENESS.items())
    def test_completeness(self, name, by):
        truth, detections = _random_tables()
        table = summary_tables(truth, detections)[name]
        if by == "size_arcsec":  # the scenes' catalogs hold no sizes
            assert table["n"].sum() == 0
            return
        assert table["method"].unique().tolist() == ["all", "some", CEILING]
        first = truth[truth["method"] == "all"]
        expected = {
            "all": completeness_table(first, by),
            "some": completeness_table(truth[truth["method"] == "some"], by),
            CEILING: ceiling_table(first, by),
        }
        for method, whole in expected.items():
            part = of_method(table, method)
            assert part["n"].sum() == whole["n"].sum() > 0
            inside = whole[whole["lo"].isin(part["lo"])].reset_index(drop=True)
            pd.testing.assert_frame_equal(part, inside)
            assert part["n"].iloc[0] > 0
            assert part["n"].iloc[-1] > 0

    @pytest.mark.parametrize(("name", "by"), PURITY.items())
    def test_purity(self, name, by):
        truth, detections = _random_tables()
        table = summary_tables(truth, detections)[name]
        assert table["method"].unique().tolist() == ["all", "some"]
        for method in ("all", "some"):
            whole = purity_table(detections[detections["method"] == method], by)
            part = of_method(table, method)
            assert part["n"].sum() == whole["n"].sum() > 0
            inside = whole[whole["lo"].isin(part["lo"])].reset_index(drop=True)
            pd.testing.assert_frame_equal(part, inside)

    def test_all_methods_have_the_same_bins(self, two_methods):
        tables = summary_tables(*two_methods)
        for name in (*COMPLETENESS, *PURITY):
            bins = [group["lo"].tolist() for _, group in tables[name].groupby("method")]
            assert all(one == bins[0] for one in bins)

    def test_empty_bins_at_the_ends_are_left_out_and_those_between_stay(self, two_methods):
        tables = summary_tables(*two_methods)
        table = of_method(tables["completeness_by_magnitude"], "nothing")
        assert table["lo"].tolist() == [22, 22.5, 23, 23.5]
        assert table["n"].tolist() == [1, 0, 0, 1]
        distances = of_method(tables["purity_by_neighbour_distance"], "hand")
        assert distances["lo"].tolist() == [0, 0.3, 0.5, 0.8, 1.2, 2]

    def test_row_of_flux_not_above_zero_is_there_only_where_it_is_needed(self, two_methods):
        table = summary_tables(*two_methods)["purity_by_magnitude"]
        assert of_method(table, "hand")["n"].iloc[-1] == 1
        assert of_method(table, "hand")["hi"].iloc[-1] == np.inf
        truth, detections = two_methods
        table = summary_tables(truth, detections[detections["magnitude"] < np.inf])
        assert table["purity_by_magnitude"]["lo"].max() < np.inf

    def test_count_matrix(self, two_methods):
        table = summary_tables(*two_methods)["count_matrix"]
        assert of_method(table, "nothing").to_numpy().tolist()[2] == [0, 2, 1, 1.0]
        matrix = count_matrix(two_methods[0].query("method == 'hand'"))
        of_hand = of_method(table, "hand")
        assert of_hand["scenes"].tolist() == matrix.ravel().tolist()
        cell = of_hand[(of_hand["n_matched"] == 1) & (of_hand["n_true"] == 2)].iloc[0]
        assert (cell["scenes"], cell["fraction"]) == (1, 1.0)

    def test_efficiency(self, two_methods):
        table = of_method(summary_tables(*two_methods)["efficiency"], "hand")
        some = table[table["n"] > 0]
        assert some[["magnitude_lo", "lo", "n", "k"]].to_numpy().tolist() == [
            [22.0, 0.3, 1, 1],
            [23.5, 0.3, 1, 0],
        ]


def _random_tables():
    batch, found = random_scenes(8, seed=3, min_number=1)
    everything = [detection_table(batch, t["x_peak"], t["y_peak"]) for t in batch.catalog_list]
    return batch_tables(batch, {"all": deblend_batch(everything), "some": found})
