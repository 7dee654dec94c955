"""What the pixels say of candidates: gains, shares, moves, and what the fit does not follow."""

import dataclasses

import numpy as np
import pytest

from btk_punet.deblending.conditions import batch_conditions
from btk_punet.deblending.evidence import Evidence
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light import fit as light_fit
from btk_punet.deblending.light.canvas import Canvas
from btk_punet.deblending.light.evidence import (
    EXCESS_PIXELS,
    chi_squared_excess,
    fitted_evidence,
    structure_of,
)
from btk_punet.deblending.light.fit import SourceFit
from btk_punet.deblending.light.profiles import FLUX
from btk_punet.deblending.light.scenes import SceneLight
from btk_punet.deblending.recipe import LightCalibration

from ..conftest import SIGMA, add_noise, gaussian
from .test_fit import PRIOR, draw, scenes, sources, start_of
from .test_scenes import batch_of

NOTHING = np.zeros(0)
FIRST, SECOND = (28.3, 31.2, 30000.0), (33.1, 32.4, 12000.0)


def scene_light(*places, seed=3):
    """Return the light of an image of some Gaussians, which has not been fitted yet."""
    image = add_noise(sum(gaussian(*one) for one in places), np.random.default_rng(seed))
    batch = batch_of(image)
    images = np.asarray(batch.blend_images, float)
    return SceneLight(images, np.ones((1, 64, 64), bool), batch_conditions(batch), 0)


def candidates(places, mass):
    x, y, flux = np.array(places, float).reshape(-1, 3).T
    mass = np.asarray(mass, float)
    found = Candidates(np.zeros(len(x), int), x, y, 0 * x, 0 * y, mass)
    return found, flux[mass >= 0.5]


def fit_of(truth, n):
    image = add_noise(draw(truth), np.random.default_rng(2))
    fit = SourceFit(scenes([image]), np.zeros(n, int), start_of(truth[:n]), PRIOR)
    fit.run()
    return fit


def test_no_candidates():
    light = scene_light(FIRST)
    evidence = light.judge(*candidates([], []))
    assert len(evidence) == 0
    found, _ = light.measure(NOTHING, NOTHING.astype(int), LightCalibration())
    assert len(found.flux) == 0


def test_no_fitted_sources():
    gain, share, move = fitted_evidence(fit_of(sources((3e4, 28.3, 31.2)), 0))
    assert gain.shape == share.shape == move.shape == (0,)


def test_some_of_the_evidence():
    evidence = Evidence(np.array([True, False]), *np.arange(8.0).reshape(4, 2))
    (one,) = (evidence.take(np.array([1])),)
    assert [list(values) for values in vars(one).values()] == [[False], [1], [3], [5], [7]]


def test_the_gain_of_a_source_alone_is_its_signal_to_noise():
    fit = fit_of(sources((3e4, 28.3, 31.2)), 1)
    (gain,), (share,), _ = fitted_evidence(fit)
    light = draw(sources((3e4, 28.3, 31.2)))
    assert gain == pytest.approx(np.sqrt((light**2 / (SIGMA**2 + light)).sum()), rel=0.03)
    assert share == 1


def test_neighbours_take_their_share():
    far = fitted_evidence(fit_of(sources((3e4, 20.3, 31.2), (1e4, 44.4, 32.1, 2.0)), 2))
    near = fitted_evidence(fit_of(sources((3e4, 28.3, 31.2), (1e4, 31.4, 32.1, 2.0)), 2))
    assert (far[1] > 0.95).all()
    assert (near[1] < 0.5).all()
    assert (near[0] < far[0]).all()


def test_structure_counts_against_a_gain():
    weighted, others = np.full((2, 2), 0.5), np.full((2, 2), 10.0)
    # Each pixel 0.4 x 0.5 x 10 = 2, squared, four of them, over 8.
    assert structure_of(weighted, others, 8.0) == pytest.approx(2.0)
    assert structure_of(weighted, -others, 8.0) == 0


def test_chi_squared_by_hand():
    image = np.zeros((40, 50))
    image[10, 20] = 7 * SIGMA
    image[10, 20 + EXCESS_PIXELS] = 3 * SIGMA
    canvas = Canvas(scenes([image]))
    disc = sum(
        i**2 + j**2 <= EXCESS_PIXELS**2
        for i in range(-EXCESS_PIXELS, EXCESS_PIXELS + 1)
        for j in range(-EXCESS_PIXELS, EXCESS_PIXELS + 1)
    )
    x, y = np.array([20.2, 19.0, 40.0, 0.0]), np.array([9.8, 10.0, 30.0, 39.0])
    found = chi_squared_excess(canvas, np.zeros(4, int), x, y)
    np.testing.assert_allclose(found[:3], [49 + 9 - disc, 49 - disc, -disc], rtol=1e-4)
    # In a corner there are fewer pixels.
    assert -disc / 2 < found[3] < -disc / 5


def test_pixels_without_a_value_say_nothing():
    image = np.full((40, 40), np.nan)
    canvas = Canvas(dataclasses.replace(scenes([image]), usable=np.isfinite(image)[None]))
    at = np.array([20.0])
    assert chi_squared_excess(canvas, np.zeros(1, int), at, at)[0] == 0


def test_what_the_pixels_say():
    light = scene_light(FIRST, SECOND)
    places = [FIRST, SECOND, (50.0, 12.0, 100.0)]
    evidence = light.judge(*candidates(places, [0.9, 0.4, 0.1]))
    assert list(evidence.is_fitted) == [True, False, False]
    # A second source, of which the fit of the first has taken a part; and nothing.
    assert evidence.gain[0] > 50
    assert evidence.gain[1] > 4
    assert abs(evidence.gain[2]) < 3
    assert evidence.share[1] < 0.6
    assert evidence.excess[0] > 100  # the second source, which is not fitted
    assert (evidence.move[1:] == 0).all()
    assert 0 < evidence.move[0] < 2


def test_a_source_that_becomes_probable_takes_its_light_back():
    alone = scene_light(FIRST, SECOND)
    alone.judge(*candidates([FIRST], [1.0]))
    too_bright, _ = alone.measure(np.ones(1), np.array([0]), LightCalibration())
    light = scene_light(FIRST, SECOND)
    light.judge(*candidates([FIRST, SECOND], [1.0, 0.45]))
    found, models = light.measure(np.array([1.0, 0.8]), np.array([0]), LightCalibration())
    assert found.flux.shape == (1,)
    assert found.flux[0] == pytest.approx(FIRST[2], rel=0.06)
    assert too_bright.flux[0] > 1.15 * FIRST[2]
    assert found.flux_err[0] > 1.5 * too_bright.flux_err[0]
    target = np.zeros((1, 3, 1, 64, 64), np.float32)
    models.draw(np.array([0]), target)
    assert target[0, 0].sum() == pytest.approx(found.flux[0], rel=0.02)
    assert not target[0, 1:].any()


def test_both_are_measured_where_both_are_called():
    light = scene_light(FIRST, SECOND)
    light.judge(*candidates([FIRST, SECOND], [1.0, 0.3]))
    found, models = light.measure(np.array([1.0, 0.2]), np.array([1, 0]), LightCalibration())
    assert not found.failed.any()
    np.testing.assert_allclose(found.flux, [SECOND[2], FIRST[2]], rtol=0.1)
    target = np.zeros((1, 2, 1, 64, 64), np.float32)
    models.draw(np.array([0, 1]), target)
    np.testing.assert_allclose(target[0].sum(axis=(1, 2, 3)), found.flux, rtol=0.03)


def test_a_source_that_is_no_longer_probable_gives_its_light_back():
    """A galaxy that was split: with its second half gone, the first has all of the light."""
    split = [(29.5, 31.0, 15000.0), (32.5, 31.0, 15000.0)]
    light = scene_light((31.0, 31.0, 30000.0))
    light.judge(*candidates(split, [0.9, 0.6]))
    found, models = light.measure(np.array([0.9, 0.05]), np.array([0]), LightCalibration())
    assert found.flux[0] == pytest.approx(30000, rel=0.08)
    assert found.x[0] == pytest.approx(31.0, abs=0.2)
    target = np.zeros((1, 2, 1, 64, 64), np.float32)
    models.draw(np.array([0]), target)
    assert target.sum() == pytest.approx(found.flux[0], rel=0.03)


def test_the_fit_goes_on_without_what_is_removed():
    truth = sources((3e4, 20.3, 31.2), (1e4, 44.4, 32.1, 2.0), (2e4, 31.0, 12.0))
    fit = fit_of(truth, 3)
    number = fit.remove(np.array([1]))
    np.testing.assert_array_equal(number, [0, -1, 1])
    found = fit.run()
    assert sorted(int(i) for group in found.groups for i in group) == [0, 1]
    np.testing.assert_allclose(found.parameters[:, FLUX], [3e4, 2e4], rtol=0.05)
    # Its light is no longer in the model.
    weight, residual = fit.canvas.weight_and_residual(fit.canvas.box(0, 44, 32, 8))
    assert residual.sum() > 5000
    assert list(fit.remove(np.array([0, 1]))) == [-1, -1]
    assert len(fit.run().parameters) == 0


def test_a_called_source_without_a_fit_has_failed(monkeypatch):
    """Two on one spot are fitted once, and what cannot be fitted stays out of the images."""
    light = scene_light(FIRST, SECOND)
    twice = [FIRST, SECOND, (33.6, 32.9, 12000.0)]
    light.judge(*candidates(twice, [1.0, 0.4, 0.3]))
    found, models = light.measure(np.array([1.0, 0.7, 0.6]), np.arange(3), LightCalibration())
    assert list(found.failed) == [False, False, True]
    target = np.zeros((1, 3, 1, 64, 64), np.float32)
    models.draw(np.arange(3), target)
    assert not target[0, 2].any()
    monkeypatch.setattr(light_fit, "MAX_STEPS", 0)
    monkeypatch.setattr(light_fit, "_FIRST_STEPS", 0)
    light = scene_light(FIRST)
    light.judge(*candidates([FIRST], [1.0]))
    found, _ = light.measure(np.ones(1), np.array([0]), LightCalibration())
    assert found.failed.all()
