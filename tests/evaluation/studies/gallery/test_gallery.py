import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from btk.blend_batch import DeblendExample
from matplotlib.figure import Figure

from btk_punet import EuclidCatalog, EuclidGenerator, EuclidGroupSampling, get_euclid_survey
from btk_punet.errors import BtkPunetWarning, InputError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.gallery.cases_display import CaseDisplay, CasesDisplay, ClassMaps
from btk_punet.evaluation.studies.gallery.gallery import write_gallery
from btk_punet.evaluation.studies.gallery.scene import SceneDisplay
from tests.evaluation.detectors import Hopeless, Perfect
from tests.evaluation.plotting.test_fractions import detection_rows, truth_rows


class WithMaps(Perfect):
    """Knows the truth, and says that every pixel is of class 1; keeps the images it is given."""

    def __init__(self):
        super().__init__()
        self.images = []

    def deblend(self, ii, blend_batch):
        found = super().deblend(ii, blend_batch)
        image = blend_batch.blend_images[ii, 0]
        self.images.append(image)
        maps = {"class_mean": np.ones_like(image), "class_variance": np.zeros_like(image)}
        return DeblendExample(50, found.catalog, extra_data=maps)


class FailsAgain(WithMaps):
    """Fails when it is run a second time."""

    def deblend(self, ii, blend_batch):
        if self.images:
            raise ZeroDivisionError("broken")
        return super().deblend(ii, blend_batch)


class Scarce(EuclidGroupSampling):
    """Draws nothing."""

    def __call__(self, table):
        return super().__call__(table)[:0]


@pytest.fixture(scope="module")
def catalog():
    return EuclidCatalog.simulate(300, seed=1)


def generator(catalog, sampling=None):
    sampling = sampling or EuclidGroupSampling(3.2, max_number=3, max_radius=0.8)
    return EuclidGenerator(catalog, sampling, get_euclid_survey(), batch_size=4, seed=3)


def draw(scenes, methods, n_scenes, folder, **options):
    """Run methods on all scenes, and write the gallery of what they found."""
    batch = scenes.draw_scenes(range(n_scenes))
    found = {name: method(batch) for name, method in methods.items()}
    truth, detections = batch_tables(batch, found, with_limit=False)
    return batch, write_gallery(scenes, methods, truth, detections, n_scenes, folder, **options)


def names(plots):
    return [plot.path.name for plot in plots]


class TestWriteGallery:
    def test_scenes_without_sources_and_detections(self, tmp_path, catalog):
        scenes = generator(catalog, Scarce(3.2, min_number=0))
        _, plots = draw(scenes, {"none": Hopeless()}, 1, tmp_path)
        assert names(plots) == ["scenes_first.png"]

    def test_first_worst_and_best_with_maps(self, tmp_path, catalog):
        methods = {"none": Hopeless(), "maps": WithMaps()}
        scenes = generator(catalog)
        batch, plots = draw(scenes, methods, 6, tmp_path, with_maps=["maps"])
        assert names(plots) == ["scenes_first.png", "scenes_worst.png", "scenes_best.png"]
        assert all(plot.path.read_bytes().startswith(b"\x89PNG") for plot in plots)
        assert all(plot.how_to_read.endswith(".") for plot in plots)
        assert "class mean" in plots[0].how_to_read
        # It ran again on the very images of the run.
        first, again = methods["maps"].images[:6], methods["maps"].images[6:]
        assert 3 <= len(again) <= 6
        assert all(any(np.array_equal(image, one) for one in first) for image in again)
        np.testing.assert_array_equal(again[0], batch.blend_images[0, 0])

    def test_same_bytes_again(self, tmp_path, catalog):
        files = []
        for name in "ab":
            _, plots = draw(generator(catalog), {"all": Perfect()}, 1, tmp_path / name)
            files.append(plots[0].path.read_bytes())
        assert files[0] == files[1]

    def test_method_that_fails_again_does_not_lose_the_run(self, tmp_path, catalog):
        with pytest.warns(BtkPunetWarning, match=r"maps of maps are left out .*broken"):
            _, plots = draw(
                generator(catalog), {"maps": FailsAgain()}, 1, tmp_path, with_maps=["maps"]
            )
        assert names(plots) == ["scenes_first.png"]
        assert "class mean" not in plots[0].how_to_read


def scene(number=0, method="SEP", size=(40, 48)):
    truth, found = truth_rows(method, [True] * 3), detection_rows(method, [10.0], [True])
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

    def test_large_fields_have_larger_panels(self):
        small, large = (CaseDisplay(scene(size=(n, n)), CLASSES) for n in (64, 256))
        assert large.size_inches[0] > 1.5 * small.size_inches[0]


class TestCasesDisplay:
    def test_no_case(self):
        with pytest.raises(InputError, match="one scene or more, got none"):
            CasesDisplay([])

    def test_a_row_a_scene_and_one_legend(self):
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


def test_truth_of_other_methods_settles_the_colours():
    truth = pd.concat([truth_rows(name, [True] * 3) for name in ("a", "b")])
    shown = SceneDisplay.from_tables(
        np.zeros((40, 48)), truth, detection_rows("b", [10.0], [True]), 1.0, 0
    )
    display = CaseDisplay(shown, CLASSES).plot(Figure(layout="constrained"), ["b"])
    from btk_punet.evaluation.plotting.style import method_colours

    assert display.scene.detections_["b"].get_color() == method_colours(["a", "b"])["b"]
