"""What the plots share: colours, lengths of error bars, and names of bins."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.style import (
    all_bins,
    bin_label,
    decimals_of,
    error_lengths,
    method_colours,
    method_markers,
    method_styles,
    plain_label,
    rows_by_method,
    set_bin_ticks,
)


def test_error_lengths():
    assert error_lengths(pd.DataFrame(columns=["value", "value_lo", "value_hi"])).shape == (2, 0)
    rows = pd.DataFrame({"a": [0.5, 1.0], "a_lo": [0.3, 0.9], "a_hi": [0.6, 1.0 - 1e-16]})
    np.testing.assert_allclose(error_lengths(rows, "a"), [[0.2, 0.1], [0.1, 0.0]], atol=1e-12)
    assert (error_lengths(rows, "a") >= 0).all()


def test_bins_on_an_axis():
    ax = Figure().subplots()
    bins = pd.DataFrame({"lo": [22.0, 22.5], "hi": [22.5, np.inf]})
    for by, names in (
        ("magnitude", ["22.0–22.5", "> 22.5"]),
        ("limit_snr", ["22–22.5", "> 22.5"]),
    ):
        set_bin_ticks(ax, bins, by)
        assert [text.get_text() for text in ax.get_xticklabels()] == names
        np.testing.assert_array_equal(ax.get_xticks(), [0, 1])


def test_colours_and_markers_of_many_methods():
    names = [str(n) for n in range(42)]
    pairs = set(zip(method_colours(names).values(), method_markers(names).values(), strict=True))
    assert len(pairs) == 42


@pytest.mark.parametrize(
    ("edges", "text"),
    [
        ((0.0, 0.3), "0–0.3"),
        ((2.0, np.inf), "> 2"),
        ((-np.inf, 18.0), "< 18"),
        ((np.inf, np.inf), "flux ≤ 0"),
    ],
)
def test_bin_label(edges, text):
    assert bin_label(*edges) == text


def test_decimals_of_edges():
    assert decimals_of([18.0, 19.0, np.inf]) == 1
    assert decimals_of(np.arange(18, 20, 0.25)) == 2
    assert decimals_of([]) == 1
    assert bin_label(18.0, 18.25, 2) == "18.00–18.25"


def test_methods_keep_their_styles_whichever_are_drawn():
    assert method_styles([], None) == ([], {})
    _, of_all = method_styles(["a", "b", "c"], None)
    drawn, styles = method_styles(["b", "c"], ["c"], ["a", "b"])
    assert drawn == ["c"] and styles == {"c": of_all["c"]}
    assert len({style["color"] for style in of_all.values()}) == 3
    with pytest.raises(InputError, match=r"methods must be among \['b'\], got \['a'\]"):
        method_styles(["b"], ["a"], ["a", "b"])


def test_rows_of_a_method_without_a_bin():
    table = pd.DataFrame(
        {
            "method": ["a", "b", "b"],
            "lo": [1.0, 1.0, 0.0],
            "hi": [np.inf, np.inf, 1.0],
            "n": [1, 2, 3],
        }
    )
    bins = all_bins(table)
    assert bins.to_numpy().tolist() == [[0.0, 1.0], [1.0, np.inf]]
    rows = rows_by_method(table, bins)
    np.testing.assert_array_equal(rows["a"]["n"], [np.nan, 1])
    assert rows["b"]["n"].tolist() == [3, 2]


@pytest.mark.parametrize("name", ["", "a", "$x^2$", "a$b", "$1 or $2_$", r"\$"])
def test_plain_labels_are_drawn_as_they_are(name):
    text = Figure().text(0, 0, plain_label(name))
    assert text._preprocess_math(text.get_text()) == (name, False)
