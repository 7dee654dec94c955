"""Purity and completeness of a probabilistic detector, as the threshold on ``p_detect`` is raised.

At each threshold truth and detections are matched anew: a candidate that drops out may leave its
source to another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.candidates import LOWEST_THRESHOLD
from btk_punet.evaluation.scoring.matching import (
    Matcher,
    lone_pairs,
    near_pairs,
    pair_groups,
)
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.simulation.snr import NEIGHBOUR_SNR

# At most so many default thresholds.
N_THRESHOLDS = 200


@dataclass
class PuritySweep:
    """What is kept, matched and found at each threshold, by scenes or other units.

    Attributes:
        thresholds: Values of ``p_detect``, increasing, shape (t,).
        n_kept: Number of detections in bounds, shape (units, t).
        n_matched: Number of them that are matched, shape (units, t).
        sources: Rows of the truth table that count, n of them.
        found: Which of these are found, booleans of shape (n, t).
    """

    thresholds: np.ndarray
    n_kept: np.ndarray
    n_matched: np.ndarray
    sources: pd.DataFrame
    found: np.ndarray

    def curve(self) -> pd.DataFrame:
        """Return the table of `purity_completeness_curve`."""
        n_truth, n_thresholds = self.found.shape
        tables = [pd.DataFrame({"threshold": self.thresholds})]
        for quantity, n_name, k_name, n, k in [
            (
                "purity",
                "n_detections",
                "n_matched_detections",
                self.n_kept.sum(axis=0),
                self.n_matched.sum(axis=0),
            ),
            (
                "completeness",
                "n_truth",
                "n_found",
                np.full(n_thresholds, n_truth),
                self.found.sum(axis=0),
            ),
        ]:
            table = fractions(n, k)
            table.columns = [n_name, k_name, quantity, f"{quantity}_lo", f"{quantity}_hi"]
            tables.append(table)
        return pd.concat(tables, axis=1)


def sweep_purity(
    truth: pd.DataFrame,
    candidates: pd.DataFrame,
    scenes: np.ndarray,
    thresholds: Sequence[float] | np.ndarray | None = None,
    matcher: Matcher | None = None,
    unit: str = "scene",
    units: np.ndarray | None = None,
) -> PuritySweep:
    """Match the candidates to the truth at each threshold.

    Args:
        truth: As for `purity_completeness_curve`.
        candidates: As for `purity_completeness_curve`.
        scenes: Numbers of the scenes, increasing; no row may have another.
        thresholds: Increasing values of ``p_detect``; if None, `default_thresholds`.
        matcher: Does the matching; `Matcher` with a radius of 0.3 arcsec and pixels of 0.1 arcsec
            if None.
        unit: Column of the candidates by which they are summed up.
        units: Its values, increasing; the scenes if None.

    Raises:
        InputError: as `purity_completeness_curve`.
    """
    check_columns(truth, "truth", ("scene", "x", "y", "alone_snr", "counts"))
    check_columns(candidates, "candidates", ("scene", "x", "y", "p_detect", "in_bounds", unit))
    units = scenes if units is None else units
    if "method" in truth and truth["method"].nunique() > 1:
        raise InputError(
            "truth must hold the rows of one method, got those of "
            f"{list(truth['method'].unique())}: choose any, as in truth[truth['method'] == name]."
        )
    matcher = Matcher() if matcher is None else matcher
    p_detect = candidates["p_detect"].to_numpy(float)
    if thresholds is None:
        thresholds = default_thresholds(p_detect)
    thresholds = np.asarray(thresholds, float)
    _check_probabilities(p_detect, thresholds)

    true_places = truth[["x", "y"]].to_numpy(float)
    places = candidates[["x", "y"]].to_numpy(float)
    found = np.zeros((len(truth), len(thresholds)), bool)
    matched = np.zeros((len(candidates), len(thresholds)), bool)
    i, j = _near_pairs(truth, candidates, matcher)
    lone = lone_pairs(i, j)
    found[i[lone]] = matched[j[lone]] = p_detect[j[lone]][:, None] >= thresholds
    i, j = i[~lone], j[~lone]
    for group in pair_groups(i, j):
        # In the order of the tables, which settles ties as when a whole scene is matched.
        sources, near = np.unique(i[group]), np.unique(j[group])
        # The match changes only where one of these candidates drops out.
        n_left = np.count_nonzero(p_detect[near][:, None] >= thresholds, axis=0)
        for number in np.unique(n_left[n_left > 0]):
            (at,) = np.nonzero(n_left == number)
            left = near[p_detect[near] >= thresholds[at[0]]]
            own, its = matcher.match_positions(*true_places[sources].T, *places[left].T)
            found[sources[own], at[0] : at[-1] + 1] = True
            matched[left[its], at[0] : at[-1] + 1] = True

    in_bounds = candidates["in_bounds"].to_numpy(bool)
    kept = (p_detect[:, None] >= thresholds) & in_bounds[:, None]
    counts = truth["counts"].to_numpy(bool)
    own = candidates[unit].to_numpy()
    return PuritySweep(
        thresholds,
        n_kept=sum_by_unit(kept, own, units),
        n_matched=sum_by_unit(matched & in_bounds[:, None], own, units),
        sources=truth[counts],
        found=found[counts],
    )


def purity_completeness_curve(
    truth: pd.DataFrame,
    candidates: pd.DataFrame,
    thresholds: Sequence[float] | np.ndarray | None = None,
    radius_arcsec: float = 0.3,
    pixel_scale_arcsec: float = 0.1,
) -> pd.DataFrame:
    """Return purity and completeness of a probabilistic detector at each threshold.

    At a threshold, the detections are the candidates with ``p_detect`` at or above it. They are
    matched to the sources with ``alone_snr > 2`` by `Matcher`; after that, sources that do not
    count and detections out of bounds are left aside.

    Args:
        truth: Truth table of `batch_tables`, the rows of any one method (what that method matched
            is not used).
        candidates: All candidates of the detector with ``p_detect >= 0.02``, in columns of the
            detection table of `batch_tables`: ``scene``, ``x``, ``y``, ``p_detect``,
            ``in_bounds``. (Such as that of a ``ProbaUNetDeblender`` with ``threshold=0.02``.)
        thresholds: Increasing values of ``p_detect``; if None, `default_thresholds`.
        radius_arcsec: Matching radius [arcsec].
        pixel_scale_arcsec: Pixel size [arcsec].

    Returns:
        One row per threshold: ``threshold``; ``n_detections``, ``n_matched_detections``,
        ``purity``, ``purity_lo``, ``purity_hi``; ``n_truth``, ``n_found``, ``completeness``,
        ``completeness_lo``, ``completeness_hi``. Intervals are 68% Wilson; a fraction of nothing
        is NaN.

    Raises:
        InputError: if a column is missing, ``truth`` holds several methods, a ``p_detect`` or
            threshold is not between 0 and 1, or the thresholds do not increase.
    """
    matcher = Matcher(radius_arcsec, pixel_scale_arcsec)
    scenes = all_scenes(truth, candidates)
    return sweep_purity(truth, candidates, scenes, thresholds, matcher).curve()


def default_thresholds(p_detect: np.ndarray, n_thresholds: int = N_THRESHOLDS) -> np.ndarray:
    """Return thresholds from 0.02 up, of which each leaves about as many candidates fewer.

    They are the distinct values of ``p_detect``, or if there are more than `n_thresholds` of
    them, evenly spaced ones of its sorted values: so they lie close together near 1 if that is
    where a detector puts its candidates.

    Args:
        p_detect: Of all candidates, shape (n,).
        n_thresholds: Largest number of thresholds, 2 or more.

    Returns:
        Increasing values; just 0.02 if there is no candidate.
    """
    values = np.sort(np.asarray(p_detect, float))
    values = values[values >= LOWEST_THRESHOLD]
    distinct = np.unique(values)
    if len(distinct) > n_thresholds:
        distinct = np.unique(values[np.linspace(0, len(values) - 1, n_thresholds).astype(int)])
    return distinct if len(distinct) else np.array([LOWEST_THRESHOLD])


def all_scenes(*tables: pd.DataFrame, unit: str = "scene") -> np.ndarray:
    """Return the numbers of the scenes (or other units) of any of the tables, increasing."""
    return np.unique(np.concatenate([table[unit].to_numpy() for table in tables]))


def sum_by_unit(values: np.ndarray, unit: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the sums over the rows of each scene, or another unit.

    Args:
        values: Shape (n, t).
        unit: Number of the unit of each row, shape (n,).
        units: Numbers of the units, increasing.

    Returns:
        Sums, float, shape (units, t).
    """
    n_rows = len(values)
    where = (np.searchsorted(units, unit), np.arange(n_rows))
    of_unit = coo_array((np.ones(n_rows), where), shape=(len(units), n_rows))
    return of_unit @ np.asarray(values, float)


def check_columns(table: pd.DataFrame, name: str, needed: Sequence[str]) -> None:
    """Raise an `InputError` if a table lacks one of the columns that are needed."""
    missing = [column for column in needed if column not in table]
    if missing:
        raise InputError(
            f"{name} must have the columns {list(needed)}, but {missing} are missing: give rows of "
            "the tables of batch_tables."
        )


def _near_pairs(
    truth: pd.DataFrame, candidates: pd.DataFrame, matcher: Matcher
) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers of the sources and candidates of a scene that can be matched."""
    matchable = np.flatnonzero(truth["alone_snr"].to_numpy() > NEIGHBOUR_SNR)
    if len(matchable) == 0 or len(candidates) == 0:
        return np.zeros(0, int), np.zeros(0, int)
    radius_pixels = matcher.radius_arcsec / matcher.pixel_scale_arcsec
    # All scenes at once, one above another, so far apart that none reaches the next.
    apart = np.ceil(2 * radius_pixels) + 1
    places = [
        np.stack([*table[["x", "y"]].to_numpy(float).T, apart * table["scene"].to_numpy()], axis=1)
        for table in (truth, candidates)
    ]
    i, j, _ = near_pairs(places[0][matchable], places[1], radius_pixels)
    return matchable[i], j


def _check_probabilities(p_detect: np.ndarray, thresholds: np.ndarray) -> None:
    for name, values in [("p_detect", p_detect), ("threshold", thresholds)]:
        bad = values[~((values >= 0) & (values <= 1))]
        if len(bad):
            raise InputError(
                f"Every {name} must be between 0 and 1, got {bad[:3]}. A detector without "
                "p_detect has no threshold to raise."
            )
    if thresholds.ndim != 1 or len(thresholds) == 0 or not (np.diff(thresholds) > 0).all():
        raise InputError(f"thresholds must be one or more increasing numbers, got {thresholds}.")
