"""Calibration: of the things predicted with probability p, is the fraction p true?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.fractions import fractions

N_BINS = 10
# Smallest probability in a logarithm: below the rounding of a float32 near 1.
LEAST_PROBABILITY = 1e-7
# By so much a probability may leave 0-1 by rounding.
_ROUNDING = 1e-5


class Reliability:
    """Probabilities against outcomes, in bins of the probability.

    Counts and sums are kept, not the values, so that any number can be added, and the
    reliabilities of two parts of the data are merged by ``+``.

    Args:
        n_bins: Number of bins ``[lo, hi)`` of equal width from 0 to 1; the last one holds 1, too.

    Raises:
        InputError: if there is no bin.

    Example:
        >>> reliability = Reliability()
        >>> reliability.add([0.1, 0.9, 0.9], [False, True, True])
        >>> round(reliability.expected_calibration_error(), 3)
        0.1
    """

    def __init__(self, n_bins: int = N_BINS):
        if isinstance(n_bins, bool) or n_bins != int(n_bins) or n_bins < 1:
            raise InputError(f"n_bins must be a whole number of at least 1, got {n_bins!r}.")
        self.n_bins = int(n_bins)
        self._n = np.zeros(self.n_bins, int)
        self._k = np.zeros(self.n_bins, int)
        self._sum = np.zeros(self.n_bins)
        self._sum_squared_error = 0.0
        self._sum_log_loss = 0.0

    @classmethod
    def from_sums(
        cls,
        n: np.ndarray,
        k: np.ndarray,
        sum_probability: np.ndarray,
        sum_squared_error: np.ndarray,
    ) -> Reliability:
        """Return the reliability of what was counted elsewhere, one entry per bin.

        Its `log_loss` is NaN, which cannot be told from these sums.

        Args:
            n: Numbers of probabilities, shape (n_bins,).
            k: How many of them are true.
            sum_probability: Sums of the probabilities.
            sum_squared_error: Sums of the squared differences of probability and outcome.
        """
        reliability = cls(len(n))
        reliability._n += np.asarray(n, int)
        reliability._k += np.asarray(k, int)
        reliability._sum += np.asarray(sum_probability, float)
        reliability._sum_squared_error = float(np.sum(sum_squared_error))
        reliability._sum_log_loss = float("nan")
        return reliability

    def add(self, probability: np.ndarray, outcome: np.ndarray) -> None:
        """Count some more.

        Args:
            probability: Predicted probabilities, 0-1, any shape.
            outcome: What is true, booleans (or 0 and 1), the same shape.

        Raises:
            InputError: for shapes that differ, and for values that cannot be used.
        """
        probability, outcome = np.asarray(probability, float), np.asarray(outcome)
        if probability.shape != outcome.shape:
            raise InputError(
                "probability and outcome must have the same shape, got "
                f"{probability.shape} and {outcome.shape}."
            )
        if not ((probability >= -_ROUNDING) & (probability <= 1 + _ROUNDING)).all():
            raise InputError(
                "probability must hold numbers from 0 to 1, got values from "
                f"{probability.min():g} to {probability.max():g}; leave out what has none (NaN)."
            )
        if outcome.dtype != bool and not np.isin(outcome, (0, 1)).all():
            raise InputError(
                "outcome must hold booleans (or 0 and 1), got other values such as "
                f"{outcome[~np.isin(outcome, (0, 1))][0]!r}."
            )
        p = np.clip(probability.ravel(), 0.0, 1.0)
        happened = outcome.ravel().astype(bool)
        # By division, because the edges of np.linspace miss such as 0.3 by rounding.
        inner_edges = np.arange(1, self.n_bins) / self.n_bins
        number = np.searchsorted(inner_edges, p, side="right")
        self._n += np.bincount(number, minlength=self.n_bins)
        self._k += np.bincount(number[happened], minlength=self.n_bins)
        self._sum += np.bincount(number, p, minlength=self.n_bins)
        self._sum_squared_error += float(np.square(p - happened).sum())
        of_outcome = np.where(happened, p, 1.0 - p)
        self._sum_log_loss -= float(np.log(np.maximum(of_outcome, LEAST_PROBABILITY)).sum())

    def __add__(self, other: Reliability) -> Reliability:
        """Return the reliability over the data of both.

        Raises:
            InputError: if they have different bins.
        """
        if not isinstance(other, Reliability):
            return NotImplemented
        if other.n_bins != self.n_bins:
            raise InputError(
                f"Only reliabilities with the same bins can be merged, got {self.n_bins} and "
                f"{other.n_bins} bins."
            )
        merged = Reliability(self.n_bins)
        for part in (self, other):
            merged._n += part._n
            merged._k += part._k
            merged._sum += part._sum
            merged._sum_squared_error += part._sum_squared_error
            merged._sum_log_loss += part._sum_log_loss
        return merged

    @property
    def n(self) -> int:
        """How many probabilities were counted."""
        return int(self._n.sum())

    @property
    def mean_probability(self) -> float:
        """The mean predicted probability; NaN of nothing."""
        return float(self._sum.sum() / self.n) if self.n else float("nan")

    @property
    def base_rate(self) -> float:
        """The observed fraction; NaN of nothing."""
        return float(self._k.sum() / self.n) if self.n else float("nan")

    def table(self) -> pd.DataFrame:
        """Return one row per bin: mean predicted probability beside the observed fraction.

        Columns: ``lo``, ``hi``, ``n``, ``k`` (of them true), ``mean_probability``, ``value``
        (= k / n) and its 68% Wilson interval ``value_lo``, ``value_hi``; NaN in empty bins.
        """
        mean = np.full(self.n_bins, np.nan)
        np.divide(self._sum, self._n, out=mean, where=self._n > 0)
        table = fractions(self._n, self._k)
        table.insert(2, "mean_probability", mean)
        table.insert(0, "hi", np.arange(1, self.n_bins + 1) / self.n_bins)
        table.insert(0, "lo", np.arange(self.n_bins) / self.n_bins)
        return table

    def expected_calibration_error(self) -> float:
        """Return ``sum n / N |k / n - mean p|`` over the bins; NaN of nothing."""
        return float(np.abs(self._k - self._sum).sum() / self.n) if self.n else float("nan")

    def brier_score(self) -> float:
        """Return the mean squared difference of probability and outcome; NaN of nothing."""
        return self._sum_squared_error / self.n if self.n else float("nan")

    def brier_skill(self) -> float:
        """Return how much of the Brier score of the constant base rate is gone: 1 is perfect.

        0 is no better than always to predict the base rate. NaN where all outcomes are the same.
        """
        constant = self.base_rate * (1.0 - self.base_rate)
        return 1.0 - self.brier_score() / constant if constant > 0 else float("nan")

    def log_loss(self) -> float:
        """Return the mean cross-entropy [nat] of outcome and probability; NaN of nothing.

        Probabilities of an outcome below 1e-7 count as 1e-7.
        """
        return self._sum_log_loss / self.n if self.n else float("nan")


def error_by_chance(probability: np.ndarray, n_bins: int = N_BINS) -> float:
    """Return the calibration error to be expected of right probabilities, by chance alone.

    With right probabilities, the number that is true in a bin is off its mean by as much as
    independent draws are: by ``sqrt(2 / pi sum p (1 - p))`` on average, if it is normal.

    Args:
        probability: Predicted probabilities, 0-1, shape (n,).
        n_bins: Number of bins of the expected calibration error.

    Returns:
        The mean of the expected calibration error; NaN of nothing.
    """
    p = np.asarray(probability, float)
    if not len(p):
        return float("nan")
    which = np.searchsorted(np.arange(1, n_bins) / n_bins, p, side="right")
    variance = np.bincount(which, p * (1.0 - p), minlength=n_bins)
    return float(np.sqrt(2.0 / np.pi * variance).sum() / len(p))
