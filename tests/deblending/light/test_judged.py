"""Candidates with the evidence: their probabilities, order, and light."""

import numpy as np
import pytest

from btk_punet.deblending.light.judged import JudgedCandidates
from btk_punet.deblending.log_odds import EvidenceTerms
from btk_punet.deblending.recipe import LightCalibration
from btk_punet.deblending.surroundings import DEEP_VARIANCE

from .test_evidence import FIRST, SECOND, candidates, scene_light

PLACES = [FIRST, SECOND, (50.0, 12.0, 100.0)]
# What is fitted becomes less probable, what is tested more so.
TURNED = EvidenceTerms(intercept=-5.0, tested=9.0)


def judged(terms, mass, asked=(0, 1, 2), **options):
    found, _ = candidates(PLACES, mass)
    flux = np.array(PLACES)[:, 2]
    variance, ratio = options.pop("variance", 155.0), options.pop("ratio", 1.0)
    return JudgedCandidates.by(
        scene_light(FIRST, SECOND),
        found,
        np.array(asked, int),
        flux,
        terms,
        variance,
        ratio,
        **options,
    )


def test_no_candidates():
    found, flux = candidates([], [])
    none = JudgedCandidates.by(
        scene_light(FIRST), found, np.zeros(0, int), flux, TURNED, 155.0, 1.0
    )
    light, _ = none.measure(np.zeros(0, int), LightCalibration())
    assert len(none.candidates) == len(none.before) == len(light.flux) == 0


def test_without_terms_nothing_changes():
    found = judged(EvidenceTerms(), [0.9, 0.4, 0.1])
    np.testing.assert_allclose(found.candidates.mass, [0.9, 0.4, 0.1], rtol=1e-5)
    np.testing.assert_array_equal(found.before, [0, 1, 2])
    evidence = found.evidence(np.array([1, 0]))
    assert list(evidence.is_fitted) == [False, True]
    assert evidence.gain[1] > evidence.gain[0] > 4


def test_the_most_probable_comes_first():
    found = judged(TURNED, [0.9, 0.4, 0.1])
    np.testing.assert_array_equal(found.before, [1, 2, 0])
    assert (np.diff(found.candidates.mass) <= 0).all()
    np.testing.assert_array_equal(found.candidates.x, [33.1, 50.0, 28.3])
    assert list(found.evidence(np.arange(3)).is_fitted) == [False, False, True]
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


@pytest.mark.parametrize("as_map", [False, True])
def test_depth_and_density_are_those_of_the_place(as_map):
    variance = np.full((1, 64, 64), DEEP_VARIANCE) if as_map else DEEP_VARIANCE
    terms = EvidenceTerms(tested_depth=1.0, tested_density=-3.0)
    (deep,), (shallow,), (dense,) = (
        judged(terms, [0.9, 0.4, 0.1], **options).candidates.mass[1:2]
        for options in ({"variance": variance}, {}, {"ratio": 19.0})
    )
    odds = 0.4 / 0.6
    assert shallow == pytest.approx(0.4, abs=1e-3)
    assert deep == pytest.approx(odds * np.e / (1 + odds * np.e), abs=1e-3)
    assert dense < 0.1
