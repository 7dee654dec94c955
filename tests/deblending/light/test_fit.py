"""The fit of sources: exact on noiseless scenes, with errors that hold on noisy ones."""

import galsim
import numpy as np
import pytest

from btk_punet.deblending.light.canvas import Scenes
from btk_punet.deblending.light.fit import MAX_SHIFT_PIXELS, SourceFit
from btk_punet.deblending.light.prior import BULGE_MEAN, INDEX_MEAN, LightPrior
from btk_punet.deblending.light.profiles import (
    BULGE,
    FLUX,
    LOG_INDEX,
    LOG_RADIUS,
    N_PARAMETERS,
    PatchModel,
    X,
    Y,
)

BACKGROUND, SCALE_ARCSEC, ZEROPOINT = 155.57, 0.1, 25.92 + 2.5 * np.log10(565)
PSF = galsim.Gaussian(fwhm=0.2)
PRIOR = LightPrior(ZEROPOINT, SCALE_ARCSEC, 120.0)


def sources(*rows):
    """Return parameters of (flux, x, y) and, if given, size [pixel], g1, g2, index, bulge."""
    default = (0, 0, 0, 2.5, 0.1, -0.05, 1.3, 0.2)
    table = np.array([row + default[len(row) :] for row in rows], float)
    table[:, [3, 6]] = np.log(table[:, [3, 6]])
    return table


def draw(parameters, size=64):
    """Return the image of sources, each on a patch twice as large as the image."""
    model = PatchModel(PSF, SCALE_ARCSEC, 2 * size)
    middle = np.full(len(parameters), size // 2)
    half = slice(size // 2, size // 2 + size)
    return model.images(parameters, middle, middle)[:, half, half].sum(axis=0, dtype=float)


def scenes(images, usable=None, background=BACKGROUND):
    images = np.asarray(images, float)
    usable = np.ones(images.shape, bool) if usable is None else usable
    return Scenes(images, usable, background, PSF, False, SCALE_ARCSEC)


def start_of(parameters, shift=0.3):
    """Return where the network would let the search begin."""
    start = np.zeros((len(parameters), N_PARAMETERS))
    start[:, FLUX] = 0.7 * parameters[:, FLUX]
    start[:, X], start[:, Y] = parameters[:, X] + shift, parameters[:, Y] - shift
    start[:, LOG_RADIUS] = PRIOR.log_radius(start[:, FLUX])
    start[:, LOG_INDEX], start[:, BULGE] = np.log(INDEX_MEAN), BULGE_MEAN
    return start


def fit(images, image, parameters, **options):
    return SourceFit(scenes(images, **options), image, start_of(parameters), PRIOR).run()


def test_no_sources():
    found = SourceFit(
        scenes(np.zeros((2, 32, 32))), np.zeros(0, int), np.zeros((0, N_PARAMETERS)), PRIOR
    ).run()
    assert found.parameters.shape == (0, N_PARAMETERS)
    assert len(found.converged) == 0


def test_bright_sources_without_noise_are_found_exactly():
    """So bright that the priors say nothing."""
    truth = sources((3e6, 24.3, 30.2), (2e6, 36.9, 33.6, 3.5, -0.2, 0.1, 1.0))
    found = fit([draw(truth)], np.zeros(2, int), truth)
    assert found.converged.all()
    np.testing.assert_allclose(found.parameters[:, FLUX], truth[:, FLUX], rtol=2e-3)
    np.testing.assert_allclose(found.parameters[:, 1:], truth[:, 1:], atol=0.01)


def test_what_other_images_hold_changes_nothing():
    one, two = sources((9e4, 24.3, 30.2), (5e4, 33.9, 33.6)), sources((2e4, 40.0, 20.0))
    images = [draw(one), draw(two)]
    together = fit(images, np.array([0, 0, 1]), np.concatenate([one, two]))
    alone = fit(images[1:], np.zeros(1, int), two)
    np.testing.assert_allclose(together.parameters[2], alone.parameters[0], rtol=1e-5)
    np.testing.assert_allclose(together.covariance[2], alone.covariance[0], rtol=1e-3, atol=1e-6)


def test_errors_hold():
    """Pulls of many noisy scenes of the same pair, of a typical size for their magnitude."""
    truth = sources((6e3, 28.2, 31.0), (9e3, 35.7, 32.4))
    rng = np.random.default_rng(3)
    level = draw(truth) + BACKGROUND
    images = rng.poisson(level, (150, *level.shape)) - BACKGROUND
    found = fit(images, np.repeat(np.arange(150), 2), np.tile(truth, (150, 1)))
    assert found.converged.mean() > 0.98
    for axis in (FLUX, X, Y):
        error = np.sqrt(found.covariance[:, axis, axis])
        pulls = (found.parameters[:, axis] - np.tile(truth[:, axis], 150)) / error
        assert np.abs(pulls.mean()) < 0.35
        assert pulls.std() == pytest.approx(1.0, abs=0.15)


def test_masked_pixels_have_no_say():
    truth = sources((4e4, 31.0, 31.0))
    image = draw(truth)
    usable = np.ones((1, 64, 64), bool)
    usable[0, :, 33:36] = False
    image[:, 33:36] = np.nan
    found = fit([image], np.zeros(1, int), truth, usable=usable)
    whole = fit([draw(truth)], np.zeros(1, int), truth)
    assert found.parameters[0, FLUX] == pytest.approx(4e4, rel=0.02)
    assert found.covariance[0, FLUX, FLUX] > whole.covariance[0, FLUX, FLUX]


def test_without_usable_pixels_the_prior_is_all():
    truth = sources((4e4, 31.0, 31.0))
    nothing = np.zeros((1, 64, 64), bool)
    found = fit([np.full((64, 64), np.nan)], np.zeros(1, int), truth, usable=nothing)
    assert np.isfinite(found.parameters).all()


def test_a_peak_on_noise_gives_no_flux_to_speak_of():
    rng = np.random.default_rng(4)
    images = rng.normal(0, np.sqrt(BACKGROUND), (20, 64, 64))
    truth = np.tile(sources((2e3, 31.0, 31.0)), (20, 1))
    found = fit(images, np.arange(20), truth)
    # A flux at its lowest, one sigma of a pixel, stays there, and has no error.
    lowest = np.sqrt(BACKGROUND)
    error = np.maximum(np.sqrt(found.covariance[:, FLUX, FLUX]), lowest)
    assert (found.parameters[:, FLUX] < 6 * error).all()
    assert found.parameters[:, FLUX].min() == pytest.approx(lowest)
    moved = np.abs(found.parameters[:, [X, Y]] - start_of(truth)[:, [X, Y]])
    assert moved.max() < MAX_SHIFT_PIXELS + 1e-9


def test_images_of_sources_at_the_border():
    truth = sources((4e4, 1.0, 31.0), (3e4, 62.5, 63.0))
    fitted = SourceFit(scenes([draw(truth)]), np.zeros(2, int), start_of(truth), PRIOR)
    fitted.run()
    target = np.zeros((1, 64, 64))
    for _, place, pixels in fitted.images():
        target[place] += pixels
    np.testing.assert_allclose(target[0], draw(truth), atol=0.5 * np.sqrt(BACKGROUND))


def test_fluxes_alone_for_another_band():
    truth = sources((4e4, 28.0, 31.0), (3e4, 35.0, 33.0))
    fitted = SourceFit(scenes([draw(truth)]), np.zeros(2, int), truth * [0.1] + 0.9 * truth, PRIOR)
    dim = truth.copy()
    dim[:, FLUX] /= 3
    other = SourceFit(scenes([draw(truth)]), np.zeros(2, int), dim, PRIOR)
    np.testing.assert_allclose(other.run_fluxes(), truth[:, FLUX], rtol=5e-3)
    np.testing.assert_allclose(other.parameters[:, 1:], dim[:, 1:])
    assert fitted.run().converged.all()


@pytest.mark.parametrize("level", [1e15, 1e24, -1e24])
def test_light_beyond_all_measure_is_no_fit_and_no_error(level):
    images = np.zeros((2, 64, 64))
    images[0, 28:34, 28:34] = level
    truth = sources((4e4, 31.0, 31.0))
    images[1] = draw(truth)
    start = np.concatenate([start_of(truth), start_of(truth)])
    start[0, FLUX] = 36 * abs(level)
    found = SourceFit(scenes(images), np.arange(2), start, PRIOR).run()
    assert np.isfinite(found.parameters).all()
    assert found.converged[1]
    if abs(level) > 1e20:
        assert not found.converged[0] or found.parameters[0, FLUX] < 0.1 * abs(level)
