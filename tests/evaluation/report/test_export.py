import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import Table

from btk_punet.evaluation.quantities import CEILING
from btk_punet.evaluation.report.export import latex_table, write_tables
from btk_punet.evaluation.report.latex import escape_latex, latex_bin, latex_value
from btk_punet.evaluation.studies.detection import metrics
from btk_punet.evaluation.studies.detection.summary import summary_tables
from tests.evaluation.plotting.test_fractions import (
    detection_rows,
    example_tables,
    fraction_table,
    truth_rows,
)

NOTHING = summary_tables(
    truth_rows("SEP", [False] * 3, counts=False), detection_rows("SEP", [], [])
)


def test_empty_tables(tmp_path):
    assert len(write_tables(NOTHING, tmp_path)) == 3 * len(NOTHING)
    purity = Table.read(tmp_path / "purity_by_magnitude.ecsv")
    assert np.isnan(purity["value"]).all() and (purity["n"] == 0).all()
    assert "& 0 & -- " in (tmp_path / "purity_by_magnitude.tex").read_text()


def test_table_without_rows(tmp_path):
    table = pd.DataFrame({"name": pd.Series([], dtype=str), "n": pd.Series([], dtype=int)})
    write_tables({"other": table}, tmp_path)
    assert Table.read(tmp_path / "other.ecsv").colnames == ["name", "n"]


@pytest.mark.parametrize("name", list(example_tables()))
def test_ecsv_and_csv_read_back_equal(name, tmp_path):
    table = example_tables()[name]
    write_tables({name: table}, tmp_path)
    for back in (
        Table.read(tmp_path / f"{name}.ecsv").to_pandas(),
        Table.read(tmp_path / f"{name}.csv").to_pandas(),
    ):
        pd.testing.assert_frame_equal(back, table, check_exact=True, check_dtype=False)


def test_ecsv_has_units_and_descriptions(tmp_path):
    write_tables(example_tables(), tmp_path)
    by_distance = Table.read(tmp_path / "completeness_by_neighbour_distance.ecsv")
    assert by_distance["lo"].unit == u.arcsec and by_distance["value"].unit is None
    assert "Wilson" in by_distance["value_lo"].description
    assert Table.read(tmp_path / "purity_by_magnitude.ecsv")["hi"].unit == u.mag
    efficiency = Table.read(tmp_path / "efficiency.ecsv")
    assert efficiency["magnitude_lo"].unit == u.mag and efficiency["lo"].unit == u.arcsec
    headline = Table.read(tmp_path / "headline.ecsv")
    assert headline["purity_lo"].description.endswith("of the purity")


def test_same_tables_give_the_same_bytes(tmp_path):
    first = write_tables(example_tables(), tmp_path / "a")
    again = write_tables(example_tables(), tmp_path / "b")
    assert [p.name for p in first] == [p.name for p in again]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_latex_of_completeness():
    table = pd.concat(
        [
            fraction_table([0.0, 0.3, np.inf], my_sep=([100, 50], [50, 50])).replace(
                "my sep", "my_sep"
            ),
            fraction_table([0.0, 0.3, np.inf], c=([100, 50], [75, 50])).replace("c", CEILING),
        ]
    )
    text = latex_table("completeness_by_neighbour_distance", table, "A caption.")
    assert (
        text
        == r"""\begin{table}
\centering
\caption{A caption.}
\label{tab:completeness_by_neighbour_distance}
\setlength{\tabcolsep}{4pt}
\renewcommand{\arraystretch}{1.2}
\begin{tabular}{lrrr}
\hline
Distance [arcsec] & $N$ & my\_sep & Ceiling \\
\hline
0--0.3 & 100 & $0.50^{+0.05}_{-0.05}$ & $0.75^{+0.04}_{-0.05}$ \\
$>0.3$ & 50 & $1.00^{+0.00}_{-0.02}$ & $1.00^{+0.00}_{-0.02}$ \\
\hline
\end{tabular}
\end{table}
"""
    )


def test_latex_of_purity_has_a_number_for_each_method():
    table = fraction_table([22.0, 22.5], SEP=([100], [50]), SExtractor=([0], [0]))
    dark = table.assign(lo=np.inf, hi=np.inf)
    text = latex_table("purity_by_magnitude", pd.concat([table, dark]))
    assert r"& \multicolumn{2}{c}{SEP} & \multicolumn{2}{c}{SExtractor} \\" in text
    assert r"22.0--22.5 & 100 & $0.50^{+0.05}_{-0.05}$ & 0 & -- \\" in text
    assert r"flux $\le 0$ & 100" in text


def test_latex_headline():
    text = latex_table("headline", example_tables()["headline"])
    assert r"Method & Sources & Completeness & Ceiling & Detections & Purity \\" in text
    assert r"SEP & 2 & $0.500^{+0.289}_{-0.289}$" in text
    assert r"ProbaUNet & 2 & $0.000^{+0.333}_{-0.000}$" in text


def test_latex_of_matrices_has_a_table_for_each_method():
    tables = example_tables()
    efficiency = latex_table("efficiency", tables["efficiency"])
    # The last one holds the numbers of sources.
    assert efficiency.count(r"\begin{table}") == 4
    assert r"\label{tab:efficiency:4}" in efficiency
    assert r"Magnitude & 0.3--0.5 & 0.8--1.2 \\" in efficiency
    assert r"22.0--22.5 & 0 & 1 \\" in efficiency
    counts = latex_table("count_matrix", tables["count_matrix"])
    assert counts.count(r"\begin{table}") == 3
    assert r"\caption{SExtractor. Number of scenes" in counts


def test_latex_of_a_matrix_too_wide_for_a_page_is_left_out():
    counts = np.eye(30, dtype=int)
    found, true = np.indices(counts.shape)
    table = pd.DataFrame(
        {"method": "SEP", "n_matched": found.ravel(), "n_true": true.ravel(),
         "scenes": counts.ravel(), "fraction": metrics.column_fractions(counts).ravel()}
    )  # fmt: skip
    assert latex_table("count_matrix", table) == ""


def test_latex_of_any_other_table():
    table = pd.DataFrame({"a_b": ["x&y"], "v": [1.23e-7], "w": [np.nan], "t": [True], "n": [3]})
    text = latex_table("other_table", table)
    assert r"\caption{Other table.}" in text
    assert r"x\&y & $1.23\times10^{-7}$ & -- & True & 3 \\" in text


@pytest.mark.parametrize("name", list(example_tables()))
def test_latex_is_balanced(name):
    table = example_tables()[name]
    text = latex_table(name, table.replace("SEP", r"a_b {50%} & \c ~^ $x$ <#>"))
    bare = text
    for escaped in (r"\{", r"\}", r"\$", r"\&", r"\_", r"\%", r"\#"):
        bare = bare.replace(escaped, "")
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert "%" not in bare and "#" not in bare
    for environment in ("table", "tabular"):
        begins = text.count(rf"\begin{{{environment}}}")
        assert begins == text.count(rf"\end{{{environment}}}") > 0


def test_escape_latex():
    assert escape_latex("SEP_1 (50%)") == r"SEP\_1 (50\%)"
    assert escape_latex("a\\b") == r"a\textbackslash{}b"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.85, 0.83, 0.86), "$0.85^{+0.01}_{-0.02}$"),
        ((0.998, 0.996, 0.999), "$0.998^{+0.001}_{-0.002}$"),
        ((0.85, 0.83, 0.86, 3), "$0.850^{+0.010}_{-0.020}$"),
        ((0.0, 1.7e-18, 0.02), "$0.00^{+0.02}_{-0.00}$"),
        ((np.nan, np.nan, np.nan), "--"),
    ],
)
def test_latex_value(numbers, text):
    assert latex_value(*numbers) == text


def test_latex_bin():
    assert latex_bin(22.0, 22.5, 1) == "22.0--22.5"
    assert latex_bin(2.0, np.inf) == "$>2$"
    assert latex_bin(-np.inf, 18.0) == "$<18$"
