"""Noise of stamps; its moments are checked where stamps are composed."""

import numpy as np

from btk_punet.training.noise import add_sky_residuals


def test_no_images():
    add_sky_residuals(np.zeros((0, 32, 32), np.float32), np.random.default_rng(0))


def test_sky_residuals_are_small_and_rarely_large():
    images = np.zeros((500, 32, 32), np.float32)
    add_sky_residuals(images, np.random.default_rng(0))
    strength = np.sqrt((images**2).mean(axis=(1, 2)))
    assert 0.02 < np.median(strength) < 0.08
    assert 0.005 < (strength > 0.15).mean() < 0.08
    assert strength.max() < 0.8


def test_sky_residuals_are_planes():
    images = np.zeros((3, 9, 9), np.float32)
    add_sky_residuals(images, np.random.default_rng(1))
    for axis in (1, 2):
        np.testing.assert_allclose(np.diff(images, 2, axis=axis), 0, atol=1e-6)
