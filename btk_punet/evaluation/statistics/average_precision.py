"""Average precision of outlines: as COCO counts it (Lin et al. 2014, arXiv:1405.0312).

At each of ten thresholds on the intersection over union (IoU) of masks, detections take sources
in the order of their probability. As a threshold on that probability falls, purity (precision)
and completeness (recall) of what is above it make a curve, and the area below it is the average
precision. Unlike in COCO, no number of detections a scene is too large to count.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from btk_punet.errors import InputError

# A detection and a source can be one if their masks' IoU is at least this.
IOU_THRESHOLDS = tuple((np.arange(50, 100, 5) / 100).tolist())
# The curve is read off at completeness 0, 0.01, ..., 1.
COMPLETENESS_STEPS = 100

# What becomes of a detection. The last is neither right nor wrong.
MATCHED, FALSE, IGNORED = 1, 0, -1


def mask_outcomes(
    iou: np.ndarray, p_detect: np.ndarray, in_bounds: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return what becomes of each detection of a scene, at each threshold of the IoU.

    COCO's rule: the most probable detection first, each takes the source of the largest IoU among
    those that are left and reach the threshold; one that counts before one that does not. It is
    *matched* with a source that counts, *ignored* with one that does not, and *false* with none;
    but ignored with none if it is out of bounds. Of detections as probable, and of those without
    a probability (NaN), the one with the largest IoU comes first.

    Args:
        iou: IoU of each detection and each source that can be matched, shape (m, n).
        p_detect: Probability of each detection, NaN for none, shape (m,).
        in_bounds: Whether each detection is in bounds (see `batch_tables`), shape (m,).
        counts: Whether each source counts, shape (n,).

    Returns:
        `MATCHED`, `FALSE` or `IGNORED`, int8, shape (thresholds, m).

    Raises:
        InputError: for arrays that do not fit together.
    """
    iou, p_detect = np.asarray(iou, float), np.asarray(p_detect, float)
    in_bounds, counts = np.asarray(in_bounds, bool), np.asarray(counts, bool)
    shapes = (*p_detect.shape, *counts.shape)
    if len(shapes) != 2 or iou.shape != shapes or in_bounds.shape != p_detect.shape:
        raise InputError(
            "iou must have the shape (m, n), p_detect and in_bounds (m,) and counts (n,), for m "
            f"detections and n sources; got {iou.shape}, {p_detect.shape}, {in_bounds.shape} and "
            f"{counts.shape}."
        )
    outcomes = np.full((len(IOU_THRESHOLDS), len(iou)), FALSE, np.int8)
    outcomes[:, ~in_bounds] = IGNORED
    if iou.size == 0:
        return outcomes
    reach = np.array(IOU_THRESHOLDS)[:, None]
    rows = np.arange(len(reach))
    free = np.ones((len(reach), len(counts)), bool)
    order = np.lexsort((-iou.max(axis=1), -np.nan_to_num(p_detect, nan=0.0)))
    for detection in order:
        # A source that counts is worth more than any IoU.
        worth = np.where(free & (iou[detection] >= reach), iou[detection] + 2.0 * counts, -1.0)
        source = worth.argmax(axis=1)
        taken = worth[rows, source] >= 0
        free[rows[taken], source[taken]] = False
        outcomes[taken, detection] = np.where(counts[source[taken]], MATCHED, IGNORED)
    return outcomes


def average_precision(n_detections: np.ndarray, n_matched: np.ndarray, n_truth: int) -> float:
    """Return the area below a curve of purity and completeness, as COCO takes it.

    The mean over completeness 0, 0.01, ..., 1 of the largest purity at that completeness or
    beyond; 0 where the curve does not reach it.

    Args:
        n_detections: Detections above each threshold of the probability, from the highest
            threshold down, shape (m,).
        n_matched: How many of them are matched, shape (m,).
        n_truth: Number of sources that count.

    Returns:
        A number from 0 to 1; NaN without sources.
    """
    if n_truth == 0:
        return float("nan")
    n_detections, n_matched = np.asarray(n_detections, int), np.asarray(n_matched, int)
    purity = n_matched / np.maximum(n_detections, 1)
    best = np.maximum.accumulate(purity[::-1])[::-1]
    # In whole numbers, because 0.29 of 100 sources is not 29 of 100 in floating point.
    levels = np.arange(COMPLETENESS_STEPS + 1) * n_truth
    first = np.searchsorted(COMPLETENESS_STEPS * n_matched, levels)
    return float(best[first[first < len(best)]].sum() / len(levels))


class MaskPrecision:
    """Purity, completeness and average precision of outlines, over any number of scenes.

    What was found in two parts of the data is merged by ``+``, in any order. A detector that gives
    no probability (NaN) has no ranking and so no curve but one point: purity and completeness of
    all its detections; its average precision is NaN. (One that finds nothing at all has 0.)
    """

    def __init__(self) -> None:
        self.n_truth = 0
        self._p_detect = np.zeros(0)
        self._outcomes = np.zeros((len(IOU_THRESHOLDS), 0), np.int8)

    def add_outcomes(self, outcomes: np.ndarray, p_detect: np.ndarray, n_truth: int) -> None:
        """Count what `mask_outcomes` told of any number of scenes.

        Args:
            outcomes: Of each detection, shape (thresholds, m).
            p_detect: Probability of each detection, NaN for none, shape (m,).
            n_truth: Number of sources that count.
        """
        self.n_truth += n_truth
        self._p_detect = np.concatenate([self._p_detect, np.asarray(p_detect, float)])
        self._outcomes = np.concatenate([self._outcomes, np.asarray(outcomes, np.int8)], axis=1)

    def __add__(self, other: MaskPrecision) -> MaskPrecision:
        """Return what was found in the data of both."""
        if not isinstance(other, MaskPrecision):
            return NotImplemented
        merged = MaskPrecision()
        merged.n_truth = self.n_truth + other.n_truth
        merged._p_detect = np.concatenate([self._p_detect, other._p_detect])
        merged._outcomes = np.concatenate([self._outcomes, other._outcomes], axis=1)
        return merged

    @property
    def is_ranked(self) -> bool:
        """Whether every detection has a probability."""
        return not bool(np.isnan(self._p_detect).any())

    def curve(self) -> pd.DataFrame:
        """Return the purity-completeness curves (precision and recall): one row per point.

        Columns: ``iou_threshold``; ``p_detect``, the lowest probability of the detections that
        are counted, falling (NaN if there is no ranking: one row then); ``n_detections``,
        ``n_matched``, ``n_truth``; ``purity`` = n_matched / n_detections, ``completeness`` =
        n_matched / n_truth. Detections of the same probability enter together.
        """
        return pd.concat(
            [self._curve(number) for number in range(len(IOU_THRESHOLDS))], ignore_index=True
        )

    def table(self) -> pd.DataFrame:
        """Return one row per threshold of the IoU, all detections counted.

        Columns: ``iou_threshold``, ``n_detections``, ``n_matched``, ``n_truth``, ``purity``,
        ``completeness`` (NaN where there is nothing to divide by), ``average_precision``.
        """
        counted = (self._outcomes != IGNORED).sum(axis=1)
        matched = (self._outcomes == MATCHED).sum(axis=1)
        table = self._points(np.array(IOU_THRESHOLDS), counted, matched)
        curves = [self._curve(number) for number in range(len(IOU_THRESHOLDS))]
        areas = [
            average_precision(curve["n_detections"], curve["n_matched"], self.n_truth)
            for curve in curves
        ]
        return table.assign(average_precision=areas if self.is_ranked else np.nan)

    def mean_average_precision(self) -> float:
        """Return the mean of the average precision over the thresholds of the IoU; COCO's AP."""
        return float(self.table()["average_precision"].mean())

    def _curve(self, number: int) -> pd.DataFrame:
        counted = self._outcomes[number] != IGNORED
        p = self._p_detect[counted] if self.is_ranked else np.full(counted.sum(), np.nan)
        values, place = np.unique(-p, return_inverse=True)  # NaN are one value
        n = np.bincount(place, minlength=len(values)).cumsum()
        right = self._outcomes[number, counted] == MATCHED
        k = np.bincount(place[right], minlength=len(values)).cumsum()
        points = self._points(np.full(len(values), IOU_THRESHOLDS[number]), n, k)
        points.insert(1, "p_detect", -values)
        return points

    def _points(self, iou_threshold: np.ndarray, n: np.ndarray, k: np.ndarray) -> pd.DataFrame:
        n_truth = np.full(len(n), self.n_truth)
        return pd.DataFrame(
            {
                "iou_threshold": iou_threshold,
                "n_detections": n,
                "n_matched": k,
                "n_truth": n_truth,
                "purity": np.divide(k, n, out=np.full(len(n), np.nan), where=n > 0),
                "completeness": np.divide(
                    k, n_truth, out=np.full(len(n), np.nan), where=n_truth > 0
                ),
            }
        )
