import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.pixels import CLASS_NAMES
from btk_punet.evaluation.statistics.reliability import Reliability
from btk_punet.evaluation.studies.probabilities.class_displays import (
    ClassReliabilityDisplay,
    ErrorPredictionDisplay,
)
from btk_punet.figures import PALETTE
from tests.evaluation.studies.probabilities.test_class_error_tables import NEVER_BLENDED, tables_of


@pytest.fixture(autouse=True)
def no_screen():
    with matplotlib.rc_context():
        matplotlib.use("agg")
        yield
        plt.close("all")


def reliability_table(methods=("a", "b"), n=50):
    rng = np.random.default_rng(1)
    parts = []
    for method in methods:
        for name in CLASS_NAMES:
            reliability = Reliability()
            p = rng.uniform(0, 1, n)
            reliability.add(p, rng.random(n) < p)
            parts.append(reliability.table().assign(**{"method": method, "class": name}))
    return pd.concat(parts, ignore_index=True)


class TestClassReliabilityDisplay:
    @pytest.mark.parametrize("table", [reliability_table()[:0], reliability_table(n=0)])
    def test_nothing(self, table):
        display = ClassReliabilityDisplay(table).plot(Figure(layout="constrained"))
        display.figure_.canvas.draw()
        assert list(display.axes_) == list(dict.fromkeys(table["class"]))

    def test_a_panel_a_class(self):
        table = reliability_table()
        display = ClassReliabilityDisplay(table).plot(Figure(layout="constrained"))
        display.figure_.canvas.draw()
        assert [ax.get_title() for ax in display.axes_.values()] == [
            "Background",
            "Isolated",
            "Blended",
        ]
        rows = table[(table["class"] == "isolated") & (table["method"] == "b") & (table["n"] > 0)]
        points = display.displays_["isolated"].errorbars_["b"].lines[0].get_xydata()
        np.testing.assert_allclose(points, rows[["mean_probability", "value"]])

    def test_colours_are_those_of_the_run(self):
        display = ClassReliabilityDisplay(reliability_table(), everyone=["SEP", "a", "b"])
        display.plot(methods=["b"])
        lines = display.displays_["blended"].errorbars_
        assert list(lines) == ["b"]
        assert lines["b"].lines[0].get_color() == PALETTE[2]
        with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['SEP'\]"):
            display.plot(methods=["SEP"])


class TestErrorPredictionDisplay:
    def test_nothing(self):
        curves = tables_of([[], []])["class_error_curves"]
        display = ErrorPredictionDisplay(curves).plot(Figure().subplots())
        assert display.curves_ == {} and display.legend_ is None

    def test_no_wrong_pixel(self):
        tables = tables_of(variance_of_wrong=0.5)
        display = ErrorPredictionDisplay(tables["class_error_curves"], tables["class_errors"])
        assert display.plot(Figure().subplots()).curves_ == {}

    def test_curves_are_those_of_the_table(self):
        tables = tables_of(said=NEVER_BLENDED, sure=0.75, variance_of_wrong=0.875)
        display = ErrorPredictionDisplay(
            tables["class_error_curves"], tables["class_errors"], ["SEP", "m"]
        ).plot()
        line = display.curves_["m", "class_variance"]
        np.testing.assert_allclose(line.get_xydata(), [[0, 0], [0, 1], [1, 1]])
        other = display.curves_["m", "class_probability"]
        np.testing.assert_allclose(other.get_xydata(), [[0, 0], [1, 1]])
        assert line.get_color() == other.get_color() == PALETTE[1]
        assert [text.get_text() for text in display.legend_.get_texts()] == [
            "m: variance of the class (1.000)",
            "m: 1 − largest probability (0.500)",
        ]

    def test_method_that_is_not_known(self):
        tables = tables_of(said=NEVER_BLENDED)
        with pytest.raises(InputError, match=r"among \['m'\], got \['SEP'\]"):
            ErrorPredictionDisplay(tables["class_error_curves"]).plot(methods=["SEP"])
