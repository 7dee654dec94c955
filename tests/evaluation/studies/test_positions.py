"""Positions: errors counted by hand, stated errors that hold by construction, the plot."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.positions import (
    PositionDisplay,
    position_errors,
    position_table,
)

TRUTH_COLUMNS = ["scene", "source", "x", "y", "magnitude", "counts", "matched", "detection"]
FOUND_COLUMNS = ["scene", "detection", "x", "y", "x_err", "y_err"]
# Two bright sources found, one off by (0.3, -0.1) and one by (-0.1, 0.5); one that does not
# count; one that is missed; and a faint one off by (1, 0).
TRUTH = pd.DataFrame(
    [
        (0, 0, 10.0, 20.0, 22.1, True, True, 1),
        (0, 1, 30.0, 20.0, 22.2, True, True, 0),
        (0, 2, 40.0, 40.0, 26.0, False, True, 2),
        (1, 0, 50.0, 10.0, 23.0, True, False, -1),
        (1, 1, 20.0, 10.0, 24.6, True, True, 0),
    ],
    columns=TRUTH_COLUMNS,
)
FOUND = pd.DataFrame(
    [
        (0, 0, 29.9, 20.5, 0.2, 0.2),
        (0, 1, 10.3, 19.9, 0.2, 0.2),
        (0, 2, 42.0, 40.0, 0.2, 0.2),
        (1, 0, 21.0, 10.0, np.nan, np.nan),
    ],
    columns=FOUND_COLUMNS,
)


def test_nothing_found():
    table = position_table(TRUTH[:0], FOUND[:0], edges=[20, 25])
    assert table[["pairs", "n", "k"]].to_numpy().tolist() == [[0, 0, 0]]
    assert table[["bias_x", "bias_y", "bias_err", "scatter", "value"]].isna().all().all()


def test_errors_by_hand():
    errors = position_errors(TRUTH, FOUND)
    assert errors[["scene", "source"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 1]]
    assert errors["dx"].to_numpy() == pytest.approx([0.3, -0.1, 1.0])
    assert errors["dy"].to_numpy() == pytest.approx([-0.1, 0.5, 0.0])


def test_table_by_hand():
    bright, faint = position_table(TRUTH, FOUND, edges=[20, 24, 26]).to_dict("records")
    assert (bright["pairs"], faint["pairs"]) == (2, 1)
    assert (bright["bias_x"], bright["bias_y"]) == pytest.approx((0.1, 0.2))
    # Of 0.1, 0.1, 0.3, 0.5, at 0.6827 * 3 = 2.0481 steps.
    assert bright["scatter"] == pytest.approx(0.3 + 0.0481 * 0.2)
    assert (bright["n"], bright["k"], bright["value"]) == (4, 2, 0.5)
    # The faint one states no errors.
    assert (faint["n"], faint["k"]) == (0, 0)
    assert np.isnan(faint["value"])
    assert faint["bias_x"] == pytest.approx(1.0)


def test_right_errors_cover_68_per_cent():
    rng = np.random.default_rng(5)
    n = 4000
    width = rng.uniform(0.1, 0.5, n)
    truth = pd.DataFrame(
        {
            "scene": np.arange(n), "source": 0, "x": 30.0, "y": 30.0, "magnitude": 23.0,
            "counts": True, "matched": True, "detection": 0,
        }
    )  # fmt: skip
    found = pd.DataFrame(
        {
            "scene": np.arange(n), "detection": 0, "x": 30 + rng.normal(0, width),
            "y": 30 + rng.normal(0, width), "x_err": width, "y_err": width,
        }
    )  # fmt: skip
    row = position_table(truth, found, edges=[20, 25]).iloc[0]
    assert row["value"] == pytest.approx(0.6827, abs=0.02)
    assert abs(row["bias_x"]) < 4 * row["bias_err"]
    half = position_table(truth, found.assign(x_err=width / 2, y_err=width / 2), edges=[20, 25])
    assert half["value"][0] == pytest.approx(0.383, abs=0.02)  # within half a sigma


def test_no_such_quantity():
    with pytest.raises(InputError, match=r"by must be one of \['magnitude'.*got 'colour'"):
        position_table(TRUTH, FOUND, "colour")


def by_method(**methods):
    """Return a table from the scatter and (n, k) of two bins of each method."""
    parts = []
    for name, (scatter, n, k) in methods.items():
        part = pd.DataFrame({"method": name, "lo": [22.0, 23.0], "hi": [23.0, 24.0]})
        part = part.assign(pairs=10, scatter=scatter)
        parts.append(pd.concat([part, fractions(n, k)], axis=1))
    return pd.concat(parts, ignore_index=True)


def test_nothing_to_draw():
    display = PositionDisplay(by_method(a=([0.1, 0.2], [4, 4], [2, 4]))[:0], "magnitude")
    assert display.plot(Figure()).legend_ is None


def test_two_methods_of_which_one_states_errors():
    methods = by_method(a=([0.1, 0.2], [4, 4], [2, 4]), b=([0.3, np.nan], [0, 0], [0, 0]))
    display = PositionDisplay(methods, "magnitude").plot(Figure())
    assert list(display.lines_) == ["a", "b"]
    np.testing.assert_allclose(display.lines_["a"].get_ydata(), [0.01, 0.02])
    assert list(display.errorbars_) == ["a"]
    np.testing.assert_array_equal(display.errorbars_["a"].lines[0].get_ydata(), [0.5, 1.0])
    assert [t.get_text() for t in display.axes_[0].get_xticklabels()] == ["22.0–23.0", "23.0–24.0"]
    assert [t.get_text() for t in display.legend_.get_texts()] == ["a", "b"]


def test_a_method_has_its_colour_alone_as_well():
    methods = by_method(a=([0.1, 0.2], [4, 4], [2, 4]), b=([0.3, 0.4], [4, 4], [1, 1]))
    both = PositionDisplay(methods, "magnitude").plot(Figure())
    alone = PositionDisplay(methods, "magnitude").plot(Figure(), ["b"])
    assert list(alone.lines_) == ["b"]
    assert alone.lines_["b"].get_color() == both.lines_["b"].get_color()


def test_wrong_names_of_the_plot():
    methods = by_method(a=([0.1, 0.2], [4, 4], [2, 4]))
    with pytest.raises(InputError, match="by must be one of.*got 'colour'"):
        PositionDisplay(methods, "colour").plot(Figure())
    with pytest.raises(InputError, match=r"among \['a'\], got \['c'\]"):
        PositionDisplay(methods, "magnitude").plot(Figure(), ["c"])
