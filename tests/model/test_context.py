"""What a network knows of its surroundings and of the prior; at first nothing."""

import keras
import numpy as np
import pytest

from btk_punet.errors import InputError, InputTypeError
from btk_punet.model.context import Context, DensityConditioning
from btk_punet.model.proba_unet import ProbaUNet
from tests.model.conftest import SMALL, toy


def shaken(layer, seed=0):
    """Give a layer random weights in place of those that make it the identity."""
    rng = np.random.default_rng(seed)
    layer.set_weights([0.3 * rng.standard_normal(w.shape) for w in layer.get_weights()])


@pytest.fixture(scope="module")
def told():
    """A network that has learnt something of its context and of the density."""
    keras.utils.set_random_seed(1)
    model = ProbaUNet(**SMALL, context_dilations=(2, 4), told_density=True)
    shaken(model.context)
    shaken(model.conditioning)
    return model


def test_both_start_as_the_identity():
    features = np.random.default_rng(0).standard_normal((2, 6, 5, 4)).astype("f4")
    np.testing.assert_array_equal(Context((2, 4))(features), features)
    conditioning = DensityConditioning((4, 4))
    conditioning.build()
    for level in conditioning([features, features], np.array([1.0, np.nan], "f4")):
        np.testing.assert_array_equal(level, features)


def test_context_reaches_as_far_as_its_dilations():
    context = Context((2, 4))
    features = np.zeros((1, 31, 31, 1), "f4")
    context.build(features.shape)
    shaken(context)
    empty = np.asarray(context(features))
    features[0, 15, 15] = 5.0
    rows = np.flatnonzero(np.any(np.asarray(context(features)) != empty, axis=(0, 2, 3)))
    assert rows.min() >= 15 - 6 and rows.max() <= 15 + 6
    assert len(rows) > 1


def test_a_shift_by_a_cell_shifts_the_result(told):
    rng = np.random.default_rng(3)
    image = np.zeros((1, 256, 256, 1))
    image[0, 120:128, 120:128] = rng.standard_normal((8, 8, 1)) + 3
    middle = slice(104, 144)
    before = told.sample(image, mask=None, density_ratio=1.0, n_samples=1, seed=0)
    shifted = np.roll(image, told.stride, axis=1)
    # The mean of the latent alone: its noise stays where it is.
    prior = told.prior(image, density_ratio=1.0).mean().numpy()
    moved = told.prior(shifted, density_ratio=1.0).mean().numpy()
    cells = slice(middle.start // told.stride, middle.stop // told.stride)
    np.testing.assert_allclose(
        np.roll(prior, 1, axis=1)[:, cells, cells], moved[:, cells, cells], atol=1e-5
    )
    assert np.isfinite(before["class"]).all()


def test_what_is_told_changes_the_result(told):
    images, _, _ = toy(3)
    unknown, sky, dense = (
        told.sample(images, 2, density_ratio=ratio)["centre"] for ratio in (None, 1.0, 20.0)
    )
    assert np.abs(unknown - sky).max() > 1e-4
    assert np.abs(dense - sky).max() > 1e-4
    each = told.sample(images, 2, density_ratio=np.array([1.0, np.nan, 20.0]))["centre"]
    for i, expected in enumerate((sky, unknown, dense)):
        np.testing.assert_allclose(each[:, i], expected[:, i], atol=1e-6)


def test_saved_and_loaded(told, tmp_path):
    images, _, _ = toy(2)
    told.save(tmp_path / "model")
    loaded = ProbaUNet.load(tmp_path / "model")
    assert loaded.get_config() == told.get_config()
    for ratio in (None, 3.0):
        np.testing.assert_array_equal(
            loaded.sample(images, 1, density_ratio=ratio)["class"],
            told.sample(images, 1, density_ratio=ratio)["class"],
        )


@pytest.mark.parametrize(
    ("ratio", "error", "match"),
    [
        (0.0, InputError, "above 0, one number or 2, got 0.0"),
        ([1.0, 2.0, 3.0], InputError, "one number or 2"),
        ("sky", InputTypeError, "a number or None, got 'sky'"),
    ],
)
def test_wrong_densities_are_named(told, ratio, error, match):
    with pytest.raises(error, match=match):
        told.sample(toy(2)[0], density_ratio=ratio)


def test_wrong_dilations_are_named():
    with pytest.raises(InputError, match="each of context_dilations of at least 1, got 0"):
        ProbaUNet(**SMALL, context_dilations=(0,))
