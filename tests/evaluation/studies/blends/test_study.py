"""Blends as a question of the report: what is collected, counted and said."""

import warnings

import pandas as pd
import pytest

from btk_punet.errors import BatchFailedError
from btk_punet.evaluation.report.latex import latex_table
from btk_punet.evaluation.report.text import csv
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.blends.regions import COMBINATIONS, OUTCOMES
from btk_punet.evaluation.studies.blends.study import Blends
from tests.evaluation.detectors import APART, CLOSE, FailsAlone, Peaks, Perfect, gaussian_scenes

NAMES = [
    "outcomes",
    "outcomes_by_neighbour_distance",
    "outcomes_by_magnitude_difference",
    "outcomes_by_limit_snr",
    "outcome_combinations",
]


def regions(*rows):
    """Return a region table from (method, combination, distance)."""
    method, combination, distance = zip(*rows, strict=True) if rows else ((), (), ())
    table = pd.DataFrame({"method": method, "combination": combination})
    return table.assign(
        outcome=[COMBINATIONS[name] for name in combination],
        neighbour_distance_arcsec=pd.Series(distance, dtype=float),
        magnitude_difference=1.2,
        limit_snr=5.5,
    )


def told(*rows, methods=("SEP_1", "net"), rules=None):
    """Return a run of these regions, and its tables by name."""
    run = Collected(methods, 1, {"regions": regions(*rows)}, rules or Rules())
    return run, {table.name: table for table in Blends().tables(run)}


ROWS = [
    ("SEP_1", "s = n, b = n", 0.6),
    ("SEP_1", "s = n, b = n", 0.4),
    ("SEP_1", "s = n, b = 0", 0.6),
    ("net", "s = 0, b = n", 0.6),
]


class TestCollect:
    def matched(self, **deblenders):
        batch = gaussian_scenes([[], APART, CLOSE])
        found = {name: deblender(batch) for name, deblender in deblenders.items()}
        return MatchedBatch.match(batch, found, 7, deblenders=deblenders)

    def test_regions_of_the_scenes_of_the_run(self):
        (table,) = Blends().collect(self.matched(a=Perfect(), b=Peaks())).values()
        assert table["scene"].tolist() == [8, 9, 8, 9]
        assert table["outcome"].tolist() == ["recognized"] * 3 + ["unrecognized"]
        (tidy,) = Blends.collects
        assert [column.name for column in tidy.columns] == table.columns.tolist()

    def test_without_deblenders_there_is_nothing(self):
        assert Blends().collect(self.matched()) == {}

    def test_warnings_on_single_sources_are_ignored(self):
        class Warns(Perfect):
            def batch_call(self, blend_batch, njobs=1, **kwargs):
                if blend_batch.max_n_sources == 1:
                    warnings.warn("only one", UserWarning, stacklevel=2)
                return super().batch_call(blend_batch, njobs, **kwargs)

        assert len(Blends().collect(self.matched(a=Warns()))["regions"]) == 2

    def test_a_deblender_that_fails_is_named(self):
        batch = gaussian_scenes([APART])
        matched = MatchedBatch.match(batch, {"a": Perfect()(batch)}, deblenders={"a": FailsAlone()})
        with pytest.raises(
            BatchFailedError, match="FailsAlone failed on 2 images of single sources"
        ):
            Blends().collect(matched)


class TestTables:
    def test_nothing(self):
        study = Blends()
        assert list(study.tables(Collected(["a"], 0, {}))) == []
        run, tables = told()
        assert list(tables) == NAMES
        for table in tables.values():
            assert (table.data["n"] == 0).all() and table.data["value"].isna().all()
        assert not tables["outcomes"].layout.in_report
        assert list(study.figures(run, tables)) == []
        assert study.answers(run, tables) == {}
        assert list(study.definitions(run, {})) == []

    def test_counts(self):
        _, tables = told(*ROWS, methods=["net", "SEP_1"])
        totals = tables["outcomes"].data.set_index(["method", "outcome"])
        assert totals.index.tolist() == [(m, o) for m in ("net", "SEP_1") for o in OUTCOMES]
        assert totals.loc["SEP_1", "k"].tolist() == [2, 0, 0, 0, 0, 1]
        assert totals.loc[("SEP_1", "recognized"), "value"] == pytest.approx(2 / 3)
        assert totals.loc["net", "k"].tolist() == [0, 0, 0, 0, 1, 0]
        # What is unlisted is counted and shown.
        combinations = tables["outcome_combinations"]
        by_name = combinations.data.set_index(["method", "combination"])
        assert by_name.loc[("SEP_1", "s = n, b = 0"), ["outcome", "k"]].tolist() == ["other", 1]
        assert combinations.data["k"].sum() == combinations.page["k"].sum() == 4
        by_distance = tables["outcomes_by_neighbour_distance"].data
        assert by_distance["lo"].unique().tolist() == [0.3, 0.5]
        recognized = by_distance.query("method == 'SEP_1' and outcome == 'recognized'")
        assert recognized[["n", "k"]].to_numpy().tolist() == [[1, 1], [2, 1]]
        assert tables["outcomes_by_limit_snr"].data["lo"].unique().tolist() == [5.0]
        assert tables["outcomes_by_magnitude_difference"].data["lo"].unique().tolist() == [1.0]

    def test_bins_of_the_user(self):
        _, tables = told(*ROWS, rules=Rules(distance_bins=[0, 0.5, 1]))
        assert tables["outcomes_by_neighbour_distance"].data["hi"].unique().tolist() == [0.5, 1]

    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("outcomes", "Method & Blends & Recognized & Unrecognized & Shredded & Undetected & "),
            ("outcomes", r"SEP\_1 & 3 & $0.67^{+0.20}_{-0.28}$ & $0.00^{+0.25}_{-0.00}$ & "),
            ("outcomes_by_neighbour_distance", r"\caption{SEP\_1. What becomes of blends by dis"),
            ("outcomes_by_magnitude_difference", "Difference [mag] & Blends & Recognized"),
            ("outcome_combinations", r"s = n, b = 0 & Other & 1 & 0 \\"),
        ],
    )
    def test_latex(self, name, line):
        assert line in latex_table(told(*ROWS)[1][name])

    def test_csv_keeps_the_names(self):
        lines = csv(told(*ROWS)[1]["outcomes"]).splitlines()
        assert lines[0] == "method,outcome,n,k,value,value_lo,value_hi"
        assert lines[1].startswith("SEP_1,recognized,3,2,0.6666666666666666,0.38")


def test_figures_words_and_answer():
    run, tables = told(*ROWS, ("SEP_1", "s = n, b > n", 0.6))
    figures = list(Blends().figures(run, tables))
    assert [figure.name for figure in figures] == NAMES[1:4]
    assert all(figure.title == tables[figure.name].title for figure in figures)
    _, outcomes = Blends().definitions(run, tables)
    assert "within 0.3 arcsec" in outcomes.meaning
    expected = "Of 4 blends, SEP_1 shreds 25.0% and leaves 0.0% unrecognized; net shreds 0.0%"
    assert Blends().answers(run, tables)["price"].startswith(expected)
