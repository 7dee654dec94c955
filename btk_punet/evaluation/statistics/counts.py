"""Calibration of the posterior of how many sources there are: is the truth any of its draws?

The randomised probability integral transform of a count k with the posterior p is
``p(0) + ... + p(k - 1) + v p(k)``, with v uniform between 0 and 1 (Czado, Gneiting and Held 2009,
Biometrics 65, 1254). If each true count is as a draw from its posterior, the transforms are
uniform; posteriors too narrow pile them up at both ends, posteriors that count too few near 1.
"""

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.simulation.snr import NEIGHBOUR_SNR

# By so much a posterior may miss a sum of 1, in single precision.
_ROUNDING = 1e-4


def true_counts(truth: pd.DataFrame, image_size: int, n_scenes: int) -> np.ndarray:
    """Return how many sources with ``alone_snr > 2`` have their centre in the image.

    Args:
        truth: Truth table of `batch_tables`, the rows of one method, scenes numbered from 0.
        image_size: Width and height of the images [pixel].
        n_scenes: Number of scenes, those without any source included.

    Returns:
        The count of each scene, int, shape (n_scenes,).

    Raises:
        InputError: if a scene has a number of ``n_scenes`` or more.
    """
    if len(truth) and truth["scene"].max() >= n_scenes:
        raise InputError(
            f"Scenes must be numbered from 0 to {n_scenes - 1}, got {truth['scene'].max()}."
        )
    x, y = truth["x"].to_numpy(float), truth["y"].to_numpy(float)
    # A pixel reaches half a pixel beyond its centre.
    inside = (np.minimum(x, y) >= -0.5) & (np.maximum(x, y) < image_size - 0.5)
    counted = inside & (truth["alone_snr"].to_numpy() > NEIGHBOUR_SNR)
    return np.bincount(truth["scene"].to_numpy(int)[counted], minlength=n_scenes)


def posteriors_of(counts: pd.DataFrame) -> np.ndarray:
    """Return the posteriors of one method from its rows of the table ``counts``, shape (n, m)."""
    # A method that allows fewer sources than another has no probabilities of the other's numbers.
    columns = [c for c in counts if c.startswith("p_") and counts[c].notna().any()]
    return counts[columns].to_numpy(float)


def most_probable_counts(
    posteriors: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of the most probable count of each scene, and whether it is true.

    Args:
        posteriors: As for `count_transform`, shape (n, max_n_sources + 1).
        counts: True count of each scene, shape (n,).

    Returns:
        Probabilities, and booleans, shape (n,) each. Of equals the smallest count is taken.
    """
    posteriors = np.asarray(posteriors, float)
    true = np.minimum(counts, posteriors.shape[1] - 1)
    # In single precision a probability next to 1 may exceed it.
    return np.minimum(posteriors.max(axis=1), 1.0), posteriors.argmax(axis=1) == true


def count_transform(posteriors: np.ndarray, counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the randomised probability integral transform of true counts.

    Args:
        posteriors: ``count_posterior`` of each scene, shape (n, max_n_sources + 1).
        counts: True count of each scene, shape (n,); one above ``max_n_sources`` counts as the
            posterior's last entry, which is the probability of so many or more.
        seed: Seed of v.

    Returns:
        Values from 0 to 1, shape (n,); uniform if the posteriors are right.

    Raises:
        InputError: for shapes that do not fit, counts below 0, or posteriors that are no
            probabilities or do not sum to 1.
    """
    posteriors, counts = np.asarray(posteriors, float), np.asarray(counts)
    if posteriors.ndim != 2 or counts.shape != posteriors.shape[:1]:
        raise InputError(
            "posteriors must have the shape (n, max_n_sources + 1) and counts (n,), got "
            f"{posteriors.shape} and {counts.shape}."
        )
    if not ((posteriors >= 0).all() and np.allclose(posteriors.sum(axis=1), 1, 0, _ROUNDING)):
        raise InputError(
            "Every posterior must hold probabilities that sum to 1, got sums from "
            f"{posteriors.sum(axis=1).min():g} to {posteriors.sum(axis=1).max():g} and a smallest "
            f"probability of {posteriors.min():g}."
        )
    if (counts != np.floor(counts)).any() or (counts < 0).any():
        raise InputError(f"counts must be whole numbers, 0 or more, got {counts}.")
    last = posteriors.shape[1] - 1
    at_most = np.concatenate([np.zeros((len(counts), 1)), posteriors.cumsum(axis=1)], axis=1)
    rows, k = np.arange(len(counts)), np.minimum(counts, last).astype(int)
    below, upto = at_most[rows, k], at_most[rows, k + 1]
    v = np.random.default_rng(seed).random(len(counts))
    return np.clip(below + v * (upto - below), 0.0, 1.0)


def largest_gap(values: np.ndarray) -> float:
    """Return the largest gap between the distribution of values and the uniform one on 0-1.

    That is the distance of Kolmogorov and Smirnov. It is 0 to 1; for n values that are uniform,
    it exceeds ``1.36 / sqrt(n)`` in one case of 20.

    Args:
        values: Such as those of `count_transform`, shape (n,).

    Returns:
        The gap; NaN of nothing.
    """
    values = np.sort(np.asarray(values, float))
    n = len(values)
    if n == 0:
        return float("nan")
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - values).max(), (values - steps[:-1]).max()))
