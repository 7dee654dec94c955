"""What every registered study keeps: names, descriptions, formats, any order of the batches."""

import re

import numpy as np
import pytest
from astropy.table import Table as AstropyTable

from btk_punet.errors import InputError
from btk_punet.evaluation.report.files import write_figures, write_tables
from btk_punet.evaluation.report.grid import grids
from btk_punet.evaluation.report.html import Section, write_report
from btk_punet.evaluation.runs.comparison import chosen_studies
from btk_punet.evaluation.studies.registry import STUDIES
from tests.evaluation.studies.conftest import METHODS, SCENES, assert_same_tables, run_of

CASES = {
    "empty scenes": ({"none": METHODS["none"]}, [[], []], (1,)),
    "one method": ({"peaks": METHODS["peaks"]}, SCENES, (3,)),
    "no probabilities": ({n: METHODS[n] for n in ("peaks", "none")}, SCENES, (3,)),
    "many": (METHODS, SCENES, (3,)),
}


@pytest.fixture(scope="module")
def runs():
    """Each case with all studies, collected once."""
    studies = chosen_studies(None)
    return {
        name: run_of(studies, methods, scenes, splits)
        for name, (methods, scenes, splits) in CASES.items()
    }


def tables_of(study, run):
    return {table.name: table for table in study.tables(run)}


def test_names():
    studies = chosen_studies(None)
    assert len({study.anchor for study in studies}) == len(STUDIES)
    for study in studies:
        assert re.fullmatch("[a-z-]+", study.anchor)
        assert study.title and study.lead
        for tidy in study.collects:
            assert re.fullmatch("[a-z_]+", tidy.name)
            assert tidy.sort_by or tidy.merge


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", STUDIES, ids=lambda kind: kind.__name__)
class TestEveryStudy:
    def test_tables_are_written_in_every_format(self, kind, case, runs, tmp_path):
        tables = tables_of(kind(), runs[case])
        write_tables(tables.values(), tmp_path)
        for name, table in tables.items():
            assert re.fullmatch("[a-z0-9_]+", name)
            read = AstropyTable.read(tmp_path / f"{name}.ecsv")
            assert read.colnames == list(table.data.columns)
            assert all(read[column].description for column in read.colnames)
            for column in table.data.select_dtypes("number"):
                np.testing.assert_array_equal(read[column], table.data[column])
        for path in tmp_path.glob("*.tex"):
            text = path.read_text()
            assert text.count("{") == text.count("}")
            assert not re.search(r"(?<!\\)[#%]", text)
            assert "a$b$" not in text

    def test_rows_are_as_wide_as_their_heads(self, kind, case, runs):
        for table in tables_of(kind(), runs[case]).values():
            for grid in grids(table):
                widths = {sum(heading.span for heading in line) for line in grid.head}
                widths |= {len(names) + len(cells) for names, cells in grid.rows}
                assert len(widths) == 1, table.name

    def test_definitions_and_answers_are_sentences(self, kind, case, runs):
        study, run = kind(), runs[case]
        tables = tables_of(study, run)
        for term, meaning in study.definitions(run, tables):
            assert term and meaning.endswith((".", ")"))
        for about, text in study.answers(run, tables).items():
            assert about in ("gain", "price", "home")
            assert text.endswith(".") and "nan" not in text

    @pytest.mark.filterwarnings("error")
    def test_figures_are_drawn(self, kind, case, runs, tmp_path):
        if case not in ("empty scenes", "many"):
            pytest.skip("drawn with nothing, and with everything")
        study, run = kind(), runs[case]
        figures = list(study.figures(run, tables_of(study, run)))
        paths = write_figures(figures, tmp_path, formats=())
        assert all(path.stat().st_size > 1000 for path in paths.values())
        assert all(figure.title and figure.how_to_read for figure in figures)


@pytest.mark.parametrize("kind", STUDIES, ids=lambda kind: kind.__name__)
def test_neither_order_nor_size_of_batches_matters(kind, runs):
    study = kind()
    whole = tables_of(study, runs["many"])
    for splits, order in [((1, 2, 5), 1), ((3,), -1), ((), 1)]:
        split = run_of([study], METHODS, SCENES, splits, order)
        assert_same_tables(tables_of(study, split), whole)


def test_report_of_everything(runs, tmp_path):
    run, sections = runs["many"], []
    for study in chosen_studies(None):
        tables = tables_of(study, run)
        sections.append(Section(study, tables))
    page = write_report(tmp_path, {"n_blends": 7, "methods": METHODS.fromkeys(METHODS, {})},
                        sections, run).read_text()  # fmt: skip
    for study in chosen_studies(None):
        if any(t.layout is not None and t.layout.in_report for t in study.tables(run)):
            assert f'<section id="{study.anchor}">' in page
    assert "a$b$ &amp; c&lt;d" in page
    assert "c<d" not in page
    assert "nan" not in re.sub("<[^>]*>", "", page).lower().replace("finance", "")


def test_studies_that_do_not_get_on():
    first, *_ = STUDIES
    with pytest.raises(InputError, match="the same anchor"):
        chosen_studies([first, first])
