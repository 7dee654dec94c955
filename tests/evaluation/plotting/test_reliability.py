import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.reliability import ReliabilityDisplay
from btk_punet.evaluation.statistics.reliability import Reliability
from btk_punet.figures import PALETTE

pytestmark = pytest.mark.usefixtures("no_screen")


def table(n, seed=1, power=1.0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0, 1, n)
    reliability = Reliability()
    reliability.add(p, rng.random(n) < p**power)
    return reliability.table()


def axes():
    return Figure(layout="constrained").subplots()


def test_no_table():
    display = ReliabilityDisplay({}).plot(axes())
    display.figure_.canvas.draw()
    assert display.errorbars_ == {} and display.legend_ is None


def test_table_without_numbers():
    display = ReliabilityDisplay({"nothing": table(0)}).plot(axes())
    display.figure_.canvas.draw()
    assert display.errorbars_["nothing"].lines[0].get_xydata().shape == (0, 2)


def test_points_error_bars_and_numbers_are_those_of_the_table():
    numbers = table(60)
    display = ReliabilityDisplay({"isolated": numbers}).plot(axes())
    some = numbers[numbers["n"] > 0]
    bars = display.errorbars_["isolated"]
    np.testing.assert_allclose(
        bars.lines[0].get_xydata(), some[["mean_probability", "value"]].to_numpy()
    )
    ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, some[["value_lo", "value_hi"]], atol=1e-12)
    values, edges, _ = display.histograms_["isolated"].get_data()
    np.testing.assert_array_equal(values, np.where(numbers["n"] > 0, numbers["n"], np.nan))
    np.testing.assert_allclose(edges, np.arange(11) / 10)
    np.testing.assert_allclose(display.diagonal_.get_xydata(), [[0, 0], [1, 1]])


def test_empty_bins_have_no_point():
    reliability = Reliability()
    reliability.add([0.05, 0.95], [False, True])
    display = ReliabilityDisplay({"p": reliability.table()}).plot(axes())
    assert len(display.errorbars_["p"].lines[0].get_xydata()) == 2
    display.figure_.canvas.draw()


def test_colours_do_not_depend_on_which_are_drawn():
    display = ReliabilityDisplay({name: table(50) for name in "abc"}).plot(axes(), methods=["c"])
    assert list(display.errorbars_) == ["c"]
    assert display.errorbars_["c"].lines[0].get_color() == PALETTE[2]
    assert [text.get_text() for text in display.legend_.get_texts()] == ["c"]
    with pytest.raises(InputError, match=r"among \['a', 'b', 'c'\], got \['d'\]"):
        display.plot(axes(), methods=["d"])


def test_new_figure_holds_the_histogram():
    display = ReliabilityDisplay({"a": table(500), "b": table(50, power=2.0)}).plot()
    display.figure_.canvas.draw()
    assert plt.get_fignums() == [display.figure_.number]
    box = display.histogram_ax_.get_tightbbox()
    assert box.y0 > -1 and box.x0 > -1  # but for a pixel
    assert box.y1 <= display.ax_.get_window_extent().y0
    assert display.histogram_ax_.get_yscale() == "log"
