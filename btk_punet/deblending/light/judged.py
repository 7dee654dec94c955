"""Candidates with what the pixels say of them: their probabilities, and then their light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from btk_punet.deblending.evidence_network import EvidenceNetwork, Measures
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.scenes import FITTED_FROM, Light, SceneLight, SourceImages
from btk_punet.deblending.recipe import LightCalibration
from btk_punet.deblending.surroundings import Surroundings


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
    _measures: Measures
    # Of each candidate among those that were asked about, -1 if it was not.
    _number: np.ndarray

    @classmethod
    def by(
        cls,
        light: SceneLight,
        candidates: Candidates,
        asked: np.ndarray,
        flux: np.ndarray,
        network: EvidenceNetwork,
        surroundings: Surroundings,
        class_probability: np.ndarray,
        real: float,
        settled: np.ndarray | None = None,
    ) -> JudgedCandidates:
        """Fit what the network holds for probable, and weigh what the pixels say.

        Args:
            light: The fit, which has not run yet.
            candidates: Those of an image in a row, ``m``.
            asked: Numbers of those that the pixels are asked about; the others keep their
                probability and are not fitted.
            flux: Of those that are fitted first [electron], ``(m,)``; any number of the others.
            network: Weighs what is found.
            surroundings: Of all candidates.
            class_probability: The maps of the classes, ``(b, 3, H, W)``.
            real: What is told of the galaxies (see `Measures`).
            settled: Which candidates keep their probability, whatever is found, bool ``(m,)``.
        """
        some = candidates.take(asked)
        evidence = light.judge(some, flux[asked][some.mass >= FITTED_FROM])
        measures = Measures.of(some, evidence, surroundings.take(asked), class_probability, real)
        mass, number = candidates.mass.copy(), np.full(len(candidates), -1)
        mass[asked] = network(measures)
        number[asked] = np.arange(len(some))
        if settled is not None:
            mass = np.where(settled, candidates.mass, mass)
        order = np.lexsort((-mass, candidates.image))
        judged = replace(candidates, mass=mass).take(order)
        return cls(judged, order, light, measures, number[order])

    def measures(self, rows: np.ndarray) -> Measures:
        """Return what some that were asked about were judged by."""
        return self._measures.take(self._number[rows])

    def measure(
        self, called: np.ndarray, calibration: LightCalibration
    ) -> tuple[Light, SourceImages]:
        """Return the light of those that are called, and their images.

        Args:
            called: Their numbers, ``(k,)``. A candidate that was not asked about has no fit.
            calibration: Of the errors.
        """
        asked = self._number >= 0
        p_detect = np.zeros(len(self._measures))
        p_detect[self._number[asked]] = self.candidates.mass[asked]
        return self._light.measure(p_detect, self._number[called], calibration)
