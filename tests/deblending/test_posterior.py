"""PosteriorMaps against all samples held at once."""

import tracemalloc

import numpy as np
import pytest

from btk_punet.deblending.posterior import PosteriorMaps
from btk_punet.errors import InputError

from .conftest import SIGMA, random_scenes


@pytest.fixture(scope="module")
def images():
    return random_scenes(5, seed=11, size=32)[..., None] / SIGMA


def expected(samples):
    """Return the maps by the definitions, from what `ProbaUNet.sample` returns."""
    classes = samples["class"].argmax(axis=-1)
    return PosteriorMaps(
        np.moveaxis(samples["class"].mean(axis=0), -1, 1),
        classes.mean(axis=0),
        classes.var(axis=0),
        samples["centre"].mean(axis=0),
        samples["centre"].sum(axis=(2, 3)),
    )


def assert_equal_maps(one, two, atol=1e-5):
    for name, values in vars(two).items():
        np.testing.assert_allclose(getattr(one, name), values, rtol=1e-5, atol=atol, err_msg=name)


def test_no_images(network):
    maps = PosteriorMaps.from_network(network, np.zeros((0, 12, 16, 1)), 3)
    assert maps.class_probability.shape == (0, 3, 12, 16)
    assert maps.class_mean.shape == maps.class_variance.shape == (0, 12, 16)
    assert maps.centre_probability.shape == (0, 12, 16)
    assert maps.expected_counts.shape == (3, 0)


def test_is_what_all_samples_say_together(network, images):
    maps = PosteriorMaps.from_network(network, images, 7, seed=3)
    assert_equal_maps(maps, expected(network.sample(images, 7, seed=3)))
    # The samples do not agree everywhere, and all classes occur.
    assert maps.class_variance.max() > 0.2
    assert maps.class_mean.min() == 0
    assert maps.class_mean.max() == 2
    assert maps.expected_counts.std(axis=0).max() > 1e-3


def test_one_sample_has_no_variance(network, images):
    maps = PosteriorMaps.from_network(network, images, 1)
    np.testing.assert_array_equal(maps.class_variance, 0)
    assert set(np.unique(maps.class_mean)) == {0, 1, 2}


def test_probabilities_add_up(network, images):
    maps = PosteriorMaps.from_network(network, images, 4)
    np.testing.assert_allclose(maps.class_probability.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        maps.centre_probability.sum(axis=(1, 2)), maps.expected_counts.mean(axis=0), rtol=1e-4
    )


def test_pieces_make_the_same_maps_in_less_memory(network, images, monkeypatch):
    whole = PosteriorMaps.from_network(network, images, 7)
    monkeypatch.setattr("btk_punet.model.proba_unet.TRUNK_PIXELS", 2 * 32 * 32)
    monkeypatch.setattr("btk_punet.model.proba_unet.HEAD_PIXELS", 3 * 32 * 32)
    assert_equal_maps(PosteriorMaps.from_network(network, images, 7), whole)

    def peak_bytes(n_samples):
        tracemalloc.start()
        try:
            PosteriorMaps.from_network(network, images, n_samples)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak_bytes(3), peak_bytes(60)
    assert many < few + 57 * images.size * 4 * 4 / 10


def test_masked_pixels_are_not_seen(network, images):
    mask = np.ones(images.shape[:3], bool)
    mask[:, :, 5] = mask[2, 10:14, 10:14] = False
    maps = PosteriorMaps.from_network(network, images, 3, mask=mask)
    assert_equal_maps(maps, expected(network.sample(images, 3, mask=mask)))
    changed = np.where(mask[..., None], images, 1e6)
    again = PosteriorMaps.from_network(network, changed, 3, mask=mask)
    assert_equal_maps(again, maps, atol=0)
    # That says something: without the mask the same pixels change a lot.
    without = PosteriorMaps.from_network(network, changed, 3)
    assert np.abs(without.class_mean - maps.class_mean).max() > 1


def test_images_apart_are_as_together(network, images):
    together = PosteriorMaps.from_network(network, images, 5, seed=2)
    for i in (0, 3):
        alone = PosteriorMaps.from_network(network, images[i : i + 1], 5, seed=2)
        for name, values in vars(alone).items():
            axis = 1 if name == "expected_counts" else 0
            same = np.take(getattr(together, name), [i], axis=axis)
            np.testing.assert_allclose(values, same, rtol=1e-5, atol=1e-5, err_msg=name)


def test_wrong_images_are_named(network):
    with pytest.raises(InputError, match="move BTK's bands last"):
        PosteriorMaps.from_network(network, np.zeros((2, 3, 16, 16)), 2)
