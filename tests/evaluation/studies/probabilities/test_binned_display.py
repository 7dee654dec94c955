import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.studies.probabilities.binned_display import BinnedCalibrationDisplay
from btk_punet.evaluation.studies.probabilities.calibration_tables import binned_reliability
from btk_punet.figures import PALETTE


@pytest.fixture(autouse=True)
def no_screen():
    with matplotlib.rc_context():
        matplotlib.use("agg")
        yield
        plt.close("all")


def table(*names, by="neighbour_distance_arcsec", n=40):
    """Return a table of (method, quantity)."""
    rng = np.random.default_rng(2)
    parts = []
    for method, quantity in names:
        p = rng.uniform(0, 1, n)
        values = rng.uniform(0.3, 1.2, n) if by != "magnitude" else rng.uniform(20, 25, n)
        own = binned_reliability(values, p, rng.random(n) < p, by)
        parts.append(own.assign(method=method, quantity=quantity))
    return pd.concat(parts, ignore_index=True)


TWO = [("a", "p_detect"), ("b", "p_detect"), ("b", "p_blend")]


def test_no_rows():
    display = BinnedCalibrationDisplay(table(("a", "p_blend"))[:0], "magnitude").plot(Figure())
    display.figure_.canvas.draw()
    assert display.axes_ == {} and display.legend_ is None


def test_bins_without_numbers():
    nothing = table(("a", "p_blend"), n=0)
    display = BinnedCalibrationDisplay(nothing, "neighbour_distance_arcsec").plot(Figure())
    display.figure_.canvas.draw()
    assert np.isnan(display.said_["p_blend", "a"].get_xydata()[:, 1]).all()


@pytest.mark.parametrize("by", ["magnitude", "neighbour_distance_arcsec"])
def test_points_are_those_of_the_table(by):
    numbers = table(*TWO, by=by)
    display = BinnedCalibrationDisplay(numbers, by).plot(Figure())
    display.figure_.canvas.draw()
    assert list(display.axes_) == ["p_detect", "p_blend"]
    assert set(display.errorbars_) == {(quantity, method) for method, quantity in TWO}
    rows = numbers.query("method == 'b' and quantity == 'p_blend'")
    rows = rows[rows["lo"] < np.inf]
    bars = display.errorbars_["p_blend", "b"]
    np.testing.assert_array_equal(bars.lines[0].get_xydata()[:, 1], rows["value"])
    np.testing.assert_array_equal(
        display.said_["p_blend", "b"].get_xydata()[:, 1], rows["mean_probability"]
    )
    ends = [s[:, 1] for s in bars.lines[2][0].get_segments() if len(s)]
    some = rows[rows["n"] > 0]
    np.testing.assert_allclose(ends, some[["value_lo", "value_hi"]], atol=1e-12)
    if by == "magnitude":  # of which the bin without light is not joined to the others
        assert len(display.axes_["p_blend"].lines[-1].get_xdata()) == 1
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert names == ["a", "b", "came true", "said"]


def test_colours_are_those_of_the_run():
    display = BinnedCalibrationDisplay(
        table(*TWO), "neighbour_distance_arcsec", everyone=["SEP", "a", "b"]
    )
    display.plot(Figure(), methods=["b"])
    assert set(display.errorbars_) == {("p_detect", "b"), ("p_blend", "b")}
    assert display.errorbars_["p_blend", "b"].lines[0].get_color() == PALETTE[2]
    assert display.said_["p_blend", "b"].get_color() == PALETTE[2]


def test_what_is_not_known():
    with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['c'\]"):
        BinnedCalibrationDisplay(table(*TWO), "magnitude").plot(Figure(), methods=["c"])
    with pytest.raises(InputError, match="by must be one of .*, got 'size_arcsec'"):
        BinnedCalibrationDisplay(table(*TWO), "size_arcsec").plot(Figure())


def test_new_figure():
    display = BinnedCalibrationDisplay(table(*TWO), "neighbour_distance_arcsec").plot()
    assert plt.get_fignums() == [display.figure_.number]
    assert tuple(display.figure_.get_size_inches()) == display.size_inches
