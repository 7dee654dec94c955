"""Candidates with what the pixels say of them: their probabilities, and then their light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from btk_punet.deblending.evidence import Evidence
from btk_punet.deblending.instances import Candidates, nearest_pixels
from btk_punet.deblending.light.scenes import FITTED_FROM, Light, SceneLight, SourceImages
from btk_punet.deblending.log_odds import EvidenceTerms
from btk_punet.deblending.recipe import LightCalibration
from btk_punet.deblending.surroundings import density_of, depth_at


@dataclass(frozen=True)
class JudgedCandidates:
    """Candidates whose probabilities hold the evidence of a fit.

    Attributes:
        candidates: Of each image the most probable first, ``m``.
        before: The number that each had among those that were judged, ``(m,)``.
    """

    candidates: Candidates
    before: np.ndarray
    _light: SceneLight
    _evidence: Evidence
    # Of each candidate among those that were asked about, -1 if it was not.
    _number: np.ndarray

    @classmethod
    def by(
        cls,
        light: SceneLight,
        candidates: Candidates,
        asked: np.ndarray,
        flux: np.ndarray,
        terms: EvidenceTerms,
        variance: float | np.ndarray | None,
        density_ratio: float,
        settled: np.ndarray | None = None,
    ) -> JudgedCandidates:
        """Fit what the network holds for probable, and weigh what the pixels say.

        Args:
            light: The fit, which has not run yet.
            candidates: Those of an image in a row, ``m``.
            asked: Numbers of those that the pixels are asked about; the others keep their
                probability and are not fitted.
            flux: Of those that are fitted first [electron], ``(m,)``; any number of the others.
            terms: What the evidence counts.
            variance: Of the background, as `Surroundings.measure` takes it.
            density_ratio: As it takes it.
            settled: Which candidates keep their probability, whatever is found, bool ``(m,)``.
        """
        some = candidates.take(asked)
        evidence = light.judge(some, flux[asked][some.mass >= FITTED_FROM])
        mass, number = candidates.mass.copy(), np.full(len(candidates), -1)
        row, column = nearest_pixels(some.x, some.y, light.image_shape)
        depth = depth_at(some.image, row, column, variance)
        mass[asked] = terms(some.mass, evidence, depth, density_of(density_ratio))
        number[asked] = np.arange(len(some))
        if settled is not None:
            mass = np.where(settled, candidates.mass, mass)
        order = np.lexsort((-mass, candidates.image))
        judged = replace(candidates, mass=mass).take(order)
        return cls(judged, order, light, evidence, number[order])

    def evidence(self, rows: np.ndarray) -> Evidence:
        """Return what the pixels say of some that were asked about."""
        return self._evidence.take(self._number[rows])

    def measure(
        self, called: np.ndarray, calibration: LightCalibration
    ) -> tuple[Light, SourceImages]:
        """Return the light of those that are called, and their images.

        Args:
            called: Their numbers, ``(k,)``. A candidate that was not asked about has no fit.
            calibration: Of the errors.
        """
        asked = self._number >= 0
        p_detect = np.zeros(len(self._evidence))
        p_detect[self._number[asked]] = self.candidates.mass[asked]
        return self._light.measure(p_detect, self._number[called], calibration)
