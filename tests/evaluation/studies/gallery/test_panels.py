"""Plots of scenes: circles, markers, maps, rows."""

import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.style import method_colours
from btk_punet.evaluation.studies.gallery.panels import CaseDisplay, CasesDisplay, ClassMaps
from btk_punet.evaluation.studies.gallery.scene import SceneDisplay

METHODS = ["SEP", "SExtractor", "ProbaUNet"]


def truth_rows(method, matched, scene=0):
    """Return three sources of a scene, the last one of which is too faint to count."""
    return pd.DataFrame(
        {
            "scene": scene,
            "method": method,
            "source": [0, 1, 2],
            "x": [10.0, 20.0, 30.0],
            "y": [12.0, 14.0, 16.0],
            "counts": [True, True, False],
            "matched": np.array(matched, bool),
        }
    )


def detection_rows(method, x):
    return pd.DataFrame({"scene": 0, "method": method, "x": np.array(x, float), "y": 5.0})


def axes():
    return Figure().subplots()


class TestSceneDisplay:
    def scene(self, truth, detections, image=None):
        image = np.zeros((40, 48)) if image is None else image
        return SceneDisplay.from_tables(image, truth, detections, 10.0, 0)

    def test_empty_scene(self):
        truth, detections = truth_rows("SEP", [True] * 3, scene=1), detection_rows("SEP", [])
        display = self.scene(truth, detections, np.full((8, 8), np.nan)).plot(axes())
        assert display.sources_ == {}
        display.figure_.canvas.draw()

    def test_circles_say_who_found_the_source(self):
        truth = pd.concat([truth_rows("SEP", [1, 0, 0]), truth_rows("ProbaUNet", [1, 1, 0])])
        display = self.scene(truth, detection_rows("SEP", [10.0]))
        circles = display.plot(axes()).sources_
        # The third does not count, and is a dot.
        assert {n: circle.get_linestyle() for n, circle in circles.items()} == {0: "-", 1: "--"}
        assert circles[0].get_center() == (10.0, 12.0)
        assert circles[0].get_radius() == 3.0
        only = display.plot(axes(), methods=["SEP"]).sources_
        assert {n: circle.get_linestyle() for n, circle in only.items()} == {0: "-", 1: ":"}

    def test_markers_are_at_the_detections_in_pixels(self):
        display = self.scene(
            truth_rows("SEP", [True] * 3), detection_rows("SEP", [10.0, 33.0])
        ).plot(axes())
        np.testing.assert_allclose(display.detections_["SEP"].get_xydata(), [[10, 5], [33, 5]])
        assert display.image_.origin == "lower"
        assert display.ax_.get_xlim() == (-0.5, 47.5)

    def test_colours_are_those_of_the_other_plots(self):
        truth = pd.concat([truth_rows(name, [True] * 3) for name in METHODS])
        # In a scene where the first method found nothing the second keeps its colour.
        display = self.scene(truth, detection_rows("SExtractor", [10.0])).plot(axes())
        colours = method_colours(METHODS)
        assert {n: line.get_color() for n, line in display.detections_.items()} == colours

    def test_legend_is_drawn_if_wanted(self, no_screen):
        display = self.scene(truth_rows("SEP", [True] * 3), detection_rows("SEP", []))
        assert display.plot().ax_.get_legend() is not None
        assert display.plot(legend=False).ax_.get_legend() is None
        assert display.plot(axes(), legend=False).ax_.get_legend() is None


def scene(number=0, method="SEP", size=(40, 48)):
    truth, found = truth_rows(method, [True] * 3), detection_rows(method, [10.0])
    return SceneDisplay.from_tables(np.zeros(size), truth, found, 10.0, number)


CLASSES = np.arange(40 * 48).reshape(40, 48) % 3


class TestCaseDisplay:
    def test_scene_without_anything(self):
        display = CaseDisplay(scene(number=5), np.zeros((40, 48))).plot(
            Figure(layout="constrained")
        )
        assert list(display.axes_) == ["image and detections", "true classes"]
        assert list(display.colorbars_) == ["class"]
        assert display.scene.sources_ == {}

    def test_maps_are_drawn_on_one_scale(self):
        maps = {"ProbaUNet": ClassMaps(CLASSES / 2, CLASSES / 8)}
        display = CaseDisplay(scene(), CLASSES, maps, "Scene 0")
        display.plot(Figure(layout="constrained"))
        truth, mean, variance = display.images_.values()
        assert list(display.images_)[1:] == ["ProbaUNet:\nclass mean", "ProbaUNet:\nclass variance"]
        np.testing.assert_array_equal(mean.get_array(), CLASSES / 2)
        np.testing.assert_array_equal(variance.get_array(), CLASSES / 8)
        assert truth.get_clim() == mean.get_clim() == (0, 2)
        assert truth.get_cmap() == mean.get_cmap() == matplotlib.colormaps["BuPu"]
        assert [text.get_text() for text in display.figure_.texts] == ["Scene 0"]
        assert len(display.figure_.figure.legends) == 1

    def test_panels_do_not_touch(self):
        maps = {name: ClassMaps(CLASSES / 2, CLASSES / 8) for name in ("one", "other")}
        display = CaseDisplay(scene(), CLASSES, maps)
        display.plot(Figure(display.size_inches), legend=False)
        boxes = [ax.get_tightbbox() for ax in display.figure_.axes]
        boxes = sorted(boxes, key=lambda box: box.x0)
        assert len(boxes) == 8 == len(display.axes_) + len(display.colorbars_)
        assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
        assert boxes[0].x0 > 0 and boxes[-1].x1 < display.figure_.bbox.x1

    def test_classes_can_be_told_apart_in_grey(self):
        grey = matplotlib.colormaps["BuPu"]([0.0, 0.5, 1.0])[:, :3] @ (0.2126, 0.7152, 0.0722)
        assert (-np.diff(grey) > 0.2).all()

    def test_names_are_not_mathtext(self):
        maps = {"$x$": ClassMaps(CLASSES / 2, CLASSES / 8)}
        display = CaseDisplay(scene(method="$x$"), CLASSES, maps, "Scene 0: $x$")
        display.plot(Figure(display.size_inches, layout="constrained"))
        title, *_ = display.figure_.texts
        (legend,) = display.figure_.figure.legends
        written = [title, legend.get_texts()[-1], display.axes_["$x$:\nclass mean"].title]
        assert all(r"\$x\$" in text.get_text() for text in written)

    def test_large_fields_have_larger_panels(self):
        small, large = (CaseDisplay(scene(size=(n, n)), CLASSES) for n in (64, 256))
        assert large.size_inches[0] > 1.5 * small.size_inches[0]


class TestCasesDisplay:
    def test_no_case(self):
        with pytest.raises(InputError, match="one scene or more, got none"):
            CasesDisplay([])

    def test_one_row_per_scene_and_one_legend(self):
        cases = [CaseDisplay(scene(number), CLASSES, title=str(number)) for number in range(2)]
        display = CasesDisplay(cases)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # as matplotlib's, where a layout does not fit
            display.plot(Figure(display.size_inches, layout="constrained"))
            display.figure_.draw_without_rendering()
        assert [row.texts[0].get_text() for row in display.figure_.subfigs] == ["0", "1"]
        assert len(display.figure_.legends) == 1
        upper, lower = (case.scene.ax_.get_window_extent() for case in cases)
        assert upper.y0 > lower.y1
        assert display.legend_.get_window_extent().y1 < lower.y0
