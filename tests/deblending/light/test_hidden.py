"""Sources that were not called: who hides light, how much, and what is done about it."""

import numpy as np
import pytest

from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light import fit as light_fit
from btk_punet.deblending.light.fit import SourceFit
from btk_punet.deblending.light.hidden import Hidden, fit_with, judge
from btk_punet.deblending.light.profiles import FLUX, X, Y

from ..conftest import add_noise
from .test_fit import PRIOR, draw, scenes, sources, start_of

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
    nothing = candidates(NOTHING, NOTHING, NOTHING)
    hidden = judge(fit, nothing)
    assert len(hidden.gain) == len(hidden.apart(nothing, NOTHING, NOTHING.astype(bool))) == 0
    off, variance = hidden.expected(np.zeros(0, int), NOTHING, found.parameters)
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
    assert hidden.gain[0] > 4
    assert hidden.gain[1:].max() < 2.5
    # The source beside it could give most of its light; far from it there is nothing that could.
    assert hidden.share[0] < 0.5
    assert hidden.share[2] == 1
    # Without it the other source has too much light, and its place is drawn to the right.
    assert hidden.changes[0][0, 0] > 1000
    assert hidden.changes[0][0, 1] > 0.1


def hidden_of(flux, neighbours=(), changes=()):
    flux = np.asarray(flux, float)
    return Hidden(0 * flux, 1 + 0 * flux, flux, list(neighbours), list(changes))


def two_by_hand():
    """Return one that the first source feels, and one that two feel."""
    return hidden_of(
        [100.0, 1.0],
        [np.array([0]), np.array([0, 1])],
        [np.array([[40.0, 0.1, 0.0]]), np.array([[20.0, 0.0, -8.0], [900.0, 0.0, 0.0]])],
    )


def test_expected_by_hand():
    parameters = np.zeros((2, 8))
    parameters[:, FLUX] = [1000.0, 100.0]
    p = np.array([0.25, 0.5])
    off, variance = two_by_hand().expected(np.array([0, 1]), p, parameters)
    # Half a pixel and 0.7 of the flux are the most that is believed.
    np.testing.assert_allclose(off, [[20.0, 0.025, -0.25], [35.0, 0, 0]])
    first = [0.1875 * 1600 + 0.25 * 400, 0.1875 * 0.01, 0.25 * 0.25]
    np.testing.assert_allclose(variance, [first, [0.25 * 70**2, 0, 0]])


def test_sources_that_are_gone_feel_nothing():
    one, two = two_by_hand().renumbered(np.array([-1, 0])).neighbours
    assert list(one) == [] and list(two) == [0]
    changes = two_by_hand().renumbered(np.array([-1, 0])).changes
    assert changes[0].shape == (0, 3)
    np.testing.assert_array_equal(changes[1], [[900.0, 0.0, 0.0]])


def test_joined():
    both = two_by_hand().joined(hidden_of([7.0], [np.array([1])], [np.ones((1, 3))]))
    np.testing.assert_array_equal(both.flux, [100.0, 1.0, 7.0])
    assert len(both.gain) == len(both.share) == len(both.neighbours) == len(both.changes) == 3
    assert list(both.neighbours[2]) == [1]


def test_two_on_one_spot_are_fitted_once():
    hidden, p = hidden_of([1.0, 1.0, 1.0, 0.0]), np.array([0.6, 0.9, 0.8, 0.7])
    places = candidates([10, 11, 40, 20], [10, 11, 40, 20], p)
    every = np.ones(4, bool)
    np.testing.assert_array_equal(hidden.apart(places, p, every), [1, 2])
    np.testing.assert_array_equal(hidden.apart(places, p, np.arange(4) != 1), [2, 0])
    elsewhere = candidates([10, 11, 40, 20], [10, 11, 40, 20], p, image=[0, 1, 1, 1])
    np.testing.assert_array_equal(hidden.apart(elsewhere, p, every), [1, 2, 0])


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
