import keras
import numpy as np
import pytest
from keras import ops

from btk_punet.errors import InputError
from btk_punet.model.objective import training_loss
from btk_punet.model.proba_unet import ProbaUNet
from tests.model.conftest import SMALL, batch_of, toy


def gradients(model, batch):
    tf = pytest.importorskip("tensorflow")
    with tf.GradientTape() as tape:
        loss, _ = training_loss(model(batch), batch)
    return loss, tape.gradient(loss, [weight.value for weight in model.trainable_weights])


def test_second_latent_is_the_priors(model):
    images, classes, centres = toy(2)
    rng = np.random.default_rng(0)
    shape = (2, *model.latent_shape(16, 16))
    noise, prior_noise = rng.standard_normal((2, *shape)).astype("f4")
    truth = {"classes": classes, "centres": centres}
    both = model({"images": images, "noise": noise, "prior_noise": prior_noise, **truth})
    # Without the truth the latent is the prior's.
    alone = model({"images": images, "noise": prior_noise})
    without = model({"images": images, "noise": noise, **truth})
    for name in ("class_logits", "centre_logits"):
        for ours, theirs in (
            (both[f"prior_{name}"], alone[name]),
            (both[name], without[name]),
        ):
            np.testing.assert_allclose(
                ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), atol=1e-5
            )
        assert f"prior_{name}" not in without


def test_gradients_reach_every_weight(model):
    images, classes, centres = toy()
    loss, slopes = gradients(model, batch_of(model, images, classes, centres))
    assert np.isfinite(float(loss))
    for weight, slope in zip(model.trainable_weights, slopes, strict=True):
        assert slope is not None and np.any(np.asarray(slope) != 0), weight.path
        assert np.all(np.isfinite(slope)), weight.path


@pytest.mark.parametrize("latent", ["grid", "global"])
def test_overfits_eight_stamps(latent):
    tf = pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(3)
    model = ProbaUNet(**SMALL, latent=latent)
    optimizer = keras.optimizers.Adam(5e-3)
    optimizer.build(model.trainable_variables)
    stamps = toy()

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss, parts = training_loss(model(batch), batch)
        weights = model.trainable_variables
        slopes = tape.gradient(loss, [weight.value for weight in weights])
        optimizer.apply(slopes, weights)
        return loss, parts["class"] + parts["centre"]

    history = [[float(x) for x in step(batch_of(model, *stamps, seed=i))] for i in range(200)]
    first, last = history[0], np.mean(history[-10:], axis=0)
    assert last[0] < first[0] / 8
    found = model.sample(stamps[0], 8)["class"].mean(axis=0).argmax(axis=-1)
    assert np.mean(found == stamps[1]) > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": "both"}, "'grid' or 'global'"),
        ({"channels": (8,)}, "at least two levels"),
        ({"channels": (8, 0)}, "each of channels of at least 1"),
        ({"stem_stride": 3}, "1, 2 or 4"),
        ({"n_bands": 0}, "n_bands of at least 1"),
        ({"centre_prior": 0}, "between 0 and 1"),
        ({"class_weights": (1, 2)}, "three positive numbers"),
    ],
)
def test_wrong_choices_are_named(options, message):
    with pytest.raises(InputError, match=message):
        ProbaUNet(**options)


def test_the_truth_moves_the_posterior_and_not_the_prior(model):
    images, classes, centres = toy(2)
    one = model({"images": images, "classes": classes, "centres": centres})
    two = model({"images": images, "classes": 0 * classes, "centres": 0 * centres})
    np.testing.assert_array_equal(one["prior"][0], two["prior"][0])
    assert not np.array_equal(one["posterior"][0], two["posterior"][0])
