"""Light of detections by the deblender: fluxes, places, images, doubt, failures."""

import dataclasses

import galsim
import numpy as np
import pytest
from btk.metrics.reconstruction import MSE, PSNR, StructSim

from btk_punet.deblending.band_conditions import BandConditions
from btk_punet.deblending.conditions import batch_conditions
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.fit import LightFit
from btk_punet.deblending.light.scenes import _calibrated, _doubt, measure_light
from btk_punet.deblending.recipe import LightCalibration
from btk_punet.errors import InputError
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.generator import EuclidGenerator
from btk_punet.simulation.sampling import EuclidPairSampling
from btk_punet.simulation.survey import flux_electrons, get_euclid_survey

from ..conftest import SIGMA, add_noise, gaussian, make_batch

NOTHING = np.zeros(0)
PSF = galsim.Gaussian(fwhm=0.16)


def survey():
    # As wide as the Gaussians of the tests are, which are then stars but for a little.
    return get_euclid_survey(1, 0.0, psf=PSF)


def batch_of(*images):
    return make_batch(np.array(images), survey())


@pytest.fixture
def deblender(network):
    return ProbaUNetDeblender(8, network, n_samples=2, threshold=0.2)


def measured(images, usable, conditions, x, y, flux, p=None, image=None):
    x, y, flux = (np.asarray(a, float) for a in (x, y, flux))
    image = np.zeros(len(x), int) if image is None else np.asarray(image, int)
    p = np.ones(len(x)) if p is None else p
    sources = Candidates(image, x, y, 0 * x, 0 * y, p)
    return measure_light(images, usable, conditions, 0, sources, flux, LightCalibration())


def measure(batch, image, x, y, flux, p=None, usable=None):
    images = np.asarray(batch.blend_images, float)
    usable = np.ones((len(images), *images.shape[2:]), bool) if usable is None else usable
    return measured(images, usable, batch_conditions(batch), x, y, flux, p, image)


def test_no_sources():
    batch = batch_of(np.zeros((32, 32)))
    light, models = measure(batch, NOTHING, NOTHING, NOTHING, NOTHING)
    assert len(light.flux) == 0
    target = np.zeros((1, 3, 1, 32, 32), np.float32)
    models.draw(NOTHING.astype(int), target)
    assert not target.any()


@pytest.mark.parametrize("shape", [(0, 1, 32, 32), (0, 2, 0, 0), (2, 1, 3, 5)])
def test_no_images_or_small_ones(shape):
    images, usable = np.zeros(shape), np.ones((shape[0], *shape[2:]), bool)
    conditions = [BandConditions(PSF, False, 0.1, np.ones(usable.shape), np.nan)] * shape[1]
    none = NOTHING.astype(int)
    light, models = measured(images, usable, conditions, *(3 * [NOTHING]))
    assert len(light.flux) == len(light.failed) == 0
    models.draw(none, np.zeros((shape[0], 3, *shape[1:]), np.float32))


def test_a_map_of_one_variance_is_that_variance():
    truth = [(28.3, 31.2, 30000.0), (34.1, 33.4, 12000.0)]
    image = add_noise(sum(gaussian(*one) for one in truth), np.random.default_rng(1))
    x, y, flux = np.array(truth).T
    both = []
    for background in (SIGMA**2, np.full((1, 64, 64), SIGMA**2)):
        conditions = BandConditions(PSF, False, 0.1, background, 32.8)
        light, _ = measured(image[None, None], np.ones((1, 64, 64), bool), [conditions], x, y, flux)
        both.append(light)
    for column in dataclasses.fields(both[0]):
        np.testing.assert_array_equal(*(getattr(light, column.name) for light in both))


def test_errors_follow_the_noise_where_the_source_is():
    """One scene twice, the second under 16 times the variance; then both in one image of a map."""
    scene, shape = gaussian(31.0, 31.0, 3000.0), (1, 64, 128)
    background = np.repeat(np.float64([[155.57, 16 * 155.57]]), 64, axis=1)[None].repeat(64, axis=1)
    image = np.concatenate([scene, scene], axis=1)
    x, y, flux = np.array([31.0, 95.0]), np.full(2, 31.0), np.full(2, 3000.0)

    def errors(image, shape, variance, x):
        light, _ = measured(
            image[None, None],
            np.ones(shape, bool),
            [BandConditions(PSF, False, 0.1, variance, 32.8)],
            x,
            y[: len(x)],
            flux[: len(x)],
        )
        assert not light.failed.any()
        return np.stack([light.flux_err, light.x_err])

    together = errors(image, shape, background, x)
    apart = [errors(scene, (1, 64, 64), v, x[:1])[:, 0] for v in (155.57, 16 * 155.57)]
    np.testing.assert_allclose(together.T, apart, rtol=0.01)
    assert (together[:, 1] > 2.5 * together[:, 0]).all()


def test_without_a_zero_point_fluxes_are_still_right():
    truth = [(28.3, 31.2, 30000.0), (34.1, 33.4, 12000.0)]
    x, y, flux = np.array(truth).T
    light, _ = measured(
        sum(gaussian(*one) for one in truth)[None, None],
        np.ones((1, 64, 64), bool),
        [BandConditions(PSF, False, 0.1, SIGMA**2, np.nan)],
        x,
        y,
        0.8 * flux,
    )
    assert not light.failed.any()
    np.testing.assert_allclose(light.flux, flux, rtol=0.03)


def test_conditions_of_other_images_are_refused():
    images, usable = np.zeros((1, 2, 8, 8)), np.ones((1, 8, 8), bool)
    one = BandConditions(PSF, False, 0.1, np.ones((1, 9, 8)), 32.8)
    nothing = 3 * [NOTHING]
    with pytest.raises(InputError, match=r"2 band\(s\), and there are conditions of 1"):
        measured(images, usable, [one], *nothing)
    with pytest.raises(InputError, match=r"shape \(1, 9, 8\), and the images have \(1, 8, 8\)"):
        measured(images, usable, [one, one], *nothing)


def test_blended_gaussians_are_taken_apart():
    truth = [(28.3, 31.2, 30000.0), (34.1, 33.4, 12000.0)]
    batch = batch_of(sum(gaussian(*one) for one in truth))
    x, y, flux = np.array(truth).T
    light, models = measure(batch, [0, 0], x + 0.4, y - 0.3, 0.8 * flux)
    assert not light.failed.any()
    np.testing.assert_allclose(light.flux, flux, rtol=0.03)
    np.testing.assert_allclose(light.x, x, atol=0.02)
    np.testing.assert_allclose(light.y, y, atol=0.02)
    # FWHM 4 pixels with the PSF of 1.6 and the pixel: half of a Gaussian is inside 0.5 FWHM.
    half_light = 0.1 * 0.5 * np.sqrt(4.0**2 - 1.6**2 - 2.3548**2 / 12)
    np.testing.assert_allclose(light.half_light_radius_arcsec, half_light, rtol=0.03)
    target = np.zeros((1, 4, 1, 64, 64), np.float32)
    models.draw(np.array([1, 0]), target)
    for where, one in ((1, truth[0]), (0, truth[1])):
        np.testing.assert_allclose(target[0, where, 0], gaussian(*one), atol=0.5 * SIGMA)


def test_ellipticity_is_that_of_the_profile():
    """Longer along x, as e1 > 0 says, and turned by a quarter of a right angle along e2."""
    long = gaussian(31.0, 31.0, 1e6, fwhm=9.0, axis_ratio=0.5)
    light, _ = measure(batch_of(long, long.T), [0, 1], [31, 31], [31, 31], [1e6, 1e6])
    assert light.g1[0] > 0.25
    np.testing.assert_allclose(light.g1[1], -light.g1[0], atol=0.01)
    np.testing.assert_allclose(light.g2, 0, atol=0.01)


def test_doubt_by_hand():
    """Two fluxes that share light: without the second all of it would be the first's."""
    covariance = np.array([[2.0, -1.0], [-1.0, 4.0]])
    parameters = np.zeros((3, 8))
    parameters[:, 0] = [100.0, 60.0, 10.0]
    fit = LightFit(
        parameters,
        np.zeros((3, 8, 8)),
        np.ones(3, bool),
        [np.array([0, 1]), np.array([2])],
        [covariance, np.eye(1)],
    )
    # The first gains 60 / 4 without the second, which gains 100 / 2 without the first.
    expected = [0.25 * 0.75 * 15**2, 0.1 * 0.9 * 50**2, 0]
    np.testing.assert_allclose(_doubt(fit, np.array([0.9, 0.25, 0.5])), expected)
    np.testing.assert_array_equal(_doubt(fit, np.ones(3)), 0)


def test_calibration_by_hand():
    parameters = np.array([[1000.0, 30.0, 31.0, np.log(4.0), 0, 0, 0, 0]])
    covariance = np.diag([900.0, 0.04, 0.09, 1, 1, 1, 1, 1])[None]
    fit = LightFit(parameters, covariance, np.ones(1, bool), [np.array([0])], [np.eye(1)])
    calibration = LightCalibration(1.5, 0.1, 2.0, 0.08)
    doubt = np.array([[44.0**2, 1.2**2, 0.0]])
    light = _calibrated(fit, parameters, 12.0, np.ones(1), doubt, calibration, 0.1)
    assert light.flux_err[0] == pytest.approx(np.hypot(100.0, 44.0))  # 60 and 80, and 44
    assert light.x_err[0] == pytest.approx(1.3)  # 0.3 and 0.4, and 1.2
    assert light.y_err[0] == pytest.approx(np.hypot(0.45, 0.4))
    assert light.half_light_radius_arcsec[0] == pytest.approx(0.4)
    assert not light.failed[0]


@pytest.mark.parametrize(
    "change",
    [
        {"converged": np.zeros(1, bool)},
        {"parameters": np.array([[np.nan, 30, 31, 0, 0, 0, 0, 0]])},
        {"parameters": np.array([[1000.0, 32, 31, 0, 0, 0, 0, 0]])},  # two pixels away
        {"parameters": np.array([[12.0, 30, 31, 0, 0, 0, 0, 0]])},  # as faint as may be
        {"covariance": np.zeros((1, 8, 8))},
    ],
)
def test_what_is_no_fit(change):
    start = np.array([[1000.0, 30.0, 31.0, 0, 0, 0, 0, 0]])
    values = {"parameters": start, "covariance": np.eye(8)[None], "converged": np.ones(1, bool)}
    fit = LightFit(**values | change, groups=[np.array([0])], flux_covariance=[np.eye(1)])
    light = _calibrated(fit, start, 12.0, np.ones(1), np.zeros((1, 3)), LightCalibration(), 0.1)
    assert light.failed[0]


def test_a_failed_fit_is_flagged_and_keeps_place_and_isophotal_flux(deblender, monkeypatch):
    batch = batch_of(gaussian(30, 31, 20000))
    (good,) = deblender(batch).catalog_list
    monkeypatch.setattr("btk_punet.deblending.light.fit.MAX_STEPS", 1)
    found = deblender(batch)
    (failed,) = found.catalog_list
    assert list(failed["flags"]) == [DetectionFlag.FIT_FAILED]
    assert failed["flux"][0] == failed["flux_iso"][0] == good["flux_iso"][0]
    np.testing.assert_allclose(failed["x_err"], np.sqrt(1 / 12), atol=0.05)
    assert np.isnan(failed["half_light_radius"]).all()
    assert not found.deblended_images.any()


def test_deblended_images_leave_the_noise(deblender):
    rng = np.random.default_rng(2)
    image = gaussian(28.3, 31.2, 30000.0) + gaussian(35.1, 33.4, 12000.0)
    found = deblender(batch_of(add_noise(image, rng)))
    assert found.deblended_images.dtype == np.float32
    assert found.deblended_images.shape == (1, 8, 1, 64, 64)
    assert not found.deblended_images[0, len(found.catalog_list[0]) :].any()
    assert found.deblended_images.min() == 0  # as BTK's PSNR demands
    pulls = (add_noise(image, rng) - found.deblended_images[0].sum(axis=0)[0]) / np.sqrt(
        SIGMA**2 + image
    )
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1.0, abs=0.05)


def test_turned_images_have_the_same_light(network):
    """What is fitted does not hang on how the image is turned; the network's places do."""
    deblender = ProbaUNetDeblender(8, network, n_samples=2, threshold=0.2)
    image = gaussian(28.3, 31.2, 30000.0) + gaussian(37.1, 33.4, 12000.0)
    one, two = deblender(batch_of(image, np.rot90(image))).catalog_list
    one.sort("flux")
    two.sort("flux")
    np.testing.assert_allclose(one["flux"], two["flux"], rtol=2e-3)
    np.testing.assert_allclose(one["x_peak"], 63 - two["y_peak"], atol=5e-3)
    np.testing.assert_allclose(one["y_peak"], two["x_peak"], atol=5e-3)


def test_btks_metrics_run_on_deblended_images():
    catalog = EuclidCatalog.simulate(200, seed=3, min_mag=20, max_mag=21.5)
    sampling = EuclidPairSampling(min_separation=1.4, min_mag=20, max_mag=21.5, seed=4)
    batch = next(
        EuclidGenerator(catalog, sampling, get_euclid_survey(1, 0.0), batch_size=4, seed=9)
    )
    # At the true places: how sources are found is not asked here.
    image = np.repeat(np.arange(4), 2)
    x, y = (np.concatenate([c[name] for c in batch.catalog_list]) for name in ("x_peak", "y_peak"))
    true = batch.isolated_images[:, :2, 0].reshape(8, 64, 64)
    _, models = measure(batch, image, x, y, 0.8 * true.sum(axis=(1, 2)))
    target = np.zeros((4, 2, 1, 64, 64), np.float32)
    models.draw(np.tile([0, 1], 4), target)
    true, fitted = true[None].astype(np.float32), target[:, :, 0].reshape(1, 8, 64, 64)
    worse = np.full_like(true, true.mean())
    assert MSE(1)(true, fitted) < 0.2 * MSE(1)(true, worse)
    assert PSNR(1)(true, fitted) > PSNR(1)(true, worse) + 5
    assert StructSim(1)(true, fitted) > 0.9


def test_total_fluxes_of_true_galaxies(network):
    """Bulge + disk and Sersic galaxies, alone and bright: what is missed is the model's fault."""
    catalog = EuclidCatalog.simulate(200, seed=3, min_mag=20, max_mag=22)
    sampling = EuclidPairSampling(min_separation=1.8, min_mag=20, max_mag=22, seed=4)
    band_survey = get_euclid_survey(1, 0.0)
    batch = next(EuclidGenerator(catalog, sampling, band_survey, batch_size=12, seed=9))
    tables = batch.catalog_list
    x, y, magnitudes = (
        np.concatenate([table[name] for table in tables]) for name in ("x_peak", "y_peak", "IE_ab")
    )
    image = np.repeat(np.arange(12), 2)
    true = flux_electrons(magnitudes, band_survey.get_filter("IE"))
    light, _ = measure(batch, image, x + 0.2, y - 0.2, 0.8 * true)
    off = light.flux / true - 1
    assert not light.failed.any()
    assert abs(np.median(off)) < 0.02
    assert np.quantile(np.abs(off), 0.68) < 0.05
    np.testing.assert_allclose([light.x, light.y], [x, y], atol=0.3)
