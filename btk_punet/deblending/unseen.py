"""How many sources of an image leave no candidate at all: they count, though nobody sees them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from btk_punet.deblending.log_odds import PRIOR_SIGMA, check_number

# A rate above 0 has a logarithm: as if so many of them had been met in all images of a fit.
_LEAST_NUMBER = 0.5


@dataclass(frozen=True)
class UnseenSources:
    """Their expected number, by the size of an image and by what it is of.

    Attributes:
        per_pixel: In an image of one exposure, of a field.
        depth: What is added to the logarithm for each unit of `Surroundings.depth`.
        density: The same of the density.

    Raises:
        InputError: if a value is no finite number, or ``per_pixel`` is below 0.
    """

    per_pixel: float = 0.0
    depth: float = 0.0
    density: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in dataclasses.asdict(self).items():
            check_number(name, value)
        check_number("per_pixel", self.per_pixel, least=0)

    def __call__(self, n_pixels: int, depth: float, density: float) -> float:
        """Return how many are expected in an image."""
        return self.per_pixel * n_pixels * math.exp(self.depth * depth + self.density * density)

    @classmethod
    def fit(
        cls,
        number: np.ndarray,
        n_pixels: np.ndarray,
        depth: np.ndarray,
        density: np.ndarray,
        weight: np.ndarray,
    ) -> UnseenSources:
        """Return the most probable rate of numbers that are Poisson's, by Newton's method.

        The prior is a Gaussian in what depth and density add, `PRIOR_SIGMA` wide about 0.

        Args:
            number: Of those in each image, ``(n,)``.
            n_pixels: Of each image.
            depth: `Surroundings.depth` of each.
            density: The same of the density.
            weight: What each image counts.
        """
        terms = np.stack([np.ones(len(number)), depth, density])
        precision = np.array([0, 1 / PRIOR_SIGMA**2, 1 / PRIOR_SIGMA**2])
        total = max(weight @ number, _LEAST_NUMBER)
        numbers = np.array([math.log(total / (weight @ n_pixels)), 0, 0])

        def loss(at: np.ndarray) -> float:
            log_rate = at @ terms
            expected = n_pixels * np.exp(np.minimum(log_rate, 100))
            return weight @ (expected - number * log_rate) + precision @ at**2 / 2

        for _ in range(100):
            expected = n_pixels * np.exp(numbers @ terms)
            slopes = terms @ (weight * (expected - number)) + precision * numbers
            hessian = (terms * weight * expected) @ terms.T + np.diag(precision)
            step = np.linalg.solve(hessian, slopes)
            while loss(numbers - step) > loss(numbers) and np.abs(step).max() > 1e-9:
                step /= 2
            numbers = numbers - step
            if np.abs(step).max() < 1e-9:
                break
        return cls(float(np.exp(numbers[0])), float(numbers[1]), float(numbers[2]))
