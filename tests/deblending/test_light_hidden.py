"""Sources that were not called: who hides light, how much, and what is done about it."""

import numpy as np
import pytest

from btk_punet.deblending import light_fit
from btk_punet.deblending.conditions import batch_conditions
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light import measure_light
from btk_punet.deblending.light_fit import SourceFit
from btk_punet.deblending.light_hidden import Hidden, fit_with, judge
from btk_punet.deblending.light_profiles import FLUX, X, Y
from btk_punet.deblending.recipe import LightCalibration

from .conftest import add_noise, gaussian
from .test_light import batch_of
from .test_light_fit import PRIOR, draw, scenes, sources, start_of

NOTHING = np.zeros(0)
TRUTH = sources((3e4, 28.3, 31.2), (1e4, 32.4, 32.1, 2.0))


def candidates(x, y, mass, image=None):
    x, y, mass = (np.asarray(values, float) for values in (x, y, mass))
    image = np.zeros(len(x), int) if image is None else np.asarray(image)
    return Candidates(image, x, y, 0 * x, 0 * x, mass)


def prior_of(n):
    return type(PRIOR)(PRIOR.zeropoint, 0.1, np.full(n, 120.0), np.full(n, 2.0))


def fit_of_the_first():
    """Return a fit of the first source of two, which has run, and what it found."""
    rng = np.random.default_rng(2)
    image = add_noise(draw(TRUTH), rng)
    fit = SourceFit(scenes([image]), np.zeros(1, int), start_of(TRUTH[:1]), prior_of(1))
    return fit, fit.run()


def test_no_candidates():
    fit, found = fit_of_the_first()
    hidden = judge(fit, candidates(NOTHING, NOTHING, NOTHING))
    assert len(hidden.probability) == len(hidden.apart(candidates(NOTHING, NOTHING, NOTHING))) == 0
    off, variance = hidden.expected(np.zeros(0, int), found.parameters)
    assert not off.any()
    assert not variance.any()


def test_no_sources_beside_a_candidate():
    """Alone on the sky the flux is that of a fit of one template."""
    image = draw(sources((3000.0, 32.0, 31.0, 2.0, 0.0, 0.0, 1.0, 0.0)))
    fit, _ = fit_of_the_first()
    fit = SourceFit(scenes([image]), np.zeros(1, int), start_of(sources((2e3, 5.0, 5.0))), PRIOR)
    fit.run()
    hidden = judge(fit, candidates([32.0], [31.0], [0.3]))
    assert hidden.flux[0] == pytest.approx(3000.0, rel=0.02)
    assert len(hidden.neighbours[0]) == len(hidden.changes[0]) == 0


def test_light_is_hidden_where_the_source_is():
    fit, _ = fit_of_the_first()
    places = candidates([32.4, 24.0, 50.0], [32.1, 30.5, 50.0], [0.3, 0.3, 0.3])
    hidden = judge(fit, places)
    assert hidden.probability[0] > 0.5
    assert hidden.probability[1] < 0.3
    assert hidden.probability[2] < 0.3
    np.testing.assert_array_equal(hidden.apart(places), [0])
    # Without it the other source has too much light, and its place is drawn to the right.
    assert hidden.changes[0][0, 0] > 1000
    assert hidden.changes[0][0, 1] > 0.1


def test_the_network_has_its_say():
    fit, _ = fit_of_the_first()
    twice = candidates([32.4, 32.4], [32.1, 32.1], [0.02, 0.4])
    low, high = judge(fit, twice).probability
    assert low < high - 0.2


def test_expected_by_hand():
    hidden = Hidden(
        np.array([0.25, 0.5]),
        np.zeros((2, 5)),
        np.array([100.0, 1.0]),
        [np.array([0]), np.array([0, 1])],
        [np.array([[40.0, 0.1, 0.0]]), np.array([[20.0, 0.0, -8.0], [900.0, 0.0, 0.0]])],
    )
    parameters = np.zeros((2, 8))
    parameters[:, FLUX] = [1000.0, 100.0]
    off, variance = hidden.expected(np.array([0, 1]), parameters)
    # Half a pixel and 0.7 of the flux are the most that is believed.
    np.testing.assert_allclose(off, [[20.0, 0.025, -0.25], [35.0, 0, 0]])
    first = [0.1875 * 1600 + 0.25 * 400, 0.1875 * 0.01, 0.25 * 0.25]
    np.testing.assert_allclose(variance, [first, [0.25 * 70**2, 0, 0]])


def test_two_on_one_spot_are_fitted_once():
    hidden = Hidden(
        np.array([0.6, 0.9, 0.8, 0.7]), np.zeros((4, 5)), np.array([1.0, 1.0, 1.0, 0.0]), [], []
    )
    places = candidates([10, 11, 40, 20], [10, 11, 40, 20], [0.3, 0.3, 0.3, 0.3])
    np.testing.assert_array_equal(hidden.apart(places), [1, 2])
    elsewhere = candidates([10, 11, 40, 20], [10, 11, 40, 20], [0.3] * 4, image=[0, 1, 1, 1])
    np.testing.assert_array_equal(hidden.apart(elsewhere), [1, 2, 0])


def test_a_hidden_source_takes_its_light_back():
    fit, before = fit_of_the_first()
    alone = before.parameters[0, FLUX]
    start = start_of(TRUTH[1:])
    found, is_fitted = fit_with(fit, before, np.zeros(1, int), start, prior_of(1))
    assert is_fitted.all()
    assert [list(members) for members in found.groups] == [[0, 1]]
    assert alone > 1.15 * 3e4
    np.testing.assert_allclose(found.parameters[:, FLUX], TRUTH[:, FLUX], rtol=0.1)
    np.testing.assert_allclose(found.parameters[:, [X, Y]], TRUTH[:, [X, Y]], atol=0.15)


def test_where_the_fit_with_it_fails_all_is_as_before(monkeypatch):
    fit, found = fit_of_the_first()
    before = found.parameters.copy()
    monkeypatch.setattr(light_fit, "MAX_STEPS", 0)
    monkeypatch.setattr(light_fit, "_FIRST_STEPS", 0)
    after, is_fitted = fit_with(fit, found, np.zeros(1, int), start_of(TRUTH[1:]), prior_of(1))
    assert not is_fitted.any()
    np.testing.assert_array_equal(after.parameters[:1], before)
    np.testing.assert_array_equal(after.covariance[:1], found.covariance)
    assert after.converged[0]
    assert [list(members) for members in after.groups] == [[0], [1]]


def test_catalog_and_images_are_those_of_the_detections():
    truth = [(28.3, 31.2, 30000.0), (33.1, 32.4, 12000.0)]
    image = add_noise(sum(gaussian(*one) for one in truth), np.random.default_rng(3))
    batch = batch_of(image)
    x, y, flux = np.array(truth).T

    def measured(doubtful):
        return measure_light(
            np.asarray(batch.blend_images, float),
            np.ones((1, 64, 64), bool),
            batch_conditions(batch),
            0,
            np.zeros(1, int),
            x[:1],
            y[:1],
            flux[:1],
            np.ones(1),
            LightCalibration(),
            doubtful,
        )

    light, models = measured(candidates(x[1:], y[1:], [0.45]))
    alone, _ = measured(None)
    assert light.flux.shape == (1,)
    assert light.flux[0] == pytest.approx(3e4, rel=0.06)
    assert alone.flux[0] > 1.15 * 3e4
    assert light.flux_err[0] > 1.5 * alone.flux_err[0]
    target = np.zeros((1, 3, 1, 64, 64), np.float32)
    models.draw(np.array([0]), target)
    assert target[0, 0].sum() == pytest.approx(light.flux[0], rel=0.02)
    assert not target[0, 1:].any()
