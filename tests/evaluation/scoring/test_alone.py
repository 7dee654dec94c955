import numpy as np
import pytest

from btk_punet.errors import BatchFailedError, InputTypeError, MethodError
from btk_punet.evaluation.scoring import alone
from btk_punet.evaluation.scoring.alone import alone_batches, check_deblender, found_alone
from btk_punet.evaluation.scoring.regions import SceneRegions
from btk_punet.evaluation.scoring.scenes import scene_truth
from tests.evaluation.conftest import SIZE, bright_scenes
from tests.evaluation.detectors import (
    FailsAlone,
    Hopeless,
    NoBatch,
    OneCatalogShort,
    Perfect,
    Watching,
)

POSITIONS = [[(20, 20), (23, 20)], [], [(40, 30), (42, 33), (10, 10)]]
SCENES, SOURCES = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 0])
NONE = np.zeros(0, int)


@pytest.fixture
def noisy():
    """Return three scenes with noise, and a pixel that has no value."""
    batch = bright_scenes(POSITIONS)
    noise = np.random.default_rng(0).normal(0, 12, batch.blend_images.shape)
    noise[2, 0, 5, 7] = np.nan
    batch.blend_images = batch.blend_images + noise
    return batch, noise


def detected(batch, deblender, scenes=SCENES, sources=SOURCES):
    regions = [
        SceneRegions.of_scene(batch, scene, scene_truth(batch, scene))
        for scene in range(batch.batch_size)
    ]
    return found_alone(batch, regions, scenes, sources, {"method": deblender}, 3.0)["method"]


class TestAloneBatches:
    def test_no_source(self, noisy):
        assert list(alone_batches(noisy[0], NONE, NONE)) == []

    def test_one_source_in_the_same_noise(self, noisy):
        batch, noise = noisy
        ((part, single),) = alone_batches(batch, SCENES, SOURCES)
        assert part == slice(0, 4)
        assert (single.batch_size, single.max_n_sources, single.image_size) == (4, 1, SIZE)
        assert (single.survey, single.psf) == (batch.survey, batch.psf)
        own = batch.isolated_images[SCENES, SOURCES]
        np.testing.assert_array_equal(single.isolated_images[:, 0], own)
        np.testing.assert_allclose(single.blend_images, own + noise[SCENES], atol=1e-9)
        assert np.isnan(single.blend_images[2:, 0, 5, 7]).all()
        places = [(*table["x_peak"], *table["y_peak"]) for table in single.catalog_list]
        assert places == [POSITIONS[i][j] for i, j in zip(SCENES, SOURCES, strict=True)]
        assert single.catalog_list[0].colnames == batch.catalog_list[0].colnames

    def test_blends_are_left_as_they_are(self, noisy):
        batch, _ = noisy
        before = batch.blend_images.copy(), batch.isolated_images.copy()
        ((_, single),) = alone_batches(batch, SCENES, SOURCES)
        single.blend_images[:], single.isolated_images[:] = 0, 0
        np.testing.assert_array_equal(batch.blend_images, before[0])
        np.testing.assert_array_equal(batch.isolated_images, before[1])

    def test_large_images_come_in_parts(self, noisy, monkeypatch):
        ((_, whole),) = alone_batches(noisy[0], SCENES, SOURCES)
        monkeypatch.setattr(alone, "MOST_PIXELS", 3 * SIZE**2 + 1)
        parts, batches = zip(*alone_batches(noisy[0], SCENES, SOURCES), strict=True)
        assert parts == (slice(0, 3), slice(3, 4))
        images = np.concatenate([batch.blend_images for batch in batches])
        np.testing.assert_array_equal(images, whole.blend_images)

    def test_an_image_that_is_too_large_comes_by_itself(self, noisy, monkeypatch):
        monkeypatch.setattr(alone, "MOST_PIXELS", 1)
        assert [b.batch_size for _, b in alone_batches(noisy[0], SCENES, SOURCES)] == [1] * 4


class TestFoundAlone:
    def test_no_source(self, noisy):
        assert detected(noisy[0], FailsAlone(), NONE, NONE).tolist() == []

    def test_everything_and_nothing(self, noisy):
        assert detected(noisy[0], Perfect()).tolist() == [True] * 4
        assert detected(noisy[0], Hopeless()).tolist() == [False] * 4

    def test_one_call_for_all_scenes(self, noisy):
        watching = Watching()
        detected(noisy[0], watching)
        assert [batch.batch_size for batch in watching.batches] == [4]

    def test_in_parts(self, noisy, monkeypatch):
        monkeypatch.setattr(alone, "MOST_PIXELS", SIZE**2)
        watching = Watching()
        assert detected(noisy[0], watching).tolist() == [True] * 4
        assert [batch.batch_size for batch in watching.batches] == [1] * 4

    def test_deblender_that_fails(self, noisy):
        with pytest.raises(
            BatchFailedError,
            match="FailsAlone failed on 4 images of single sources.*ValueError: nothing to deblend",
        ):
            detected(noisy[0], FailsAlone())

    def test_deblender_that_returns_something_else(self, noisy):
        with pytest.raises(MethodError, match="must return a DeblendBatch, got list"):
            detected(noisy[0], NoBatch())
        with pytest.raises(MethodError, match="returned 3 catalogs for a batch of 4 scenes"):
            detected(noisy[0], OneCatalogShort())


@pytest.mark.parametrize("wrong", [None, Perfect, "sep"])
def test_no_deblender(wrong):
    with pytest.raises(InputTypeError, match="must be an instance of btk.deblend.Deblender, got"):
        check_deblender(wrong)
