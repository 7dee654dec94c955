import numpy as np
import pytest

from btk_punet.images.background import Meshes, measure_meshes, mesh_size
from btk_punet.images.masks import PixelMasks
from btk_punet.images.noise_maps import NoiseMap
from btk_punet.images.pixels import ArrayPixels, ConstantPixels
from tests.images.scenes import noise


def measured(values, size=128, **masks):
    return measure_meshes(PixelMasks(ArrayPixels(np.asarray(values, float)), **masks), size)


def test_too_few_pixels_measure_nothing():
    found = measured(noise((15, 17)))
    assert found.meshes is None and found.n_usable == 255 and np.isnan(found.given_rms)


def test_one_value_has_no_noise():
    assert measured(np.full((64, 64), 3.0)).meshes is None


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_background_and_noise_in_any_unit(scale):
    meshes = measured(scale * (100 + noise((512, 512)))).meshes
    np.testing.assert_allclose(meshes.background / scale, 100, atol=0.04)
    # SEP clips at 3 sigma, which takes 1.5% off the noise.
    np.testing.assert_allclose(meshes.rms / scale, 0.985, atol=0.02)


def test_sources_and_masked_pixels_do_not_count():
    values = noise((256, 256))
    values[20:40, 30:50] += 1000
    values[128:, 128:] = 1e6
    mask = np.zeros((256, 256))
    mask[128:, 128:] = 1
    found = measured(values, mask=ArrayPixels(mask))
    assert np.abs(found.meshes.background).max() < 0.1
    assert found.n_usable == 256**2 * 3 // 4
    assert found.flag_counts[2] == 256**2 // 4


def test_given_noise_is_measured_too():
    found = measured(noise((256, 256)), noise=NoiseMap("weight", ConstantPixels(0.25, (256, 256))))
    assert found.given_rms == 2.0


def test_a_slope_is_followed_between_the_centres_of_the_meshes():
    slope = np.add.outer(np.arange(512) * 0.2, np.arange(640) * 0.1)
    meshes = measured(slope + noise(slope.shape), size=64).meshes
    inner = slice(100, 412), slice(100, 540)
    found = meshes.at(meshes.background, *inner)
    assert np.abs(found - slope[inner]).max() < 0.7  # of a range of 166


def test_the_value_at_a_pixel_does_not_depend_on_the_piece():
    rng = np.random.default_rng(0)
    meshes = Meshes(
        np.array([31.5, 95.5, 160.0]), np.array([40.0, 120.5]), *rng.normal(0, 1e3, (2, 3, 2))
    )
    whole = meshes.at(meshes.rms, slice(0, 192), slice(0, 161))
    for rows, columns in ((slice(3, 4), slice(5, 150)), (slice(90, 170), slice(119, 122))):
        np.testing.assert_array_equal(meshes.at(meshes.rms, rows, columns), whole[rows, columns])
    assert whole[0, 0] == meshes.rms[0, 0] and whole[-1, -1] == meshes.rms[-1, -1]
    assert whole[160, 40] == meshes.rms[2, 0]


@pytest.mark.parametrize(("scale", "size"), [(0.1, 128), (0.04, 320), (0.263, 64), (1e-3, 512)])
def test_the_size_of_a_mesh(scale, size):
    assert mesh_size(scale) == size
