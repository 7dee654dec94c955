"""Tables and figures as files: what is in them, and the same bytes again."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table as AstropyTable

from btk_punet.evaluation.plotting.display import AxesDisplay, PanelsDisplay
from btk_punet.evaluation.report.files import write_figures, write_tables
from btk_punet.evaluation.studies.base import Figure
from tests.evaluation.report.conftest import make_binned, make_table


class Line(AxesDisplay):
    size_inches = (2.0, 1.0)

    def _plot(self, methods):
        self.ax_.plot([0, 1], [0, 1])


class Panels(PanelsDisplay):
    size_inches = (3.0, 1.0)

    def _plot(self, methods):
        self.figure_.subplots(1, 2)


def test_of_nothing(tmp_path):
    assert write_tables([], tmp_path / "tables") == []
    assert write_figures([], tmp_path / "plots") == {}
    assert list(tmp_path.iterdir()) == []


def test_tables(tables, tmp_path):
    paths = write_tables(tables, tmp_path)
    assert [path.name for path in paths[:3]] == ["shares.ecsv", "shares.csv", "shares.tex"]
    assert len(paths) == 9
    read = AstropyTable.read(tmp_path / "binned.ecsv")
    assert str(read["lo"].unit) == "mag"
    assert "upper edge" in read["hi"].description
    np.testing.assert_array_equal(read["value"], make_binned().data["value"])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "shares.csv"), make_table().data)


def test_a_curve_has_no_latex(tmp_path):
    paths = write_tables([make_table(layout=None)], tmp_path)
    assert {path.suffix for path in paths} == {".ecsv", ".csv"}


@pytest.mark.parametrize("formats", [(), ("pdf", "svg")])
def test_figures(formats, tmp_path):
    figures = [Figure("line", "A line", "Up.", Line()), Figure("two", "Two", "Both.", Panels())]
    paths = write_figures(figures, tmp_path, formats)
    assert paths == {"line": tmp_path / "line.png", "two": tmp_path / "two.png"}
    assert {path.suffix[1:] for path in tmp_path.iterdir()} == {"png", *formats}


def test_the_same_bytes_again(tables, tmp_path):
    for folder in ("once", "again"):
        write_tables(tables, tmp_path / folder)
        write_figures([Figure("line", "A line", "Up.", Line())], tmp_path / folder, ("pdf",))
    for path in (tmp_path / "once").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
