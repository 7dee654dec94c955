"""Purity and completeness of a probabilistic detector, as the threshold on ``p_detect`` is raised.

At each threshold truth and detections are matched anew: a candidate that drops out may leave its
source to another one.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.candidates import LOWEST_THRESHOLD
from btk_punet.evaluation.scoring.matching import (
    Matcher,
    near_pairs,
    pair_groups,
)
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.simulation.snr import NEIGHBOUR_SNR

# At most so many default thresholds.
N_THRESHOLDS = 200


@dataclass
class PuritySweep:
    """What is kept, matched and found at each threshold.

    As nearly all that a row has to say of hundreds of thresholds is where it drops out, each of the
    three is kept as its drops: a sparse matrix of a row per detection, or source, and a column per
    threshold, whose sum over the columns from a threshold on is what there is at that threshold
    (see `at_thresholds`).

    Attributes:
        thresholds: Values of ``p_detect``, increasing, shape (t,).
        kept: Of each candidate, whether it is a detection in bounds, shape (m, t).
        matched: Whether it is one that is matched, shape (m, t).
        sources: Rows of the truth table that count, n of them.
        found: Which of these are found, shape (n, t).
    """

    thresholds: np.ndarray
    kept: csr_array
    matched: csr_array
    sources: pd.DataFrame
    found: csr_array

    def curve(self) -> pd.DataFrame:
        """Return the table of `purity_completeness_curve`."""
        n_kept, n_matched, n_found = (
            at_thresholds(drops.sum(axis=0)) for drops in (self.kept, self.matched, self.found)
        )
        n_truth = np.full(len(self.thresholds), len(self.sources))
        tables = [pd.DataFrame({"threshold": self.thresholds})]
        for quantity, n_name, k_name, n, k in [
            ("purity", "n_detections", "n_matched_detections", n_kept, n_matched),
            ("completeness", "n_truth", "n_found", n_truth, n_found),
        ]:
            table = fractions(n, k)
            table.columns = [n_name, k_name, quantity, f"{quantity}_lo", f"{quantity}_hi"]
            tables.append(table)
        return pd.concat(tables, axis=1)


def at_thresholds(drops: np.ndarray) -> np.ndarray:
    """Return what there is at each threshold from the drops after it, along the last axis."""
    return np.cumsum(drops[..., ::-1], axis=-1)[..., ::-1]


def sweep_purity(
    truth: pd.DataFrame,
    candidates: pd.DataFrame,
    thresholds: Sequence[float] | np.ndarray | None = None,
    matcher: Matcher | None = None,
) -> PuritySweep:
    """Match the candidates to the truth at each threshold.

    Args:
        truth: As for `purity_completeness_curve`.
        candidates: As for `purity_completeness_curve`.
        thresholds: Increasing values of ``p_detect``; if None, `default_thresholds`.
        matcher: Does the matching; `Matcher` with a radius of 0.3 arcsec and pixels of 0.1 arcsec
            if None.

    Raises:
        InputError: as `purity_completeness_curve`.
    """
    check_columns(truth, "truth", ("scene", "x", "y", "alone_snr", "counts"))
    check_columns(candidates, "candidates", ("scene", "x", "y", "p_detect", "in_bounds"))
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
    # At so many thresholds, the lowest ones, there is a candidate.
    lasts = np.searchsorted(thresholds, p_detect, side="right")
    i, j = _near_pairs(truth, candidates, matcher)
    distance = np.sqrt(((true_places[i] - places[j]) ** 2).sum(axis=1))
    # Sources, candidates, and from which threshold to before which they are matched.
    single, pairs = _pairs_of_single_sources(i, j, distance, lasts)
    others = array("q")
    of_pair = i[~single], j[~single]
    for group in pair_groups(*of_pair):
        # In the order of the tables, which settles ties as when a whole scene is matched.
        sources, near = np.unique(of_pair[0][group]), np.unique(of_pair[1][group])
        # The match changes only where one of these candidates drops out.
        begin = 0
        for end in np.unique(lasts[near]).tolist():
            if end > 0:
                left = near[lasts[near] >= end]
                own, its = matcher.match_positions(*true_places[sources].T, *places[left].T)
                for pair in zip(sources[own].tolist(), left[its].tolist(), strict=True):
                    others.extend((*pair, begin, end))
                begin = end
    of_others = np.array(others, int).reshape(-1, 4).T
    of_source, of_candidate, begins, ends = np.concatenate([pairs, of_others], axis=1)

    in_bounds = candidates["in_bounds"].to_numpy(bool)
    counts = truth["counts"].to_numpy(bool)
    (inside,) = np.nonzero(in_bounds)
    here = in_bounds[of_candidate]
    of_candidates, of_truth = ((len(table), len(thresholds)) for table in (candidates, truth))
    return PuritySweep(
        thresholds,
        kept=_drops(inside, np.zeros_like(inside), lasts[inside], of_candidates),
        matched=_drops(of_candidate[here], begins[here], ends[here], of_candidates),
        sources=truth[counts],
        found=_drops(of_source, begins, ends, of_truth)[counts],
    )


def _pairs_of_single_sources(
    i: np.ndarray, j: np.ndarray, distance: np.ndarray, lasts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match the sources that share none of their candidates with another one: most of them.

    Such a source has the nearest candidate that is left, so that each of its candidates has it from
    where the last nearer one drops out.

    Args:
        i: Source of each near pair, shape (n,).
        j: Candidate of each.
        distance: Their distance.
        lasts: At how many thresholds each candidate is there.

    Returns:
        Which of the near pairs are of such sources, but for those with ties, booleans of shape
        (n,); and of the pairs that are matched source, candidate, the first threshold, and that
        after the last, shape (4, pairs).
    """
    order = np.lexsort((distance, i))
    is_next = np.zeros(len(i), bool)
    is_next[1:] = i[order][1:] == i[order][:-1]
    tie = is_next & (np.diff(distance[order], prepend=np.nan) == 0)
    shared = np.zeros(i.max(initial=-1) + 1, bool)
    shared[i[np.bincount(j)[j] > 1]] = True
    shared[i[order][tie]] = True
    single = ~shared[i]
    order = order[single[order]]
    # The running maximum of each source: numbers of the next one are larger than all before.
    apart = i[order] * (lasts.max(initial=0) + 1)
    until = np.maximum.accumulate(lasts[j[order]] + apart)
    begins = np.zeros(len(order), int)
    begins[1:] = np.maximum(until[:-1] - apart[1:], 0)
    ends = lasts[j[order]]
    matched = ends > begins
    return single, np.stack([i[order], j[order], begins, ends])[:, matched]


def _drops(
    rows: np.ndarray, begins: np.ndarray, ends: np.ndarray, shape: tuple[int, int]
) -> csr_array:
    """Return the drops of rows that are there from a threshold to before another.

    Args:
        rows: Numbers of the rows; a row may come again with other thresholds.
        begins: Numbers of the first thresholds.
        ends: Of those after the last.
        shape: Numbers of rows and thresholds.
    """
    some = ends > begins
    later = some & (begins > 0)
    values = np.concatenate([np.ones(some.sum()), -np.ones(later.sum())])
    where = (
        np.concatenate([rows[some], rows[later]]),
        np.concatenate([ends[some] - 1, begins[later] - 1]),
    )
    drops = coo_array((values, where), shape=shape).tocsr()
    drops.eliminate_zeros()
    return drops


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
    return sweep_purity(truth, candidates, thresholds, matcher).curve()


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


def all_units(*tables: pd.DataFrame, unit: str) -> np.ndarray:
    """Return the numbers of the scenes, or other units, of any of the tables, increasing."""
    return np.unique(np.concatenate([table[unit].to_numpy() for table in tables]))


def sum_by_unit(values: csr_array, unit: np.ndarray, units: np.ndarray) -> csr_array:
    """Return the sums over the rows of each scene, or another unit.

    Args:
        values: Shape (n, t).
        unit: Number of the unit of each row, shape (n,).
        units: Numbers of the units, increasing.

    Returns:
        Sums, shape (units, t).
    """
    n_rows = len(unit)
    where = (np.searchsorted(units, unit), np.arange(n_rows))
    of_unit = coo_array((np.ones(n_rows), where), shape=(len(units), n_rows))
    return of_unit.tocsr() @ values


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
