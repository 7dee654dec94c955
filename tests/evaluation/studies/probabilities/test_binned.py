import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.studies.probabilities.binned import (
    BinnedCalibrationDisplay,
    binned_reliability,
)
from btk_punet.figures import PALETTE
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.oracle import Oracle
from tests.evaluation.sayers import PAIR_AND_ONE, RIGHT
from tests.evaluation.studies.probabilities.collecting import (
    all_predicted,
    collected,
    of_scenes,
    tables_of,
)

pytestmark = pytest.mark.usefixtures("no_screen")
BINS = ["lo", "hi", "n", "k", "mean_probability", "value"]


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


def test_blends_by_magnitude_and_distance():
    # The pair is 0.2 arcsec apart; the single source 3.4 arcsec from it.
    batch = bright_scenes([PAIR_AND_ONE])
    tidy = collected(batch, {"m": all_predicted(batch, [0.9, 0.6, 0.25], RIGHT)})
    tables = tables_of(tidy, ["m"])
    some = tables["calibration_by_neighbour_distance"].data.query("n > 0")
    assert set(some["quantity"]) == {"p_blend"}
    assert some[BINS].to_numpy().tolist() == [[0, 0.3, 2, 2, 0.75, 1], [2, np.inf, 1, 0, 0.25, 0]]
    np.testing.assert_allclose(some["expected_calibration_error"], [0.25, 0.25])
    np.testing.assert_allclose(some["brier_score"], [(0.1**2 + 0.4**2) / 2, 0.25**2])
    interval = fractions(np.array([2, 1]), np.array([2, 0]))[["value_lo", "value_hi"]]
    np.testing.assert_array_equal(some[["value_lo", "value_hi"]], interval)
    assert tables["calibration_by_magnitude"].data["n"].sum() == 3
    table = tables["blend_calibration"].data.query("n > 0")
    assert table["lo"].tolist() == [0.2, 0.6, 0.9]
    # In bins of the user's own.
    own = tables_of(tidy, ["m"], rules=Rules(distance_bins=(0, 1, 5)))
    own = own["calibration_by_neighbour_distance"].data
    assert own[["lo", "hi", "n"]].to_numpy().tolist() == [[0, 1, 2], [1, 5, 1]]


def test_candidates_by_distance():
    """To the nearest other candidate, whether or not it is above the threshold."""
    tables = of_scenes([[(20, 20), (26, 20), (45, 45)]], {"oracle": Oracle((0.9, 0.3, 0.8))})
    some = tables["calibration_by_neighbour_distance"].data.query("n > 0")
    np.testing.assert_allclose(
        some[BINS].astype(float), [[0.5, 0.8, 2, 2, 0.6, 1], [2, np.inf, 1, 1, 0.8, 1]]
    )


def test_detections_without_light_have_a_bin():
    magnitude = [22.1, np.inf, 22.4, np.inf]
    table = binned_reliability(magnitude, [0.5, 0.2, 0.7, 0.4], [1, 0, 1, 1], "magnitude")
    some = table.query("n > 0")
    np.testing.assert_allclose(
        some[BINS], [[22, 22.5, 2, 2, 0.6, 1], [np.inf, np.inf, 2, 1, 0.3, 0.5]]
    )
    assert table.columns.tolist()[:5] == ["lo", "hi", "n", "k", "mean_probability"]


TWO = [("a", "p_detect"), ("b", "p_detect"), ("b", "p_blend")]


def test_no_rows_to_draw():
    display = BinnedCalibrationDisplay(table(("a", "p_blend"))[:0], "magnitude").plot(Figure())
    display.figure_.canvas.draw()
    assert display.axes_ == {} and display.legend_ is None


def test_bins_without_numbers():
    nothing = table(("a", "p_blend"), n=0)
    display = BinnedCalibrationDisplay(nothing, "neighbour_distance_arcsec").plot(Figure())
    display.figure_.canvas.draw()
    assert np.isnan(display.predicted_["p_blend", "a"].get_xydata()[:, 1]).all()


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
        display.predicted_["p_blend", "b"].get_xydata()[:, 1], rows["mean_probability"]
    )
    ends = [s[:, 1] for s in bars.lines[2][0].get_segments() if len(s)]
    some = rows[rows["n"] > 0]
    np.testing.assert_allclose(ends, some[["value_lo", "value_hi"]], atol=1e-12)
    if by == "magnitude":  # of which the bin without light is not joined to the others
        assert len(display.axes_["p_blend"].lines[-1].get_xdata()) == 1
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert names == ["a", "b", "observed fraction", "mean predicted probability"]


def test_colours_are_those_of_the_run():
    display = BinnedCalibrationDisplay(
        table(*TWO), "neighbour_distance_arcsec", everyone=["SEP", "a", "b"]
    )
    display.plot(Figure(), methods=["b"])
    assert set(display.errorbars_) == {("p_detect", "b"), ("p_blend", "b")}
    assert display.errorbars_["p_blend", "b"].lines[0].get_color() == PALETTE[2]
    assert display.predicted_["p_blend", "b"].get_color() == PALETTE[2]


def test_what_is_not_known():
    with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['c'\]"):
        BinnedCalibrationDisplay(table(*TWO), "magnitude").plot(Figure(), methods=["c"])
    with pytest.raises(InputError, match="by must be one of .*, got 'size_arcsec'"):
        BinnedCalibrationDisplay(table(*TWO), "size_arcsec").plot(Figure())


def test_new_figure():
    display = BinnedCalibrationDisplay(table(*TWO), "neighbour_distance_arcsec").plot()
    assert plt.get_fignums() == [display.figure_.number]
    assert tuple(display.figure_.get_size_inches()) == display.size_inches
