"""Calibration in the logarithm of the odds: a line, and what is added to it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
from scipy.special import expit, logit

from btk_punet.deblending.surroundings import Surroundings
from btk_punet.errors import InputError

# How far a calibration may be from none before there are outcomes: in slope and intercept, and in
# each further number, so that few galaxies do not make large ones.
PRIOR_SIGMA, TERM_SIGMA = 3.0, 1.0


def check_number(
    name: str, value: object, above: float = -math.inf, least: float = -math.inf
) -> None:
    """Raise InputError unless a value is a finite number, above one limit and not below another."""
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not math.isfinite(value)
        or value <= above
        or value < least
    ):
        limits = [
            f"{words} {limit:g}"
            for words, limit in (("above", above), ("of at least", least))
            if limit > -math.inf
        ]
        raise InputError(
            f"expected {name} as a finite number{' ' if limits else ''}{' '.join(limits)}, got "
            f"{value!r}; calibrate the network again (btk-punet calibrate)"
        )


@dataclass(frozen=True)
class LogitLine:
    """A line in the logarithm of the odds, which takes probabilities to calibrated ones.

    Attributes:
        slope: Below 1 where the raw probabilities are too sure.
        intercept: Above 0 where they are too low.

    Raises:
        InputError: if one of them is no finite number.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        """Check the line."""
        check_number("slope", self.slope)
        check_number("intercept", self.intercept)

    def __call__(self, probability: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
        """Return calibrated probabilities.

        Args:
            probability: Any shape.
            shift: What is added to the log odds.
        """
        return expit(self.slope * _logit(probability) + self.intercept + shift)

    @classmethod
    def fit(cls, probability: np.ndarray, outcome: np.ndarray) -> LogitLine:
        """Return the line of largest posterior probability (Platt 1999), see `fit_log_odds`.

        Args:
            probability: Raw probabilities, ``(n,)``.
            outcome: Whether it came true, ``(n,)``.

        Raises:
            InputError: as `fit_log_odds`.
        """
        line, _ = fit_log_odds(probability, outcome)
        return line


@dataclass(frozen=True)
class SurroundingTerms:
    """What the surroundings of a candidate add to the log odds that it is a source.

    Attributes:
        depth: For each unit of `Surroundings.depth`, and so on.
        density: Of the density.
        faint: Of being faint.
        near: Of being near a more probable one.
        doubt: Of others in doubt around it.
        faint_depth: Of the product of the two.
        faint_density: The same.
        near_density: The same.
        doubt_density: The same.

    Raises:
        InputError: if one of them is no finite number.
    """

    depth: float = 0.0
    density: float = 0.0
    faint: float = 0.0
    near: float = 0.0
    doubt: float = 0.0
    faint_depth: float = 0.0
    faint_density: float = 0.0
    near_density: float = 0.0
    doubt_density: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in dataclasses.asdict(self).items():
            check_number(name, value)

    def __call__(self, surroundings: Surroundings) -> np.ndarray:
        """Return what is to be added to the log odds of each candidate, ``(m,)``."""
        return np.array(dataclasses.astuple(self)) @ self.values(surroundings)

    @staticmethod
    def values(surroundings: Surroundings) -> np.ndarray:
        """Return by what each number is multiplied, ``(9, m)``."""
        some = surroundings
        alone = [some.depth, some.density, some.faint, some.near, some.doubt]
        faint_depth = some.faint * some.depth
        with_density = [values * some.density for values in (some.faint, some.near, some.doubt)]
        return np.stack([*alone, faint_depth, *with_density])


def fit_log_odds(
    probability: np.ndarray,
    outcome: np.ndarray,
    terms: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> tuple[LogitLine, np.ndarray]:
    """Return the calibration of largest posterior probability, by Newton's method.

    The prior is a Gaussian about what changes nothing, `PRIOR_SIGMA` wide in slope and intercept:
    it says nothing beside a hundred outcomes, and gives an answer where the probabilities part the
    outcomes without error, or are all the same. In each further number it is `TERM_SIGMA` wide.

    Args:
        probability: Raw probabilities, ``(n,)``.
        outcome: Whether it came true, ``(n,)``.
        terms: What may be added to the log odds, each times a number, ``(k, n)``.
        weight: Of each outcome, ``(n,)``; 1 of each if None.

    Returns:
        The line, and the numbers of the terms, ``(k,)``.

    Raises:
        InputError: if all outcomes are the same, there are fewer than 10, or not as many as
            probabilities.
    """
    log_odds, outcome = _logit(probability), np.asarray(outcome, float)
    if log_odds.shape != outcome.shape:
        raise InputError(
            "expected a probability for each outcome, got arrays of the shapes "
            f"{log_odds.shape} and {outcome.shape}; give two of one length"
        )
    if len(outcome) < 10 or outcome.min() == outcome.max():
        raise InputError(
            f"expected 10 outcomes or more of both kinds to fit a calibration, got "
            f"{len(outcome)}; draw more scenes"
        )
    more = np.zeros((0, len(outcome))) if terms is None else terms
    matrix = np.concatenate([[log_odds, np.ones_like(log_odds)], more])
    weights = np.ones_like(log_odds) if weight is None else weight
    prior = np.zeros(len(matrix))
    prior[0] = 1.0
    precision = np.full(len(matrix), 1 / TERM_SIGMA**2)
    precision[:2] = 1 / PRIOR_SIGMA**2

    def loss(numbers: np.ndarray) -> float:
        shifted = numbers @ matrix
        likelihood = weights * (np.logaddexp(0, shifted) - outcome * shifted)
        return likelihood.sum() + precision @ (numbers - prior) ** 2 / 2

    numbers = prior
    for _ in range(100):
        fitted = expit(numbers @ matrix)
        slopes = matrix @ (weights * (fitted - outcome)) + precision * (numbers - prior)
        hessian = (matrix * (weights * fitted * (1 - fitted))) @ matrix.T
        step = np.linalg.solve(hessian + np.diag(precision), slopes)
        # A whole step can lead too far out, from where there is no way back.
        while loss(numbers - step) > loss(numbers) and np.abs(step).max() > 1e-9:
            step /= 2
        numbers = numbers - step
        if np.abs(step).max() < 1e-9:
            break
    return LogitLine(float(numbers[0]), float(numbers[1])), numbers[2:]


def _logit(probability: np.ndarray) -> np.ndarray:
    """Return the logarithm of the odds; 0 and 1 as one in a million from them."""
    return logit(np.clip(np.asarray(probability, float), 1e-6, 1 - 1e-6))
