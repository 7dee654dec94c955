import keras
import numpy as np
import pytest

from btk_punet.model.unet import Decoder, Encoder, Head

RNG = np.random.default_rng(2)


def ones(*shape):
    return np.ones(shape, "float32")


def test_a_blank_image_without_a_usable_pixel_has_finite_features():
    levels = Encoder((3, 5))(ones(1, 8, 8, 1) * np.nan, ones(1, 8, 8, 1) * 0)
    assert [level.shape for level in levels] == [(1, 8, 8, 3), (1, 4, 4, 5)]
    assert all(np.all(np.isfinite(level)) for level in levels)
    assert np.all(np.isfinite(Decoder((3, 5))(levels)))


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_shapes_with_channels_that_all_differ(stem_stride):
    channels, size = (3, 5, 7, 11), np.array([40, 56])
    levels = Encoder(channels, stem_stride)(ones(2, *size, 2), ones(2, *size, 1))
    for i, level in enumerate(levels):
        rows, columns = -(-size // (stem_stride * 2**i))
        assert level.shape == (2, rows, columns, channels[i])
    if stem_stride == 1:  # 40 and 56 are whole multiples of this coarsest stride only
        assert levels[-1].shape[1:3] == (5, 7)
        assert Decoder(channels)(levels).shape == (2, 40, 56, 3)


def test_the_mask_is_seen_where_the_image_is_blank():
    keras.utils.set_random_seed(0)  # of some weights, none of three channels is above 0 there
    encoder, image, valid = Encoder((3, 5)), ones(1, 8, 8, 1) * 0, ones(1, 8, 8, 1)
    before = np.asarray(encoder(image, valid)[0])
    valid[0, 4, 4] = 0
    assert not np.array_equal(before, encoder(image, valid)[0])


def test_the_head_starts_at_the_prior_of_centres():
    head = Head(4, centre_prior=0.01)
    classes, centres = head(ones(4, 2, 8, 8) * 0, ones(3, 2, 1, 1, 6) * 0)
    assert classes.shape == (3, 3, 2, 8, 8)
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(centres))), 0.01, rtol=1e-5)


def test_the_head_by_hand_with_a_latent_in_one_cell():
    head = Head(1)
    features, latent = ones(1, 1, 8, 8) * 0, ones(1, 1, 2, 2, 1) * 0
    latent[0, 0, 0, 1] = 1
    head.build(features.shape, latent.shape)
    head.set_weights([np.ones((1, 1)), np.array([[1.0, 2.0, 3.0, 4.0]]), np.zeros(4)])
    classes, centres = (np.asarray(x) for x in head(features, latent))
    line = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)
    expected = np.outer(1 - line, line)  # bilinear, from the upper right cell
    for factor, found in zip((1, 2, 3, 4), (*classes, centres), strict=True):
        np.testing.assert_allclose(found[0, 0], factor * expected, atol=1e-6)


def test_a_single_cell_is_one_latent_for_every_pixel():
    head, features = Head(3), RNG.standard_normal((3, 1, 8, 8)).astype("float32")
    latent = RNG.standard_normal((1, 1, 1, 1, 2)).astype("float32")
    one = head(features, latent)
    many = head(features, np.broadcast_to(latent, (1, 1, 2, 2, 2)))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("layer", [Encoder((3, 5), 2), Decoder((3, 5)), Head(4, 0.02)])
def test_a_layer_is_made_again_from_its_config(layer):
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
