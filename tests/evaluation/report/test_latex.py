"""LaTeX of tables, read as a typesetter would."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.quantities import Column
from btk_punet.evaluation.report.latex import escape_latex, latex_table
from btk_punet.evaluation.studies.table import Layout, Table, all_described
from tests.evaluation.report.conftest import FRACTION, make_binned, make_split, make_table


def test_of_nothing():
    assert latex_table(make_table(data=make_table().data[:0])) == ""
    assert latex_table(make_table(layout=None)) == ""
    assert latex_table(make_table(layout=Layout(("method",), ("n",), in_latex=False))) == ""


def test_a_row_per_method():
    text = latex_table(make_table())
    assert r"\begin{tabular}{lrr}" in text
    assert r"Method & N & Share \\" in text
    assert r"a\_1 & 1234 & $0.50^{+0.06}_{-0.05}$ \\" in text
    assert r"b$<$c & 7 & -- \\" in text
    assert r"\caption{Shares \& more. The intervals are 68\% Wilson intervals.}" in text
    assert r"\label{tab:shares}" in text


def test_bins():
    text = latex_table(make_binned(same_n=False))
    assert r" & \multicolumn{2}{c}{a} & \multicolumn{2}{c}{b} \\" in text
    assert "22.0--22.5 & 4 & $0.50^{+0.20}_{-0.20}$" in text
    assert "$>22.5$ & 2" in text


def test_a_table_each():
    text = latex_table(make_split())
    assert text.count(r"\begin{table}") == 2
    assert r"\caption{x. Gains below 100\%.}" in text
    assert r"\label{tab:split:2}" in text
    assert r"1 & r\_1 & $-0.25$ \\" in text


def test_small_errors_have_a_decimal_more():
    text = latex_table(make_table(rows=[(9, 0.5, 0.497, 0.504)]))
    assert "$0.500^{+0.004}_{-0.003}$" in text


def test_kinds_of_intervals_in_one_sentence():
    kinds = {"value": "68% Wilson interval", "gain": "68% bootstrap interval"}
    columns = [Column(name, name, format=".2f", interval=kind) for name, kind in kinds.items()]
    data = pd.DataFrame({"method": ["a"], "value": 0.5, "gain": 0.1})
    for name in kinds:
        data[f"{name}_lo"], data[f"{name}_hi"] = data[name] - 0.1, data[name] + 0.1
    layout = Layout(("method",), ("value", "gain"))
    text = latex_table(Table("two", "Two", data, all_described(columns), layout))
    assert r"Two. The intervals are 68\% Wilson intervals and 68\% bootstrap intervals.}" in text


def test_what_stands_in_the_report_alone():
    table = make_table(layout=Layout(("method",), ("n", "value"), report_only=("n",)))
    text = latex_table(table)
    assert r"Method & Share \\" in text and "1234" not in text


def test_too_wide_for_a_page():
    methods = [f"m{i}" for i in range(20)]
    data = pd.DataFrame({"method": methods, "lo": 0.0, "hi": 1.0, "n": 1, "k": 1, "value": 1.0,
                         "value_lo": np.nan, "value_hi": np.nan})  # fmt: skip
    layout = Layout(("lo", "hi"), ("value",), across=("method",))
    columns = (*FRACTION, *make_binned().quantity.columns())
    assert latex_table(Table("wide", "Wide", data, columns, layout)) == ""


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("", ""), ("a_b", r"a\_b"), ("50% & $x$", r"50\% \& \$x\$"), ("~^\\",
     r"\textasciitilde{}\textasciicircum{}\textbackslash{}"), ("≤ −1", r"$\le$ $-$1")],
)  # fmt: skip
def test_special_characters(text, escaped):
    assert escape_latex(text) == escaped
