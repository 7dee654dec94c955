"""Cramer-Rao limits of place and flux, against closed forms and brute force."""

import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.limit_errors import limit_errors

SIZE, BACKGROUND = 64, 155.57


def gaussian(x, y, flux, sigma, size=SIZE, axis_ratio=1.0):
    row, column = np.mgrid[:size, :size]
    radius2 = axis_ratio * (column - x) ** 2 + (row - y) ** 2 / axis_ratio
    return flux / (2 * np.pi * sigma**2) * np.exp(-radius2 / (2 * sigma**2))


def test_no_sources():
    limits = limit_errors(np.zeros((0, 8, 8)), [], [], 1.0)
    assert [values.shape for values in limits] == [(0,)] * 3


def test_a_source_without_flux_is_not_known():
    limits = limit_errors(np.zeros((1, 8, 8)), [4], [4], 1.0)
    np.testing.assert_array_equal(limits, np.inf)


@pytest.mark.parametrize("sigma", [1.0, 1.5, 3.0])
def test_one_faint_gaussian(sigma):
    """Of a Gaussian in flat noise: 2 sigma sqrt(pi) over the flux's error, sqrt(2) sigma / SNR."""
    flux = 50.0  # far fainter than the background, whose noise is then all
    limits = limit_errors([gaussian(31.3, 30.8, flux, sigma)], [31.3], [30.8], BACKGROUND * 1e4)
    snr = flux / np.sqrt(4 * np.pi * sigma**2 * BACKGROUND * 1e4)
    np.testing.assert_allclose(limits.flux, 1 / snr, rtol=1e-3)
    # The narrowest has modes that a difference of sixth order still loses a little of.
    rtol = {1.0: 0.05, 1.5: 0.01, 3.0: 1e-3}[sigma]
    np.testing.assert_allclose(limits.x, np.sqrt(2) * sigma / snr, rtol=rtol)
    np.testing.assert_allclose(limits.y, np.sqrt(2) * sigma / snr, rtol=rtol)


def test_photons_alone():
    """Without a sky, N photons of a Gaussian place it to sigma / sqrt(N), and count to sqrt(N)."""
    limits = limit_errors([gaussian(31.0, 31.0, 1e6, 3.0)], [31], [31], 1e-6)
    np.testing.assert_allclose([limits.x, limits.y], 3.0 / 1e3, rtol=2e-3)
    np.testing.assert_allclose(limits.flux, 1 / 1e3, rtol=1e-3)


def test_the_long_axis_is_known_less():
    limits = limit_errors([gaussian(31, 31, 50.0, 3.0, axis_ratio=0.5)], [31], [31], BACKGROUND)
    np.testing.assert_allclose(limits.x / limits.y, 2.0, rtol=5e-3)


def test_far_neighbours_change_nothing():
    images = [gaussian(16, 16, 5e3, 1.5), gaussian(48, 48, 2e4, 2.0)]
    images = [np.where(image > 1e-6, image, 0) for image in images]
    together = limit_errors(images, [16, 48], [16, 48], BACKGROUND)
    for own, image in enumerate(images):
        place = [16 + 32 * own]
        alone = limit_errors([image], place, place, BACKGROUND)
        np.testing.assert_allclose([v[own] for v in together], [v[0] for v in alone], rtol=1e-6)


def test_near_neighbours_cost_and_the_nearer_the_more():
    places = [31.0 + distance for distance in (9, 6, 3, 1.5)]
    flux, x = [], []
    for place in places:
        images = [gaussian(31, 31, 5e3, 1.5), gaussian(place, 31, 5e3, 1.5)]
        limits = limit_errors(images, [31, place], [31, 31], BACKGROUND)
        flux.append(limits.flux[0])
        x.append(limits.x[0])
    assert (np.diff(flux) > 0).all()
    assert (np.diff(x) > 0).all()
    assert flux[-1] > 3 * flux[0]


def test_two_at_one_place_cannot_be_told_apart():
    limits = limit_errors([gaussian(31, 31, 5e3, 1.5)] * 2, [31, 31], [31, 31], BACKGROUND)
    np.testing.assert_array_equal(limits.flux, np.inf)


def test_it_is_the_inverse_of_the_whole_matrix():
    """Brute force: all nine free parameters of two sources, by numerical derivatives."""

    def scene(p):
        own = gaussian(p[1], p[2], p[0], 1.7)
        stretch = np.array([[p[6] + p[7], p[8]], [p[8], p[6] - p[7]]])
        row, column = np.mgrid[:SIZE, :SIZE]
        u, v = np.einsum("ab,byx->ayx", np.linalg.inv(stretch), [column - p[4], row - p[5]])
        other = p[3] / (2 * np.pi * 4) * np.exp(-(u**2 + v**2) / 8)
        return own + other

    at = np.array([4e3, 30.2, 31.1, 9e3, 34.0, 32.0, 1.0, 0.0, 0.0])
    image = scene(at)
    slopes = []
    for i, step in enumerate([1, 1e-3, 1e-3, 1, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4]):
        change = np.eye(9)[i] * step
        slopes.append((scene(at + change) - scene(at - change)).ravel() / (2 * step))
    slopes = np.array(slopes)
    covariance = np.linalg.inv((slopes / (BACKGROUND + image.ravel())) @ slopes.T)
    expected = np.sqrt(np.diag(covariance))[:3]
    images = [gaussian(30.2, 31.1, 4e3, 1.7), gaussian(34.0, 32.0, 9e3, 2.0)]
    limits = limit_errors(images, [30.2, 34.0], [31.1, 32.0], BACKGROUND)
    np.testing.assert_allclose(
        [limits.flux[0] * 4e3, limits.x[0], limits.y[0]], expected, rtol=1e-2
    )


def test_wrong_shapes_are_named():
    with pytest.raises(InputError, match="one value for each of the 1 sources"):
        limit_errors(np.zeros((1, 8, 8)), [1, 2], [1, 2], 1.0)
    with pytest.raises(InputError, match="shape"):
        limit_errors(np.zeros((8, 8)), [1], [1], 1.0)
    with pytest.raises(InputError, match="above 0"):
        limit_errors(np.zeros((1, 8, 8)), [1], [1], 0.0)
