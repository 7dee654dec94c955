"""The plots of outlines: which methods are drawn, where, and in which colours."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.style import method_colours
from btk_punet.evaluation.studies.outlines.iou import OutlineDisplay
from btk_punet.evaluation.studies.outlines.precision import MaskPrecisionDisplay
from btk_punet.evaluation.studies.outlines.scores import SegmentationReport
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.studies.outlines.test_scores import FOUND, PAIR_AND_ONE, outlined

EVERYONE = ["no outlines", "a", "b"]


def means(**methods):
    """Return a table from the values of two bins of each method."""
    rows = [
        {"method": name, "lo": low, "hi": low + 1, "n": 4, "value": value, "error": 0.1}
        for name, values in methods.items()
        for low, value in zip([22.0, 23.0], values, strict=True)
    ]
    return pd.DataFrame(rows)


MEANS = means(a=[0.5, 0.75], b=[0.8, np.nan])
CURVES = pd.DataFrame(
    [
        ("a", 0.5, 1.0, 0.25), ("a", 0.5, 0.9, 0.5), ("b", 0.5, 0.8, 0.8),
        ("a", 0.75, 0.5, 0.25), ("a", 0.75, 0.5, 0.5), ("b", 0.75, 0.7, 0.6),
    ],
    columns=["method", "iou_threshold", "purity", "completeness"],
)  # fmt: skip


@pytest.fixture
def metric():
    batch = bright_scenes([PAIR_AND_ONE])
    metric = SegmentationReport()
    metric(batch, outlined(batch, FOUND))
    return metric


class TestOutlineDisplay:
    def test_nothing(self):
        display = OutlineDisplay(MEANS[:0], "magnitude").plot(Figure().subplots())
        assert display.legend_ is None

    def test_lines(self):
        display = OutlineDisplay(MEANS, "magnitude", EVERYONE).plot(Figure().subplots())
        assert list(display.errorbars_) == ["a", "b"]
        np.testing.assert_array_equal(display.errorbars_["a"].lines[0].get_ydata(), [0.5, 0.75])
        (segments,) = display.errorbars_["a"].lines[2]
        assert segments.get_segments()[0][:, 1] == pytest.approx([0.4, 0.6])
        labels = [text.get_text() for text in display.ax_.get_xticklabels()]
        assert labels == ["22.0–23.0", "23.0–24.0"]
        assert [text.get_text() for text in display.legend_.get_texts()] == ["a", "b"]

    def test_colours_are_those_of_the_run(self):
        display = OutlineDisplay(MEANS, "magnitude", EVERYONE).plot(Figure().subplots(), ["b"])
        assert list(display.errorbars_) == ["b"]
        colour = display.errorbars_["b"].lines[0].get_color()
        assert to_hex(colour) == to_hex(method_colours(EVERYONE)["b"])

    def test_of_the_metric(self, metric):
        display = OutlineDisplay(metric.aggregate(), "magnitude").plot(Figure().subplots())
        assert display.legend_ is None
        assert np.nanmax(display.errorbars_[""].lines[0].get_ydata()) == metric.total()["value"][0]

    def test_wrong_names(self):
        with pytest.raises(InputError, match="by must be one of.*got 'colour'"):
            OutlineDisplay(MEANS, "colour").plot(Figure().subplots())
        with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['c'\]"):
            OutlineDisplay(MEANS, "magnitude").plot(Figure().subplots(), ["c"])


class TestMaskPrecisionDisplay:
    def test_nothing(self):
        display = MaskPrecisionDisplay(CURVES[:0])
        assert display.plot(Figure(display.size_inches)).legend_ is None

    def test_one_panel_per_threshold(self):
        display = MaskPrecisionDisplay(CURVES, EVERYONE).plot(Figure())
        assert list(display.axes_) == [0.5, 0.75]
        assert display.axes_[0.75].get_title() == "IoU of 0.75 or more"
        curve = display.curves_[0.5, "a"]
        assert curve.get_xydata().tolist() == [[1.0, 0.25], [0.9, 0.5]]
        # The marker is at the end, where all detections are.
        assert display.points_[0.5, "a"].get_xydata().tolist() == [[0.9, 0.5]]
        assert display.points_[0.75, "b"].get_xydata().tolist() == [[0.7, 0.6]]
        assert to_hex(curve.get_color()) == to_hex(method_colours(EVERYONE)["a"])
        assert [text.get_text() for text in display.legend_.get_texts()] == ["a", "b"]

    def test_some_methods(self):
        display = MaskPrecisionDisplay(CURVES).plot(Figure(), ["b"])
        assert list(display.points_) == [(0.5, "b"), (0.75, "b")]
        assert list(MaskPrecisionDisplay(CURVES).plot(Figure(), []).points_) == []
        with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['c'\]"):
            MaskPrecisionDisplay(CURVES).plot(Figure(), ["c"])

    def test_of_the_metric(self, metric):
        display = MaskPrecisionDisplay(metric.purity_completeness())
        assert len(display.plot(Figure(display.size_inches)).axes_) == 10
