"""Images of Sersic profiles and their derivatives, against closed forms and GalSim."""

import galsim
import numpy as np
import pytest
from scipy.special import gammaincinv

from btk_punet.deblending.light.profiles import (
    BULGE_RADIUS,
    FLUX,
    INDEX_RANGE,
    LOG_RADIUS,
    N_PARAMETERS,
    PatchModel,
    as_profile,
    sersic_table,
)
from btk_punet.simulation.survey import euclid_psf

SCALE_ARCSEC = 0.1


def waves():
    table = sersic_table()
    return np.exp(table.log_first + table.log_step * np.arange(table.values.shape[1]))


def source(flux=1000.0, x=31.3, y=32.6, radius=2.0, g1=0.0, g2=0.0, index=1.0, bulge=0.0):
    return np.array([[flux, x, y, np.log(radius), g1, g2, np.log(index), bulge]])


def galsim_image(parameters, psf, size):
    flux, x, y, log_radius, g1, g2, log_index, share = parameters[0]
    composite, _ = sersic_table().log_composite(share)
    radius = SCALE_ARCSEC * np.exp(log_radius - composite)
    disk = galsim.Sersic(
        float(np.exp(log_index)), half_light_radius=radius, flux=flux * (1 - share)
    )
    bulge = galsim.DeVaucouleurs(half_light_radius=BULGE_RADIUS * radius, flux=flux * share)
    profile = (disk + bulge).shear(g1=g1, g2=g2)
    middle = (size - 1) / 2
    return (
        galsim.Convolve(psf, profile)
        .drawImage(nx=size, ny=size, scale=SCALE_ARCSEC, offset=(x - middle, y - middle))
        .array
    )


def test_no_sources():
    model, nothing = PatchModel(galsim.Gaussian(fwhm=0.16), SCALE_ARCSEC, 32), np.zeros(0, int)
    assert model.images(np.zeros((0, N_PARAMETERS)), nothing, nothing).shape == (0, 32, 32)


def test_a_gaussian_has_index_one_half():
    transform = sersic_table().of_indices(np.log([0.5]))[0, :, 0]
    np.testing.assert_allclose(transform, np.exp(-(waves() ** 2) / (4 * np.log(2))), atol=1e-5)


def test_an_exponential_in_closed_form():
    found = sersic_table().of_indices(np.log([1.0]))[0]
    square = (waves() / gammaincinv(2, 0.5)) ** 2
    np.testing.assert_allclose(found[:, 0], (1 + square) ** -1.5, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], -3 * square * (1 + square) ** -2.5, atol=1e-3)


@pytest.mark.parametrize("index", [0.47, 1.3, 2.7, 4.0, 4.9])
def test_between_the_nodes_as_galsim(index):
    table = sersic_table()
    exact = table._transform(index)[:, 0]
    np.testing.assert_allclose(table.of_indices(np.log([index]))[0, :, 0], exact, atol=2e-5)
    if index in (1.3, 4.0):
        profile = galsim.Sersic(index, half_light_radius=1.0)
        some = slice(None, None, 100)
        values = [profile.kValue(wave, 0.0).real for wave in waves()[some]]
        np.testing.assert_allclose(exact[some], values, atol=1e-4)


@pytest.mark.parametrize("index, bulge", [(0.5, 0.0), (1.0, 0.0), (2.5, 0.0), (1.0, 0.4)])
@pytest.mark.parametrize("size", [48, 64])
def test_images_are_those_of_galsim(index, bulge, size):
    psf = euclid_psf(0.16)
    parameters = source(
        x=size / 2 + 0.3, y=size / 2 - 0.4, g1=0.2, g2=-0.3, index=index, bulge=bulge
    )
    model = PatchModel(psf, SCALE_ARCSEC, size)
    image = model.images(parameters, np.array([size // 2]), np.array([size // 2]))[0]
    expected = galsim_image(parameters, psf, size)
    # Light beyond the patch folds back into it: nothing is lost.
    assert image.sum() == pytest.approx(1000, rel=1e-5)
    np.testing.assert_allclose(image, expected, atol=2e-3 * expected.max())


def test_a_star_is_the_psf():
    psf = euclid_psf(0.16)
    model = PatchModel(psf, SCALE_ARCSEC, 64)
    image = model.images(source(radius=0.01, x=31.5, y=31.5), np.array([32]), np.array([32]))[0]
    expected = 1000 * psf.drawImage(nx=64, ny=64, scale=SCALE_ARCSEC).array
    np.testing.assert_allclose(image, expected, atol=2e-3 * expected.max())


def test_a_psf_of_pixels():
    """As BTK's `BlendBatch.load` gives it: with the pixel, centred in an odd number of them."""
    gaussian = galsim.Gaussian(fwhm=0.3)
    pixels = gaussian.drawImage(nx=41, ny=41, scale=SCALE_ARCSEC).array
    place = np.array([32])
    one, two = (
        PatchModel(psf, SCALE_ARCSEC, 64, with_pixel).images(source(), place, place)[0]
        for psf, with_pixel in (as_profile(pixels, SCALE_ARCSEC), as_profile(gaussian, 0.1))
    )
    np.testing.assert_allclose(one, two, atol=2e-3 * two.max())


@pytest.mark.parametrize("psf", [galsim.Gaussian(fwhm=0.4), euclid_psf(0.16)])
def test_derivatives_are_those_of_the_image(psf):
    model, place = PatchModel(psf, SCALE_ARCSEC, 48), np.array([24])
    parameters = source(x=24.3, y=23.8, g1=-0.2, g2=0.3, index=1.6, bulge=0.3)
    slopes = model.derivatives(parameters, place, place)[0].astype(float)
    for axis in range(N_PARAMETERS):
        step = 20.0 if axis == FLUX else 0.02
        up, down = parameters.copy(), parameters.copy()
        up[0, axis] += step
        down[0, axis] -= step
        change = (
            model.images(up, place, place)[0].astype(float) - model.images(down, place, place)[0]
        )
        expected = change / (2 * step)
        np.testing.assert_allclose(slopes[axis], expected, atol=6e-3 * np.abs(expected).max())


@pytest.mark.parametrize("bulge", [0.0, 0.5])
def test_half_of_the_light_is_inside_the_half_light_radius(bulge):
    model = PatchModel(galsim.Gaussian(fwhm=0.05), SCALE_ARCSEC, 192)
    place = np.array([96])
    parameters = source(x=96, y=96, radius=15.0, index=1.0, bulge=bulge)
    image = model.images(parameters, place, place)[0]
    row, column = np.mgrid[:192, :192] - 96
    inside = np.hypot(row, column) < np.exp(parameters[0, LOG_RADIUS])
    assert image[inside].sum() == pytest.approx(500, rel=0.02)


def test_far_indices_stay_finite():
    low, high = INDEX_RANGE
    found = sersic_table().of_indices(np.log([low / 1.1, low, high, high * 1.1]))
    assert np.isfinite(found).all()
    assert np.abs(found[..., 0]).max() < 1.001
