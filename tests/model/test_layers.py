import keras
import numpy as np
import pytest
from keras import ops

from btk_punet.model.layers import (
    PartialConv2D,
    depth_to_space,
    interpolation_matrix,
    upsample_nearest,
    usable_pixels,
)

RNG = np.random.default_rng(1)


def numbers(*shape):
    return RNG.standard_normal(shape).astype("float32")


def test_empty_batch_gives_an_empty_batch():
    features, seen = PartialConv2D(4)(numbers(0, 8, 8, 1), np.ones((0, 8, 8, 1), "float32"))
    assert features.shape == (0, 8, 8, 4)
    assert seen.shape == (0, 8, 8, 1)


@pytest.mark.parametrize(("size", "strides"), [(3, 1), (4, 2), (6, 4)])
def test_without_masked_pixels_it_is_a_convolution(size, strides):
    images = numbers(2, 16, 16, 2)
    layer = PartialConv2D(5, size, strides, padding="valid")
    found, seen = layer(images, np.ones((2, 16, 16, 1), "float32"))
    layer.bias.assign(numbers(5))
    found, seen = layer(images, np.ones((2, 16, 16, 1), "float32"))
    plain = keras.layers.Conv2D(5, size, strides)
    plain.build(images.shape)
    plain.set_weights([layer.conv.kernel, layer.bias])
    np.testing.assert_allclose(found, plain(images), rtol=1e-5, atol=1e-5)
    assert np.all(np.asarray(seen) == 1)


def test_three_by_three_by_hand():
    image = np.arange(1, 10, dtype="float32").reshape(1, 3, 3, 1)
    valid = np.ones((1, 3, 3, 1), "float32")
    valid[0, 0, 0] = valid[0, 1, 1] = 0
    layer = PartialConv2D(1)
    layer.build(image.shape, valid.shape)
    layer.conv.kernel.assign(np.ones((3, 3, 1, 1)))
    layer.bias.assign([0.5])
    found = np.asarray(layer(image, valid)[0])[0, :, :, 0]
    # The whole image but 1 and 5; the upper left corner, where 2 and 4 are left of 1, 2, 4, 5.
    assert found[1, 1] == pytest.approx((45 - 6) * 9 / 7 + 0.5)
    assert found[0, 0] == pytest.approx((2 + 4) * 9 / 2 + 0.5)


def test_a_window_without_usable_pixels_gives_zero_and_stays_masked():
    valid = np.ones((1, 9, 9, 1), "float32")
    valid[0, 2:7, 2:7] = 0
    layer = PartialConv2D(3)
    layer.build((1, 9, 9, 1), valid.shape)
    layer.bias.assign(np.ones(3))
    found, seen = (np.asarray(x) for x in layer(numbers(1, 9, 9, 1), valid))
    assert np.all(found[0, 3:6, 3:6] == 0)
    expected = np.ones((9, 9))
    expected[3:6, 3:6] = 0
    np.testing.assert_array_equal(seen[0, :, :, 0], expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_a_masked_pixel_holds_is_never_used(value):
    images, valid = numbers(1, 8, 8, 2), np.ones((1, 8, 8, 1), "float32")
    valid[0, 3, 4] = 0
    layer = PartialConv2D(4)
    before = np.asarray(layer(images, valid)[0])
    images[0, 3, 4, 0] = value
    np.testing.assert_array_equal(before, layer(images, valid)[0])


def test_a_layer_is_made_again_from_its_config():
    layer = PartialConv2D(4, 6, 4, padding="valid")
    assert PartialConv2D.from_config(layer.get_config()).get_config() == layer.get_config()


def test_interpolation_is_exact_on_a_line_and_constant_outside():
    matrix = interpolation_matrix(5, 4)
    assert matrix.shape == (20, 5)
    found = matrix @ np.arange(5)
    pixels = (np.arange(20) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(found, np.clip(pixels, 0, 4), atol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_array_equal(interpolation_matrix(3, 1), np.eye(3))


def test_upsample_nearest_repeats_pixels():
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    found = np.asarray(upsample_nearest(x))[0, :, :, 0]
    np.testing.assert_array_equal(found, np.kron(x[0, :, :, 0], np.ones((2, 2))))


def test_depth_to_space_puts_each_channel_on_its_pixel():
    x = np.arange(2 * 3 * 8).reshape(1, 2, 3, 8).astype("float32")
    found = np.asarray(depth_to_space(x, 2))
    assert found.shape == (1, 4, 6, 2)
    for row, column, channel in ((0, 0, 0), (1, 0, 1), (2, 5, 1), (3, 2, 0)):
        depth = (row % 2) * 4 + (column % 2) * 2 + channel
        assert found[0, row, column, channel] == x[0, row // 2, column // 2, depth]
    assert depth_to_space(x, 1) is x


def test_usable_pixels_are_finite_in_every_band_and_in_the_mask():
    images = np.zeros((1, 2, 2, 2), "float32")
    images[0, 0, 0, 1] = np.nan
    mask = np.array([[[True, True], [False, True]]])
    np.testing.assert_array_equal(usable_pixels(images), [[[False, True], [True, True]]])
    found = ops.convert_to_numpy(usable_pixels(images, mask))
    np.testing.assert_array_equal(found, [[[False, True], [False, True]]])
