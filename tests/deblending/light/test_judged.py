"""Candidates with the evidence: their probabilities, order, and light."""

import numpy as np

from btk_punet.deblending.evidence_network import EvidenceNetwork
from btk_punet.deblending.light.judged import JudgedCandidates
from btk_punet.deblending.recipe import LightCalibration
from btk_punet.deblending.surroundings import Surroundings

from ..test_evidence_network import linear
from .test_evidence import FIRST, SECOND, candidates, scene_light

PLACES = [FIRST, SECOND, (50.0, 12.0, 100.0)]
# What is fitted becomes less probable, what is tested more so.
TURNED = linear(4.0, is_fitted=-9.0)


MAPS = np.full((1, 3, 64, 64), 1 / 3)


def around(found, depth=0.0):
    """Return surroundings that are alike but for the depth, which grows from one to the next."""
    alike = np.zeros(len(found))
    return Surroundings(depth * np.arange(len(found)), *[alike] * 5)


def judged(network, mass, asked=(0, 1, 2), depth=0.0, real=0.0, **options):
    found, _ = candidates(PLACES, mass)
    flux = np.array(PLACES)[:, 2]
    return JudgedCandidates.by(
        scene_light(FIRST, SECOND),
        found,
        np.array(asked, int),
        flux,
        network,
        around(found, depth),
        MAPS,
        real,
        **options,
    )


def test_no_candidates():
    found, flux = candidates([], [])
    none = JudgedCandidates.by(
        scene_light(FIRST), found, np.zeros(0, int), flux, TURNED, around(found), MAPS, 0.0
    )
    light, _ = none.measure(np.zeros(0, int), LightCalibration())
    assert len(none.candidates) == len(none.before) == len(light.flux) == 0


def test_what_is_told_of_the_galaxies_counts():
    found = [judged(linear(real=-1.0), [0.9, 0.4, 0.1], real=real) for real in (-1.0, 0.0, 1.0)]
    smooth, unknown, real = (np.array([0.9, 0.4, 0.1]) / (1 - np.array([0.9, 0.4, 0.1]))) * np.exp(
        [[1.0], [0.0], [-1.0]]
    )
    for one, odds in zip(found, (smooth, unknown, real), strict=True):
        np.testing.assert_allclose(one.candidates.mass, odds / (1 + odds), rtol=1e-5)


def test_without_a_network_nothing_changes():
    found = judged(EvidenceNetwork(), [0.9, 0.4, 0.1])
    np.testing.assert_allclose(found.candidates.mass, [0.9, 0.4, 0.1], rtol=1e-5)
    np.testing.assert_array_equal(found.before, [0, 1, 2])
    some = found.measures(np.array([1, 0]))
    assert list(some.is_fitted) == [False, True]
    assert some.gain[1] > some.gain[0] > 4
    np.testing.assert_array_equal(some.p_network, [0.4, 0.9])


def test_the_most_probable_comes_first():
    found = judged(TURNED, [0.9, 0.4, 0.1])
    np.testing.assert_array_equal(found.before, [1, 2, 0])
    assert (np.diff(found.candidates.mass) <= 0).all()
    np.testing.assert_array_equal(found.candidates.x, [33.1, 50.0, 28.3])
    assert list(found.measures(np.arange(3)).is_fitted) == [False, False, True]
    # The first in the image is now the second one, and the other is there no longer.
    light, _ = found.measure(np.array([0]), LightCalibration())
    assert light.flux[0] > 1.2 * SECOND[2]


def test_what_is_settled_keeps_its_probability():
    settled = np.array([True, False, False])
    found = judged(TURNED, [0.9, 0.4, 0.1], settled=settled)
    assert found.candidates.mass[found.before == 0] == 0.9
    light, _ = found.measure(np.flatnonzero(found.before < 2), LightCalibration())
    flux = light.flux[np.argsort(found.before[found.before < 2])]
    np.testing.assert_allclose(flux, [FIRST[2], SECOND[2]], rtol=0.1)


def test_what_was_not_asked_about_has_no_fit():
    found = judged(TURNED, [0.9, 0.4, 0.1], asked=(0, 1))
    assert found.candidates.mass[found.before == 2] == 0.1
    light, _ = found.measure(np.flatnonzero(found.before == 2), LightCalibration())
    assert light.failed.all()


def test_surroundings_are_those_of_the_candidate():
    found = judged(linear(depth=1.0), [0.9, 0.4, 0.1], asked=(0, 2), depth=0.5)
    odds = np.array([9.0, 4 / 6, 1 / 9]) * np.exp([0, 0, 1.0])
    np.testing.assert_allclose(found.candidates.mass, odds / (1 + odds), rtol=1e-5)
    np.testing.assert_array_equal(found.measures(np.array([0, 2])).depth, [0.0, 1.0])
