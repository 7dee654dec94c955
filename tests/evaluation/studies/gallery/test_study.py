"""The gallery: which scenes are drawn again, and with which maps."""

import numpy as np
import pandas as pd
import pytest
from btk.blend_batch import DeblendExample

from btk_punet import EuclidCatalog, EuclidGenerator, EuclidGroupSampling, get_euclid_survey
from btk_punet.errors import BtkPunetWarning
from btk_punet.evaluation.report.files import write_figures
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.maps import scene_class_map
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.gallery.study import Gallery
from tests.evaluation.detectors import Hopeless, Perfect


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


def draw(scenes, methods, n_scenes, with_maps=()):
    """Run methods on all scenes; return these, and the figures of what the methods found."""
    batch = scenes.draw_scenes(range(n_scenes))
    found = {name: method(batch) for name, method in methods.items()}
    truth, detections = batch_tables(batch, found, with_limit=False)
    tidy = {"truth": truth, "detections": detections}
    tidy["blend_identification"] = pd.DataFrame({"method": list(with_maps)}, dtype=str)
    run = Collected(list(methods), n_scenes, tidy, generator=scenes, deblenders=methods)
    return batch, list(Gallery().figures(run, {}))


def names(figures):
    return [figure.name for figure in figures]


class TestGallery:
    def test_run_that_was_read_from_its_folder(self):
        assert list(Gallery().figures(Collected(["SEP"], 0, {}), {})) == []

    def test_scenes_without_sources_and_detections(self, catalog):
        scenes = generator(catalog, Scarce(3.2, min_number=0))
        nothing = pd.DataFrame(
            {"scene": [], "method": [], "counts": [], "in_bounds": [], "matched": []}
        )
        tidy = {"truth": nothing, "detections": nothing}
        run = Collected(["none"], 0, tidy, generator=scenes)
        assert list(Gallery().figures(run, {})) == []
        _, figures = draw(scenes, {"none": Hopeless()}, 1)
        assert names(figures) == ["scenes_first"]

    def test_first_worst_and_best_with_maps(self, catalog):
        methods = {"none": Hopeless(), "maps": WithMaps()}
        batch, figures = draw(generator(catalog), methods, 6, ["maps"])
        assert names(figures) == ["scenes_first", "scenes_worst", "scenes_best"]
        assert all(figure.how_to_read.endswith(".") for figure in figures)
        assert "class mean" in figures[0].how_to_read
        # It ran again on the very images of the run.
        first, again = methods["maps"].images[:6], methods["maps"].images[6:]
        assert 3 <= len(again) <= 6
        assert all(any(np.array_equal(image, one) for one in first) for image in again)
        np.testing.assert_array_equal(again[0], batch.blend_images[0, 0])
        case = figures[0].display.cases[0]
        np.testing.assert_array_equal(case.scene.image, batch.blend_images[0, 0])
        np.testing.assert_array_equal(case.true_classes, scene_class_map(batch, 0))

    def test_same_bytes_again(self, tmp_path, catalog):
        files = []
        for name in "ab":
            _, figures = draw(generator(catalog), {"all": Perfect()}, 1)
            files.append(write_figures(figures, tmp_path / name)["scenes_first"].read_bytes())
        assert files[0] == files[1] and files[0].startswith(b"\x89PNG")
        assert (tmp_path / "a" / "scenes_first.pdf").stat().st_size < 200_000

    def test_method_that_fails_again_does_not_lose_the_run(self, catalog):
        with pytest.warns(BtkPunetWarning, match=r"maps of maps are left out .*broken"):
            _, figures = draw(generator(catalog), {"maps": FailsAgain()}, 1, ["maps"])
        assert names(figures) == ["scenes_first"]
        assert "class mean" not in figures[0].how_to_read
