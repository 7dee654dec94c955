"""Counts and fractions of the scene that is counted by hand in conftest.py."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.counting import (
    ceiling_table,
    column_fractions,
    completeness_table,
    completeness_total,
    count_matrix,
    efficiency_table,
    filled_cells,
    headline_table,
    purity_table,
    purity_total,
)
from tests.evaluation.conftest import random_scenes
from tests.evaluation.statistics.test_fractions import COLUMNS, counts, wilson


class TestCompletenessOfFiveSources:
    def test_total(self, five_tables):
        row = completeness_total(five_tables[0]).iloc[0]
        assert (row["n"], row["k"], row["value"]) == (2, 1, 0.5)
        assert (row["value_lo"], row["value_hi"]) == pytest.approx(wilson(2, 1))

    def test_by_magnitude(self, five_tables):
        table = completeness_table(five_tables[0])
        assert table.columns.tolist() == COLUMNS
        assert counts(table) == {22.0: (1, 1), 23.5: (1, 0)}
        row = table[table["lo"] == 23.5].iloc[0]
        assert (row["hi"], row["value"]) == (24.0, 0.0)
        assert (row["value_lo"], row["value_hi"]) == pytest.approx(wilson(1, 0))

    @pytest.mark.parametrize(
        ("by", "expected"),
        [
            ("neighbour_distance_arcsec", {0.3: (2, 1)}),
            ("alone_snr", {10: (1, 0), 40: (1, 1)}),
            ("size_arcsec", {}),  # unknown
        ],
    )
    def test_by_other_quantities(self, five_tables, by, expected):
        assert counts(completeness_table(five_tables[0], by)) == expected

    def test_edges(self, five_tables):
        assert counts(completeness_table(five_tables[0], edges=[20, 30])) == {20: (2, 1)}
        assert counts(completeness_table(five_tables[0], edges=np.array([22.2, 23.7]))) == {
            22.2: (1, 1)
        }

    def test_by_nothing_else(self, five_tables):
        with pytest.raises(ValueError, match="by must be one of .*'magnitude'.*, got 'matched'"):
            completeness_table(five_tables[0], "matched")


class TestPurityOfFiveSources:
    def test_total(self, five_tables):
        row = purity_total(five_tables[1]).iloc[0]
        assert (row["n"], row["k"], row["value"]) == (6, 3, 0.5)

    def test_by_magnitude(self, five_tables):
        # Aperture magnitudes 23.5 (detections 0, 1), 24.7 (4), 27.1 (2), 27.9 (3), inf (6)
        table = purity_table(five_tables[1], edges=[23, 24, 25, 26, 28])
        assert table["lo"].tolist() == [23, 24, 25, 26, np.inf]
        assert table["hi"].tolist() == [24, 25, 26, 28, np.inf]
        assert table["n"].tolist() == [2, 1, 0, 2, 1]
        assert table["k"].tolist() == [1, 1, 0, 1, 0]
        assert np.isnan(table["value"].iloc[2])

    def test_flux_not_above_zero_has_a_row_of_its_own_whatever_the_edges(self, five_tables):
        for edges in (None, [18, np.inf]):
            table = purity_table(five_tables[1], edges=edges)
            assert table["lo"].iloc[-1] == table["hi"].iloc[-1] == np.inf
            assert (table["n"].iloc[-1], table["k"].iloc[-1]) == (1, 0)
            assert table["n"].sum() == 6

    def test_by_neighbour_distance(self, five_tables):
        table = purity_table(five_tables[1], "neighbour_distance_arcsec")
        assert counts(table) == {0: (2, 1), 0.8: (2, 1), 1.2: (1, 1), 2: (1, 0)}
        assert len(table) == 6

    def test_by_nothing_else(self, five_tables):
        with pytest.raises(ValueError, match="by must be one of .*, got 'alone_snr'"):
            purity_table(five_tables[1], "alone_snr")


def test_no_detection_is_left_out_of_the_bins():
    magnitude = [17.0, 18.0, 22.2, 27.99, 28.0, 31.0, np.inf]
    detections = pd.DataFrame({"magnitude": magnitude, "in_bounds": True, "matched": True})
    table = purity_table(detections)
    assert table["n"].sum() == purity_total(detections)["n"].iloc[0] == len(magnitude)
    ends = table.iloc[[0, -2, -1]]
    assert ends["lo"].tolist() == [-np.inf, 28.0, np.inf]
    assert ends["n"].tolist() == [1, 2, 1]


class TestCeiling:
    def test_of_five_sources(self, five_tables):
        # Both sources of the pair could be found, by what each loses to the other.
        assert (five_tables[0]["limit_snr"][:2] > 5).all()
        assert counts(ceiling_table(five_tables[0])) == {22.0: (1, 1), 23.5: (1, 1)}

    def test_above_five_and_not_at_five(self, five_tables):
        truth = five_tables[0].assign(limit_snr=[5.0, 5.001, 9, 9, 9])
        assert counts(ceiling_table(truth)) == {22.0: (1, 0), 23.5: (1, 1)}

    def test_does_not_depend_on_what_was_found(self, five_tables):
        nothing = five_tables[0].assign(matched=False)
        pd.testing.assert_frame_equal(ceiling_table(nothing), ceiling_table(five_tables[0]))

    def test_unknown_without_the_limit(self, five_sources):
        batch, found = five_sources
        truth, _ = batch_tables(batch, {"hand": found}, with_limit=False)
        assert ceiling_table(truth)["value"].isna().all()


class TestEfficiencyOfFiveSources:
    def test_cells(self, five_tables):
        table = efficiency_table(five_tables[0], [22, 23, 24], [0, 0.3, 0.5])
        cells = table[["magnitude_lo", "magnitude_hi", "lo", "hi", "n", "k"]]
        assert cells.to_numpy().tolist() == [
            [22, 23, 0, 0.3, 0, 0],
            [22, 23, 0.3, 0.5, 1, 1],
            [23, 24, 0, 0.3, 0, 0],
            [23, 24, 0.3, 0.5, 1, 0],
        ]

    def test_sums_over_magnitude_are_the_completeness_by_distance(self):
        batch, found = random_scenes(20, seed=0)
        truth, _ = batch_tables(batch, {"a": found}, with_limit=False)
        sums = efficiency_table(truth).groupby("lo")[["n", "k"]].sum()
        expected = completeness_table(truth, "neighbour_distance_arcsec")
        assert sums.to_numpy().tolist() == expected[["n", "k"]].to_numpy().tolist()
        assert sums["n"].sum() > 10

    def test_count_matrix(self, five_tables):
        assert count_matrix(five_tables[0]).tolist() == [[0, 0, 0], [0, 0, 1]]

    def test_scenes_of_which_no_source_counts(self, five_tables):
        truth = five_tables[0].assign(counts=False)
        assert count_matrix(truth).tolist() == [[1]]

    def test_count_matrix_of_no_scene(self, five_tables):
        assert count_matrix(five_tables[0].iloc[:0]).tolist() == [[0]]

    def test_fewer_scenes_than_there_are(self, five_tables):
        with pytest.raises(InputError, match="n_scenes must be at least 1, .* got 0"):
            count_matrix(five_tables[0], 0)

    def test_column_fractions(self):
        matrix = np.array([[1, 3, 0], [0, 1, 0]])
        expected = [[1, 0.75, np.nan], [0, 0.25, np.nan]]
        assert column_fractions(matrix) == pytest.approx(np.array(expected), nan_ok=True)

    def test_filled_cells(self, five_tables):
        table = efficiency_table(five_tables[0], [22, 23, 24], [0, 0.3, 0.5])
        cells = filled_cells(table)[["magnitude_lo", "lo", "n"]]
        assert cells.to_numpy().tolist() == [[22, 0.3, 1], [23, 0.3, 1]]
        assert filled_cells(table.assign(n=0)).empty


class TestHeadline:
    def test_no_method(self):
        assert headline_table({}, {}).empty

    def test_of_five_sources(self, five_tables):
        truth, detections = five_tables
        nothing = truth.assign(matched=False), detections[:0]
        headline = headline_table(
            {"nothing": nothing[0], "hand": truth}, {"nothing": nothing[1], "hand": detections}
        )
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
        assert (headline["completeness_lo"] <= headline["completeness"]).all()
        assert (headline["completeness_hi"] > headline["completeness"]).all()

    def test_without_the_limit(self, five_tables):
        truth = five_tables[0].assign(limit_snr=np.nan)
        assert headline_table({"hand": truth}, {"hand": five_tables[1]})["ceiling"].isna().all()
