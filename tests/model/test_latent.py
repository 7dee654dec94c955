import builtins

import numpy as np
import pytest

from btk_punet.model import latent
from btk_punet.model.latent import (
    LOG_SIGMA_LIMIT,
    DiagonalGaussian,
    GaussianHead,
    gaussian,
    kl_per_dimension,
    total_kl,
)

RNG = np.random.default_rng(3)


def parameters(*shape):
    return tuple(RNG.standard_normal((2, *shape)).astype("float32"))


def test_no_images_have_no_divergence():
    nothing = parameters(0, 2, 3, 6)
    assert total_kl(nothing, nothing).shape == (0,)


def test_equal_gaussians_have_no_divergence():
    one = parameters(2, 3, 3, 4)
    np.testing.assert_allclose(kl_per_dimension(one, one), 0, atol=1e-6)


def test_divergence_by_hand():
    posterior, prior = (np.array([2.0]), np.log([0.5])), (np.array([1.0]), np.log([3.0]))
    expected = np.log(3 / 0.5) + (0.25 + 1) / (2 * 9) - 0.5
    assert float(kl_per_dimension(posterior, prior)[0]) == pytest.approx(expected)


def test_the_closed_form_equals_tensorflow_probability():
    tfd = pytest.importorskip("tensorflow_probability").distributions
    one, other, z = parameters(5, 2, 3, 6), parameters(5, 2, 3, 6), parameters(5, 2, 3, 6)[0]
    theirs, theirs_other = gaussian(*one), gaussian(*other)
    if not isinstance(theirs, tfd.MultivariateNormalDiag):
        pytest.skip("Keras runs on another backend than TensorFlow")
    ours, ours_other = DiagonalGaussian(*one), DiagonalGaussian(*other)
    kl = theirs.kl_divergence(theirs_other)
    np.testing.assert_allclose(ours.kl_divergence(ours_other), kl, rtol=1e-4)
    np.testing.assert_allclose(total_kl(one, other), np.sum(kl, axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(ours.log_prob(z), theirs.log_prob(z), rtol=1e-4)
    np.testing.assert_allclose(ours.mean(), theirs.mean())
    np.testing.assert_allclose(ours.stddev(), theirs.stddev(), rtol=1e-5)


def test_the_closed_form_stands_in_where_tensorflow_probability_is_missing(monkeypatch):
    real_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("tensorflow_probability"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert isinstance(gaussian(*parameters(2, 3)), DiagonalGaussian)


def test_the_closed_form_is_used_on_other_backends(monkeypatch):
    monkeypatch.setattr(latent.keras.backend, "backend", lambda: "jax")
    assert isinstance(gaussian(*parameters(2, 3)), DiagonalGaussian)


@pytest.mark.parametrize("pooled", [False, True])
def test_log_sigma_is_bounded(pooled):
    head = GaussianHead(6, pooled, 8)
    features = 1e8 * np.abs(RNG.standard_normal((2, 5, 7, 4))).astype("float32")
    mean, log_sigma = head(features)
    assert mean.shape == ((2, 1, 1, 6) if pooled else (2, 5, 7, 6))
    assert np.all(np.abs(log_sigma) <= LOG_SIGMA_LIMIT)
    assert GaussianHead.from_config(head.get_config()).get_config() == head.get_config()
