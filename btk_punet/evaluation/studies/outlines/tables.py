"""Tables on outlines, counted from the tidy ones of `outlines`: how good are they, is harm done?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from btk_punet.evaluation.quantities import SHORT
from btk_punet.evaluation.statistics.average_precision import MaskPrecision
from btk_punet.evaluation.statistics.fractions import DEFAULT_EDGES, Edges, fractions
from btk_punet.evaluation.statistics.means import binned_sums, merged_means
from btk_punet.evaluation.statistics.pixels import class_report
from btk_punet.evaluation.studies.outlines.batch import OUTCOME_COLUMNS, PIXEL_COLUMNS
from btk_punet.evaluation.studies.table import stacked, trimmed

QUESTIONS = ("unmatched", "placed_worse", "outlined_worse")
SEGMENTATION_BY = ("magnitude", "neighbour_distance_arcsec")
# Thresholds of the IoU at which the curves of a run are kept, and points of a curve at most.
CURVE_THRESHOLDS = (0.5, 0.75)
N_POINTS = 100


def segmentation_tables(
    outlines: Mapping[str, pd.DataFrame], truth: pd.DataFrame, methods: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return every table on outlines, by its name.

    Args:
        outlines: Tables of `batch_outlines`, of any number of batches.
        truth: Truth table of `batch_tables`, all methods.
        methods: Names of the methods, in the order wanted; those without outlines are left out.

    Returns:
        Nothing if no method has outlines, else:

        - ``segmentation_scores``: a row a method: ``mean_iou`` of the matched sources;
          ``blended_region_iou`` (see `blended_region`); ``average_precision``, the mean over the
          thresholds of the IoU, and ``average_precision_50``, ``average_precision_75`` at one
          (NaN without probabilities); and the fractions ``unmatched``, ``placed_worse``,
          ``outlined_worse`` of `worse_than_undeblended`. With each its ``_n``, ``_k`` and 68%
          interval ``_lo`` to ``_hi``, where there is one.
        - ``segmentation_by_magnitude``, ``segmentation_by_neighbour_distance``: a row a method
          and bin, columns of `merged_means`.
        - ``segmentation_classes``: a row a method and ``class``, columns of `class_report`.
        - ``mask_precision``: a row a method and threshold, columns of ``MaskPrecision.table``.
        - ``mask_curves``: a row a method and point of its curve of purity and completeness at the
          thresholds 0.5 and 0.75 of the IoU: at most 100, each with about as many detections more;
          one where a method has no probabilities.
    """
    pixels = outlines.get("class_pixels")
    drawn = [] if pixels is None else [m for m in methods if m in set(pixels["method"])]
    if pixels is None or not drawn:
        return {}
    parts: dict[str, dict[str, pd.DataFrame]] = {}
    for method in drawn:
        sources, found, own = (
            table[table["method"] == method]
            for table in (outlines["source_outlines"], outlines["detection_outlines"], pixels)
        )
        precision = mask_precision(found, len(sources))
        counts = pixel_counts(own)
        tables = {
            "segmentation_scores": _scores(sources, counts, precision),
            **{
                f"segmentation_by_{SHORT[by]}": merged_means([iou_sums(sources, truth, by)])
                for by in SEGMENTATION_BY
            },
            "segmentation_classes": class_report(counts).reset_index(),
            "mask_precision": precision.table(),
            "mask_curves": _curves(precision),
        }
        for name, table in tables.items():
            parts.setdefault(name, {})[method] = table
    joined = {name: stacked(part) for name, part in parts.items()}
    return {name: trimmed(table) if "_by_" in name else table for name, table in joined.items()}


def iou_sums(
    sources: pd.DataFrame, truth: pd.DataFrame, by: str | None, edges: Edges | None = None
) -> pd.DataFrame:
    """Return sums of the IoU of the matched sources of one method, for `merged_means`.

    Args:
        sources: Rows of one method of ``source_outlines``.
        truth: Truth table, whose rows of that method are used.
        by: Column of the truth table to bin by; None for one bin that holds everything.
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
    """
    matched = sources[sources["iou"].notna()]
    if by is None:
        return binned_sums(np.zeros(len(matched)), matched["iou"], (-np.inf, np.inf))
    keys = ["scene", "method", "source"]
    values = matched[keys].merge(truth[[*keys, by]], how="left", on=keys)[by]
    return binned_sums(values, matched["iou"], DEFAULT_EDGES[by] if edges is None else edges)


def worse_than_undeblended(sources: pd.DataFrame) -> pd.DataFrame:
    """Return how often deblending did harm: see ``SegmentationReport.worse_than_undeblended``.

    Args:
        sources: Rows of one method of ``source_outlines``.
    """
    asked = sources[sources["overlapped"]]
    matched = asked[asked["iou"].notna()]
    n, n_matched = len(asked), len(matched)
    worse = [int(matched[name].sum()) for name in QUESTIONS[1:]]
    table = fractions(np.array([n, n_matched, n_matched]), np.array([n - n_matched, *worse]))
    table.insert(0, "quantity", QUESTIONS)
    return table


def pixel_counts(class_pixels: pd.DataFrame) -> np.ndarray:
    """Return the confusion matrix of the rows of ``class_pixels``, shape (3, 3), truth first."""
    return class_pixels[list(PIXEL_COLUMNS)].sum().to_numpy(int).reshape(3, 3)


def blended_region(counts: np.ndarray) -> pd.DataFrame:
    """Return the IoU of the blended region: one row.

    Args:
        counts: Of `pixel_counts`.

    Returns:
        Columns ``n``, pixels that two outlines or more cover, or of true class 2; ``k``, pixels
        that are both; ``value`` = k / n, NaN without blends.
    """
    both = counts[2, 2]
    either = counts[2].sum() + counts[:, 2].sum() - both
    return pd.DataFrame(
        {"n": [either], "k": [both], "value": [both / either if either else np.nan]}
    )


def mask_precision(detections: pd.DataFrame, n_truth: int) -> MaskPrecision:
    """Return purity, completeness and average precision of the outlines of one method.

    Args:
        detections: Rows of one method of ``detection_outlines``.
        n_truth: Number of its rows of ``source_outlines``.
    """
    precision = MaskPrecision()
    outcomes = detections[list(OUTCOME_COLUMNS)].to_numpy(np.int8).T
    precision.add_outcomes(outcomes, detections["p_detect"].to_numpy(float), n_truth)
    return precision


def _scores(sources: pd.DataFrame, counts: np.ndarray, precision: MaskPrecision) -> pd.DataFrame:
    mean = merged_means([iou_sums(sources, sources, None)]).iloc[0]
    region = blended_region(counts).iloc[0]
    table = precision.table().set_index("iou_threshold")["average_precision"]
    row = {
        "mean_iou": mean["value"],
        "mean_iou_n": int(mean["n"]),
        "mean_iou_lo": mean["value_lo"],
        "mean_iou_hi": mean["value_hi"],
        "blended_region_iou": region["value"],
        "blended_region_iou_n": int(region["n"]),
        "blended_region_iou_k": int(region["k"]),
        "average_precision": precision.mean_average_precision(),
        **{f"average_precision_{round(100 * at)}": table[at] for at in CURVE_THRESHOLDS},
    }
    for harm in worse_than_undeblended(sources).itertuples():
        row |= {
            harm.quantity: harm.value,
            f"{harm.quantity}_n": harm.n,
            f"{harm.quantity}_k": harm.k,
            f"{harm.quantity}_lo": harm.value_lo,
            f"{harm.quantity}_hi": harm.value_hi,
        }
    return pd.DataFrame([row])


def _curves(precision: MaskPrecision) -> pd.DataFrame:
    """Return the curves at a few thresholds, thinned out to points with as many in between."""
    curves = precision.curve()
    parts = [curves[:0]]
    for threshold in CURVE_THRESHOLDS:
        curve = curves[curves["iou_threshold"] == threshold]
        if len(curve):
            kept = np.unique(np.linspace(0, len(curve) - 1, N_POINTS).round().astype(int))
            parts.append(curve.iloc[kept])
    return pd.concat(parts, ignore_index=True)
