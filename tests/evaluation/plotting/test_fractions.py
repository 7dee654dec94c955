import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.fractions import FractionDisplay
from btk_punet.evaluation.quantities import CEILING
from btk_punet.evaluation.statistics.fractions import COMPLETENESS_BY, fractions
from btk_punet.evaluation.studies.detection.false_detections import FalseDetections
from btk_punet.evaluation.studies.detection.found import Found
from btk_punet.figures import PALETTE
from tests.evaluation.conftest import collected, tables_of

METHODS = ["SEP", "SExtractor", "ProbaUNet"]

pytestmark = pytest.mark.usefixtures("no_screen")


def truth_rows(method, matched, scene=0, **columns):
    """Three sources a scene; the last one is too faint to count."""
    rows = {
        "scene": scene,
        "method": method,
        "source": [0, 1, 2],
        "x": [10.0, 20.0, 30.0],
        "y": [12.0, 14.0, 16.0],
        "magnitude": [22.1, 24.2, 26.0],
        "size_arcsec": [0.3, 0.2, 0.1],
        "alone_snr": [100.0, 12.0, 3.0],
        "limit_snr": [90.0, 4.0, 1.0],
        "blendedness": [0.0, 0.5, 0.2],
        "neighbour_distance_arcsec": [1.0, 0.4, np.inf],
        "counts": [True, True, False],
        "matched": matched,
        "detection": np.where(matched, np.cumsum(matched) - 1, -1),
    }
    return pd.DataFrame(rows | columns)


def detection_rows(method, x, matched, magnitude=24.0, scene=0):
    return pd.DataFrame(
        {
            "scene": scene,
            "method": method,
            "detection": np.arange(len(x)),
            "x": np.asarray(x, float),
            "y": 5.0,
            "x_err": 0.3,
            "y_err": np.nan if method == "SEP" else 0.3,
            "magnitude": magnitude,
            "neighbour_distance_arcsec": np.inf,
            "in_bounds": True,
            "matched": np.asarray(matched, bool),
        }
    )


def example_tables():
    found = {"SEP": [1, 0, 0], "SExtractor": [1, 1, 0], "ProbaUNet": [0, 0, 0]}
    truth = pd.concat([truth_rows(m, np.array(k, bool)) for m, k in found.items()])
    detections = pd.concat(
        [
            detection_rows("SEP", [10.0], [True]),
            detection_rows("SExtractor", [10, 20, 40], [1, 1, 0], [22.0, 24.1, np.inf]),
            detection_rows("ProbaUNet", [], []),
        ]
    )
    return counted(truth, detections)


def counted(truth, detections):
    """Return completeness, purity and matrices of a run of one scene, by name."""
    run = collected(truth, detections)
    tables = tables_of(Found(), run) | tables_of(FalseDetections(), run)
    return {name: table.data for name, table in tables.items()}


def fraction_table(edges, **n_and_k):
    parts = []
    for method, (n, k) in n_and_k.items():
        table = fractions(np.array(n), np.array(k))
        table.insert(0, "hi", edges[1:])
        table.insert(0, "lo", edges[:-1])
        table.insert(0, "method", method.replace("_", " "))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def drawn_points(display, name):
    return display.errorbars_[name].lines[0].get_xydata()


def axes():
    return Figure().subplots()


class TestFractionDisplay:
    def test_without_any_detection(self):
        tables = counted(
            truth_rows("SEP", [False] * 3), detection_rows("SEP", [], []).astype({"matched": bool})
        )
        display = FractionDisplay(tables["purity_by_magnitude"], "purity", "magnitude").plot(axes())
        assert np.isnan(drawn_points(display, "SEP")[:, 1]).all()
        display.figure_.canvas.draw()

    def test_without_any_source(self):
        truth = truth_rows("SEP", [False] * 3, counts=False)
        tables = counted(truth, detection_rows("SEP", [1.0], [False]))
        for by in COMPLETENESS_BY:
            name = f"completeness_by_{by.removesuffix('_arcsec')}"
            FractionDisplay(tables[name], "completeness", by).plot(axes())

    def test_of_one_bin(self):
        table = fraction_table([22.0, 22.5], SEP=([10], [5]))
        display = FractionDisplay(table, "completeness", "magnitude").plot(axes())
        np.testing.assert_allclose(drawn_points(display, "SEP"), [[22.25, 0.5]])
        assert display.ceiling_ is None

    def test_points_and_intervals_are_those_of_the_table(self):
        table = fraction_table([22.0, 22.5, 23.0], SEP=([10, 20], [5, 20]))
        display = FractionDisplay(table, "completeness", "magnitude").plot(axes())
        np.testing.assert_allclose(drawn_points(display, "SEP"), [[22.25, 0.5], [22.75, 1.0]])
        segments = display.errorbars_["SEP"].lines[2][0].get_segments()
        ends = np.array(segments)[:, :, 1]
        np.testing.assert_allclose(ends, table[["value_lo", "value_hi"]])

    def test_interval_that_misses_the_value_by_rounding(self):
        table = fraction_table([22.0, 22.5], SEP=([44], [0])).assign(value_lo=1.7e-18)
        FractionDisplay(table, "completeness", "magnitude").plot(axes())

    def test_ceiling_is_drawn_over_the_bins(self):
        table = fraction_table(
            [0.0, 0.3, 0.5, np.inf], SEP=([4, 4, 4], [1, 2, 3]), ceiling=([4, 4, 4], [2, 3, 4])
        ).replace("ceiling", CEILING)
        display = FractionDisplay(table, "completeness", "neighbour_distance_arcsec").plot(axes())
        steps = display.ceiling_.get_data()
        np.testing.assert_allclose(steps.values, [0.5, 0.75, 1.0])
        np.testing.assert_allclose(steps.edges, [-0.5, 0.5, 1.5, 2.5])
        assert matplotlib.colors.same_color(display.ceiling_.get_edgecolor(), "black")
        assert [text.get_text() for text in display.legend_.get_texts()] == ["SEP", CEILING]

    def test_ceiling_that_was_not_computed_is_left_out(self):
        truth = truth_rows("SEP", [True, True, False], limit_snr=np.nan)
        tables = counted(truth, detection_rows("SEP", [1.0], [True]))
        table = tables["completeness_by_magnitude"]
        display = FractionDisplay(table, "completeness", "magnitude").plot(axes())
        assert display.ceiling_ is None

    def test_unequal_and_open_bins_stand_side_by_side(self):
        table = fraction_table([0.0, 0.3, 0.5, np.inf], SEP=([4, 4, 4], [1, 2, 3]))
        display = FractionDisplay(table, "completeness", "neighbour_distance_arcsec").plot(axes())
        names = [text.get_text() for text in display.ax_.get_xticklabels()]
        assert names == ["0–0.3", "0.3–0.5", "> 0.5"]
        np.testing.assert_allclose(drawn_points(display, "SEP")[:, 0], [0, 1, 2])

    def test_detections_without_flux_stand_apart_from_the_line(self):
        table = fraction_table([22.0, 22.5, 23.0], SEP=([8, 8], [8, 8]))
        dark = table.iloc[:1].assign(lo=np.inf, hi=np.inf, value=0.5, value_lo=0.4, value_hi=0.6)
        table = pd.concat([table, dark])
        display = FractionDisplay(table, "purity", "magnitude").plot(axes())
        assert len(drawn_points(display, "SEP")) == 2
        assert display.ax_.get_xticklabels()[-1].get_text() == "flux ≤ 0"
        (alone,) = [line for line in display.ax_.lines if line.get_linestyle() == "None"
                    and len(line.get_xdata()) == 1 and line.get_marker() == "o"]  # fmt: skip
        assert alone.get_ydata() == [0.5] and alone.get_xdata() > 23.0

    def test_methods_of_a_bin_are_drawn_next_to_each_other(self):
        table = fraction_table([22.0, 22.5], SEP=([8], [4]), SExtractor=([8], [4]))
        display = FractionDisplay(table, "completeness", "magnitude").plot(axes())
        x = [drawn_points(display, name)[0, 0] for name in ("SEP", "SExtractor")]
        assert 22.0 < x[0] < 22.25 < x[1] < 22.5

    def test_numbers_are_written_on_top(self):
        table = fraction_table([22.0, 22.5, 23.0], SEP=([8, 1234], [4, 1]))
        display = FractionDisplay(table, "completeness", "magnitude").plot(axes())
        (top,) = display.ax_.child_axes
        assert [text.get_text() for text in top.get_xticklabels()] == ["8", "1234"]

    def test_colours_do_not_depend_on_which_methods_are_drawn(self):
        table = example_tables()["completeness_by_magnitude"]
        display = FractionDisplay(table, "completeness", "magnitude")
        everyone = display.plot(axes()).errorbars_
        one = display.plot(axes(), methods=["SExtractor"]).errorbars_
        assert list(one) == ["SExtractor"]
        for bars in (everyone, one):
            assert bars["SExtractor"].lines[0].get_color() == PALETTE[1]
            assert bars["SExtractor"].lines[0].get_marker() == "s"

    def test_draws_what_a_metric_returns(self):
        table = fraction_table([22.0, 22.5], SEP=([8], [4])).drop(columns="method")
        display = FractionDisplay(table, "completeness", "magnitude").plot(axes())
        assert display.legend_ is None

    def test_bins_without_entries_at_the_ends_are_left_out(self):
        table = fraction_table([21, 22, 23, 24, 25], SEP=([0, 4, 4, 0], [0, 1, 1, 0]))
        display = FractionDisplay(table, "completeness", "magnitude").plot(axes())
        np.testing.assert_allclose(drawn_points(display, "SEP")[:, 0], [22.5, 23.5])

    @pytest.mark.parametrize(
        ("quantity", "by", "methods"),
        [
            ("recall", "magnitude", None),
            ("purity", "limit_snr", None),
            ("purity", "magnitude", ["scarlet"]),
        ],
    )
    def test_says_what_is_wrong(self, quantity, by, methods):
        table = fraction_table([22.0, 22.5], SEP=([8], [4]))
        with pytest.raises(InputError, match="must be"):
            FractionDisplay(table, quantity, by).plot(axes(), methods)

    def test_names_are_no_mathtext(self):
        table = fraction_table([22.0, 22.5], a=([8], [4]), b=([7], [4]))
        table = table.replace({"method": {"a": "$x_1$", "b": "_b"}})
        figure = Figure(layout="constrained")
        display = FractionDisplay(table, "completeness", "magnitude").plot(figure.subplots())
        figure.draw_without_rendering()
        assert [t.get_text() for t in display.legend_.get_texts()] == [r"\$x_1\$", "_b"]
        # Beside the axes, where it hides nothing.
        box = display.legend_.get_window_extent()
        assert box.x0 >= display.ax_.get_window_extent().x1
        assert box.x1 <= figure.bbox.x1

    def test_settings_of_the_user_stay_as_they_are(self):
        before = matplotlib.rcParams.copy()
        table = fraction_table([22.0, 22.5], SEP=([8], [4]))
        display = FractionDisplay(table, "completeness", "magnitude").plot()
        assert matplotlib.rcParams == before
        assert display.figure_ is display.ax_.figure


def test_importing_does_not_load_matplotlib():
    code = (
        "import sys, btk_punet, btk_punet.evaluation.plotting.fractions, "
        "btk_punet.evaluation.studies.detection.found; sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
