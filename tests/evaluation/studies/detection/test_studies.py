"""Result, found and false: tables of the scene counted by hand, and what they say in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.quantities import CEILING, OF_DETECTIONS, OF_SOURCES
from btk_punet.evaluation.report.latex import latex_table
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.counting import (
    ceiling_table,
    completeness_table,
    count_matrix,
    purity_table,
)
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.detection.false_detections import FalseDetections
from btk_punet.evaluation.studies.detection.found import Found
from btk_punet.evaluation.studies.detection.result import Result
from tests.evaluation.conftest import (
    bright_scenes,
    collected,
    deblend_batch,
    detection_table,
    random_scenes,
    tables_of,
)

COMPLETENESS = {f"completeness_by_{q.name}": by for by, q in OF_SOURCES.items()}
PURITY = {f"purity_by_{q.name}": by for by, q in OF_DETECTIONS.items()}
STUDIES = (Result, Found, FalseDetections)


@pytest.fixture
def two_methods(five_sources):
    """Return the run of the scene counted by hand, with a method that finds nothing first."""
    batch, found = five_sources
    nothing = deblend_batch([detection_table(batch, [], [])])
    return collected(*batch_tables(batch, {"nothing": nothing, "hand": found}))


@pytest.fixture(scope="module")
def random_run():
    batch, found = random_scenes(8, seed=3, min_number=1)
    everything = [detection_table(batch, t["x_peak"], t["y_peak"]) for t in batch.catalog_list]
    return collected(
        *batch_tables(batch, {"all": deblend_batch(everything), "some": found}), n_scenes=8
    )


def scene_run(positions, x, y, methods=None):
    """Return the run of a scene of bright sources, in which a method finds these places."""
    batch = bright_scenes([positions])
    found = deblend_batch([detection_table(batch, x, y)])
    return collected(*batch_tables(batch, {"a": found}), methods)


def of_method(table, method):
    return table[table["method"] == method].drop(columns="method").reset_index(drop=True)


class TestEmpty:
    @pytest.mark.parametrize("study", STUDIES)
    def test_no_method(self, study):
        run = Collected([], 0, {})
        assert tables_of(study(), run) == {}
        assert list(study().figures(run, {})) == list(study().definitions(run, {})) == []
        assert study().answers(run, {}) == {}

    @pytest.mark.parametrize("study", STUDIES)
    def test_scenes_without_anything(self, study):
        run = scene_run([], [], [], ["a", "b"])
        tables = tables_of(study(), run)
        assert all(
            table.data["method"].isin(["a", "b", CEILING]).all() for table in tables.values()
        )
        assert list(study().figures(run, tables)) == []
        assert study().answers(run, tables) == {}
        if study is Result:
            assert tables["headline"].data["completeness_n"].tolist() == [0, 0]
            assert tables["headline"].data[["completeness", "purity"]].isna().all(axis=None)

    def test_scenes_without_sources(self):
        run = scene_run([], [30], [30])
        headline = tables_of(Result(), run)["headline"].data.iloc[0]
        assert (headline["completeness_n"], headline["purity_n"], headline["purity"]) == (0, 1, 0)
        assert np.isnan(headline["completeness"])
        assert len(list(FalseDetections().figures(run, tables_of(FalseDetections(), run)))) == 2

    def test_no_detection_at_all(self):
        run = scene_run([(20, 20)], [], [])
        assert tables_of(Result(), run)["headline"].data["completeness"].tolist() == [0]
        purity = tables_of(FalseDetections(), run)["purity_by_magnitude"]
        assert purity.data["n"].sum() == 0 and not purity.layout.in_report


class TestResult:
    def test_page(self, two_methods):
        run = replace(two_methods, ms_per_blend={"hand": 12.34, "drawing": 5.0})
        table = tables_of(Result(), run)["headline"]
        assert table.page["share"].tolist() == [0.0, 0.5]
        assert r"hand & 2 & $0.500^{" in latex_table(table)
        # Times differ from run to run: they stand in the report, and not in the files of tables.
        assert r"& 50\% & 6 & $0.500^{+0.189}_{-0.189}$ \\" in latex_table(table)
        assert table.layout.cells[-1] == "ms_per_blend" and table.page["ms_per_blend"][1] == 12.34
        assert r"& 0\% & 0 & -- \\" in latex_table(table)

    def test_without_ceiling_and_times(self, two_methods):
        two_methods.truth["limit_snr"] = np.nan
        table = tables_of(Result(), two_methods)["headline"]
        assert table.layout.cells == ("completeness_n", "completeness", "purity_n", "purity")
        assert "ceiling" not in latex_table(table)

    def test_definitions_say_the_rules(self, two_methods):
        run = replace(two_methods, rules=Rules(radius_arcsec=0.2, min_snr=7.5))
        text = " ".join(d.meaning for d in Result().definitions(run, tables_of(Result(), run)))
        assert "closer than 0.2 arcsec" in text and "ratio above 7.5" in text


class TestFound:
    def test_names(self, two_methods):
        names = [*COMPLETENESS, "efficiency", "count_matrix"]
        assert list(tables_of(Found(), two_methods)) == names

    def test_order_of_the_methods(self, two_methods):
        run = replace(two_methods, methods=["hand", "nothing"])
        table = tables_of(Found(), run)["completeness_by_magnitude"].data
        assert table["method"].unique().tolist() == ["hand", "nothing", CEILING]

    def test_inputs_are_left_as_they_are(self, two_methods):
        truth = two_methods.truth.copy()
        tables_of(Found(), two_methods)
        pd.testing.assert_frame_equal(truth, two_methods.truth)

    @pytest.mark.parametrize(("name", "by"), COMPLETENESS.items())
    def test_completeness(self, random_run, name, by):
        truth = random_run.truth
        table = tables_of(Found(), random_run)[name].data
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

    def test_empty_bins_at_the_ends_are_left_out_and_those_between_stay(self, two_methods):
        table = of_method(tables_of(Found(), two_methods)["completeness_by_magnitude"].data, "hand")
        assert table["lo"].tolist() == [22, 22.5, 23, 23.5]
        assert table["n"].tolist() == [1, 0, 0, 1]

    def test_bins_of_the_user(self, two_methods):
        rules = Rules(mag_bins=[21, 23, 24], distance_bins=[0, 0.35, 1])
        tables = tables_of(Found(), replace(two_methods, rules=rules))
        by_magnitude = of_method(tables["completeness_by_magnitude"].data, "hand")
        assert by_magnitude[["lo", "hi", "n"]].to_numpy().tolist() == [[21, 23, 1], [23, 24, 1]]
        cells = of_method(tables["efficiency"].data, "hand")
        assert cells[["magnitude_lo", "lo", "n", "k"]].to_numpy().tolist() == [
            [21, 0, 0, 0], [21, 0.35, 1, 1], [23, 0, 0, 0], [23, 0.35, 1, 0],
        ]  # fmt: skip

    def test_count_matrix(self, two_methods):
        table = tables_of(Found(), two_methods)["count_matrix"]
        assert of_method(table.data, "nothing").to_numpy().tolist()[2] == [0, 2, 1, 1.0]
        of_hand = of_method(table.data, "hand")
        matrix = count_matrix(two_methods.truth.query("method == 'hand'"))
        assert of_hand["scenes"].tolist() == matrix.ravel().tolist()
        cell = of_hand[(of_hand["n_matched"] == 1) & (of_hand["n_true"] == 2)].iloc[0]
        assert (cell["scenes"], cell["fraction"]) == (1, 1.0)
        # On the page all methods have the same rows.
        assert latex_table(table).count("Found & 2 ") == 2
        assert latex_table(table).count("1 & 0 \\\\") == latex_table(table).count("1 & 1 \\\\") == 1

    def test_efficiency(self, two_methods):
        table = tables_of(Found(), two_methods)["efficiency"]
        data = of_method(table.data, "hand")
        assert data[data["n"] > 0][["magnitude_lo", "lo", "n", "k"]].to_numpy().tolist() == [
            [22.0, 0.3, 1, 1],
            [23.5, 0.3, 1, 0],
        ]
        assert "22.0--22.5 & $1.00^{+0.00}_{-0.50}$ \\\\\n23.5--24.0" in latex_table(table)

    def test_figures(self, random_run):
        figures = Found().figures(random_run, tables_of(Found(), random_run))
        assert [figure.name for figure in figures] == [
            "completeness_by_magnitude",
            "completeness_by_neighbour_distance",
            "completeness_by_limit_snr",
            "efficiency",
            "count_matrix",
        ]


class TestFalseDetections:
    @pytest.mark.parametrize(("name", "by"), PURITY.items())
    def test_purity(self, random_run, name, by):
        detections = random_run.detections
        table = tables_of(FalseDetections(), random_run)[name].data
        assert table["method"].unique().tolist() == ["all", "some"]
        for method in ("all", "some"):
            whole = purity_table(detections[detections["method"] == method], by)
            part = of_method(table, method)
            assert part["n"].sum() == whole["n"].sum() > 0
            inside = whole[whole["lo"].isin(part["lo"])].reset_index(drop=True)
            pd.testing.assert_frame_equal(part, inside)

    def test_row_of_flux_not_above_zero_is_there_only_where_it_is_needed(self, two_methods):
        table = tables_of(FalseDetections(), two_methods)["purity_by_magnitude"].data
        assert of_method(table, "hand")["n"].iloc[-1] == 1
        assert of_method(table, "hand")["hi"].iloc[-1] == np.inf
        bright = two_methods.detections.query("magnitude < inf")
        run = collected(two_methods.truth, bright)
        assert tables_of(FalseDetections(), run)["purity_by_magnitude"].data["lo"].max() < np.inf

    def price(self, *parts):
        """Return what is said of (n, k, neighbour distance, method, p_detect) of detections."""
        rows = [
            {
                "scene": 0, "method": method, "neighbour_distance_arcsec": distance,
                "magnitude": 23.2, "in_bounds": True, "matched": i < k, "p_detect": p,
            }
            for n, k, distance, method, p in parts
            for i in range(n)
        ]  # fmt: skip
        run = collected(pd.DataFrame({"method": []}), pd.DataFrame(rows))
        return FalseDetections().answers(run, tables_of(FalseDetections(), run)).get("price")

    def test_names_where_purity_is_lowest(self):
        said = self.price((100, 60, 0.1, "net", 0.9), (900, 890, 1.0, "net", 0.9))
        assert said.startswith("Of the 1,000 detections of net, 95.0% are true sources (68% inter")
        assert said.endswith("where the nearest other detection is 0–0.3 arcsec away: 60% of 100.")

    def test_claims_no_more_than_the_counts(self):
        few = self.price((20, 10, 0.1, "net", 0.9), (900, 890, 1.0, "net", 0.9))
        alike = self.price((100, 94, 0.1, "net", 0.9), (900, 860, 1.0, "net", 0.9))
        assert few.endswith("and nowhere clearly fewer.")
        assert alike.endswith("and nowhere clearly fewer.")

    def test_speaks_of_methods_with_probabilities_or_of_few(self):
        plain = [(50, 45, 1.0, name, np.nan) for name in "abcd"]
        assert self.price(*plain) is None
        assert self.price(*plain[:3]).count("90.0% are true sources") == 3
        assert self.price(*plain, (50, 45, 1.0, "net", 0.9)).count("Of the 50 detections of") == 1
