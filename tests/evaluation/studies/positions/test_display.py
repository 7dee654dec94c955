"""The plot of positions: which methods are drawn, and where."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.positions.display import PositionDisplay


def table(**methods):
    """Return a table from the scatter and (n, k) of two bins of each method."""
    parts = []
    for name, (scatter, n, k) in methods.items():
        part = pd.DataFrame({"method": name, "lo": [22.0, 23.0], "hi": [23.0, 24.0]})
        part = part.assign(pairs=10, scatter=scatter)
        parts.append(pd.concat([part, fractions(n, k)], axis=1))
    return pd.concat(parts, ignore_index=True)


def test_nothing():
    display = PositionDisplay(table(a=([0.1, 0.2], [4, 4], [2, 4]))[:0], "magnitude")
    assert display.plot(Figure()).legend_ is None


def test_two_methods_of_which_one_states_errors():
    methods = table(a=([0.1, 0.2], [4, 4], [2, 4]), b=([0.3, np.nan], [0, 0], [0, 0]))
    display = PositionDisplay(methods, "magnitude").plot(Figure())
    assert list(display.lines_) == ["a", "b"]
    np.testing.assert_array_equal(display.lines_["a"].get_ydata(), [0.1, 0.2])
    assert list(display.errorbars_) == ["a"]
    np.testing.assert_array_equal(display.errorbars_["a"].lines[0].get_ydata(), [0.5, 1.0])
    assert [t.get_text() for t in display.axes_[0].get_xticklabels()] == ["22.0–23.0", "23.0–24.0"]
    assert [t.get_text() for t in display.legend_.get_texts()] == ["a", "b"]


def test_a_method_has_its_colour_alone_as_well():
    methods = table(a=([0.1, 0.2], [4, 4], [2, 4]), b=([0.3, 0.4], [4, 4], [1, 1]))
    both = PositionDisplay(methods, "magnitude").plot(Figure())
    alone = PositionDisplay(methods, "magnitude").plot(Figure(), ["b"])
    assert list(alone.lines_) == ["b"]
    assert alone.lines_["b"].get_color() == both.lines_["b"].get_color()


def test_wrong_names():
    methods = table(a=([0.1, 0.2], [4, 4], [2, 4]))
    with pytest.raises(InputError, match="by must be one of.*got 'colour'"):
        PositionDisplay(methods, "colour").plot(Figure())
    with pytest.raises(InputError, match=r"among \['a'\], got \['c'\]"):
        PositionDisplay(methods, "magnitude").plot(Figure(), ["c"])
