import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.model.objective import (
    balanced_class_weights,
    calibrated_logits,
    centre_loss,
    class_loss,
    kl_state,
    training_loss,
)

RNG = np.random.default_rng(4)
ALL = np.ones((2, 4, 4), bool)


def example():
    logits = RNG.standard_normal((2, 4, 4, 3)).astype("float32")
    return logits, RNG.integers(0, 3, (2, 4, 4))


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def test_no_images_and_no_usable_pixels_have_no_loss():
    logits, classes = example()
    assert class_loss(logits[:0], classes[:0], ALL[:0]).shape == (0,)
    np.testing.assert_array_equal(class_loss(logits, classes, ~ALL), 0)
    np.testing.assert_array_equal(centre_loss(logits[..., 0], classes == 1, ~ALL), 0)


def test_class_loss_by_hand():
    logits, classes = example()
    weights = (0.5, 2.0, 4.0)
    p = np.take_along_axis(softmax(logits), classes[..., None], -1)[..., 0]
    np.testing.assert_allclose(
        class_loss(logits, classes, ALL), -np.log(p).sum(axis=(1, 2)), rtol=1e-5
    )
    expected = -(np.array(weights)[classes] * np.log(p)).sum(axis=(1, 2))
    np.testing.assert_allclose(class_loss(logits, classes, ALL, weights), expected, rtol=1e-5)


def test_centre_loss_by_hand():
    logits, classes = example()
    p = 1 / (1 + np.exp(-logits[..., 0]))
    expected = -np.where(classes == 1, np.log(p), np.log(1 - p)).sum(axis=(1, 2))
    found = centre_loss(logits[..., 0], classes == 1, ALL)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_masked_pixels_carry_no_loss_whatever_their_truth():
    logits, classes = example()
    usable = RNG.random((2, 4, 4)) < 0.5
    centres = (classes == 1).astype("float32")
    before = class_loss(logits, classes, usable), centre_loss(logits[..., 0], centres, usable)
    classes, centres = np.where(usable, classes, -7), np.where(usable, centres, np.nan)
    after = class_loss(logits, classes, usable), centre_loss(logits[..., 0], centres, usable)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_summed_and_what_is_averaged():
    logits, classes = example()
    images = np.zeros((2, 4, 4, 1), "float32")
    images[0, 0, 0] = np.nan
    prior = np.zeros((2, 1, 1, 3), "float32"), np.zeros((2, 1, 1, 3), "float32")
    posterior = prior[0] + np.array([0, 2, 0], "float32"), prior[1]
    outputs = {"class_logits": logits, "centre_logits": logits[..., 0]}
    outputs |= {"prior": prior, "posterior": posterior}
    batch = {"images": images, "classes": classes, "centres": classes == 1}
    loss, parts = training_loss(outputs, batch, beta=0.3, centre_weight=5)
    usable = ALL.copy()
    usable[0, 0, 0] = False
    by_class = np.mean(class_loss(logits, classes, usable)) / 16
    by_centre = np.mean(centre_loss(logits[..., 0], classes == 1, usable)) / 16
    assert float(parts["class"]) == pytest.approx(by_class, rel=1e-5)
    assert float(parts["centre"]) == pytest.approx(by_centre, rel=1e-5)
    assert float(parts["kl"]) == pytest.approx(2 / 16, rel=1e-5)
    np.testing.assert_allclose(parts["kl_per_dimension"], [0, 2, 0], atol=1e-6)
    assert float(loss) == pytest.approx(by_class + 5 * by_centre + 0.3 * 2 / 16, rel=1e-5)


def test_taking_the_weights_off_gives_the_calibrated_probability():
    # Pixels that all look alike, of which known shares hold each class: the best logits are found
    # by gradient descent on the weighted loss, and must give back the shares.
    shares = np.array([0.9, 0.07, 0.03])
    classes = np.repeat([0, 1, 2], (900, 70, 30)).reshape(1, 20, 50)
    weights = balanced_class_weights(shares)
    logits = np.zeros(3)
    for _ in range(2000):
        slope = softmax(logits) * np.sum(shares * weights) - shares * weights
        logits = logits - slope

    def loss(values):
        everywhere = np.broadcast_to(values, (1, 20, 50, 3)).astype("float32")
        return float(class_loss(everywhere, classes, np.ones((1, 20, 50), bool), weights)[0])

    for step in 0.05 * np.eye(3):
        assert loss(logits) < min(loss(logits + step), loss(logits - step))
    np.testing.assert_allclose(softmax(logits), 1 / 3, atol=1e-6)
    np.testing.assert_allclose(softmax(calibrated_logits(logits, weights)), shares, atol=1e-6)
    assert calibrated_logits(logits, None) is logits


def test_balanced_weights_are_one_a_pixel_on_average():
    shares = np.array([0.9, 0.07, 0.03])
    assert np.sum(shares * balanced_class_weights(shares)) == pytest.approx(1)
    assert balanced_class_weights([10, 10, 10]) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("wrong", [(1, 2), (1, 0, 2), (1, np.nan, 2), "balanced"])
def test_wrong_weights_are_named(wrong):
    with pytest.raises(InputError, match="three positive numbers"):
        balanced_class_weights(wrong)


@pytest.mark.parametrize(
    ("kl", "state"),
    [
        ([0, 1e-5, 0], "collapsed"),
        ([0, 0.2, 0], "fine"),
        ([0.1, 1e3, 0], "exploding"),
        ([0.1, np.nan, 0], "exploding"),
    ],
)
def test_the_guard_tells_the_state_of_the_latent(kl, state):
    assert kl_state(kl) == state


def test_share_of_the_priors_latent():
    batch = {
        "images": np.zeros((2, 4, 4, 1), "f4"),
        "classes": RNG.integers(0, 3, (2, 4, 4)),
        "centres": RNG.integers(0, 2, (2, 4, 4)).astype("f4"),
    }
    centres = RNG.standard_normal((2, 2, 4, 4)).astype("f4")
    classes = RNG.standard_normal((2, 2, 4, 4, 3)).astype("f4")
    gaussian = (np.zeros((2, 1, 1, 3), "f4"), np.zeros((2, 1, 1, 3), "f4"))
    outputs = {
        "class_logits": classes[0],
        "centre_logits": centres[0],
        "prior": gaussian,
        "posterior": gaussian,
    }
    of_centre = [np.mean(centre_loss(c, batch["centres"], ALL)) / 16 for c in centres]
    of_class = [np.mean(class_loss(c, batch["classes"], ALL)) / 16 for c in classes]

    def parts(centre_share, class_share):
        found = training_loss(outputs, batch, 1.0, None, 3.0, centre_share, class_share)[1]
        return float(found["centre"]), float(found["class"])

    # Without a second latent there is nothing to take a share of.
    assert parts(0.7, 0.4) == pytest.approx((of_centre[0], of_class[0]), rel=1e-5)
    outputs |= {"prior_centre_logits": centres[1], "prior_class_logits": classes[1]}
    for u, v in ((0.0, 0.0), (0.3, 0.8), (1.0, 1.0)):
        expected = (
            (1 - u) * of_centre[0] + u * of_centre[1],
            (1 - v) * of_class[0] + v * of_class[1],
        )
        assert parts(u, v) == pytest.approx(expected, rel=1e-5)
