"""How well are blended sources outlined, and is harm done? For any deblender with outlines."""

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.batch import tables_of_one
from btk_punet.evaluation.statistics.average_precision import MaskPrecision
from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    Edges,
    check_batches,
    check_by,
    check_edges,
    edges_of,
    fractions,
    merged_counts,
)
from btk_punet.evaluation.statistics.means import merged_means
from btk_punet.evaluation.statistics.pixels import class_report, confusion_matrix
from btk_punet.evaluation.studies.outlines.agreement import (
    PIXEL_COLUMNS,
    batch_outlines,
    checked_segmentation,
)
from btk_punet.evaluation.studies.outlines.iou import iou_sums
from btk_punet.evaluation.studies.outlines.precision import CURVE_THRESHOLDS, mask_precision

QUESTIONS = ("unmatched", "placed_worse", "outlined_worse")


class SegmentationReport(Metric):
    """Outlines against true footprints: of matched sources, of blends, of all detections.

    Called as ``metric(blend_batch, deblend_batch, matching=None)`` on the output of any deblender
    with a ``segmentation``, bool (batch, max_n_sources, H, W), whose row i is the outline of row
    i of the catalog; outlines may overlap. Returns the mean IoU (intersection over union) of the
    batch's matched sources, NaN without any.

    The *footprint* of a source is where its noiseless flux exceeds k sigma of the background; of a
    real galaxy, the connected part of that which holds its centre. In all figures, the sources
    are those that count (`batch_tables`) and have a footprint.

    - `aggregate`, `total`: mean IoU of the outline and the footprint of each source that is
      matched, by position, as in every other metric. (A method that finds the easy sources only
      has easy outlines: read it beside the completeness.)
    - `class_report`, `confusion_matrix`, `blended_region`: number of outlines that cover each
      pixel, cut at 2, against `class_map`. Matching does not matter here.
    - `average_precision`, `purity_completeness`, `mean_average_precision`: see `MaskPrecision`;
      matched by the IoU alone, ranked by ``p_detect``. Without ``p_detect`` there is one point
      instead of a curve, and the average precision is NaN. Sources that do not count but can be
      matched (``alone_snr > 2``, or out of bounds) make a detection neither right nor wrong.
    - `worse_than_undeblended`: whether deblending did harm.

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
        by: Column of the truth table to bin by, one of `COMPLETENESS_BY`.
        k: A pixel belongs to a source above this [sigma of the background]: that of the labels
            which the deblender was trained with.
    """

    def __init__(
        self,
        batch_size: int | None = None,
        edges: Edges | None = None,
        by: str = "magnitude",
        k: float = 1.0,
    ):
        super().__init__(batch_size)
        if not k > 0:
            raise InputError(f"k must be above 0 sigma, got {k}.")
        self.by = check_by(by, COMPLETENESS_BY)
        self.edges = check_edges(edges_of(by, edges))
        self.k = k

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,
    ) -> dict:
        checked_segmentation(blend_batch, deblend_batch)
        truth, detections = tables_of_one(
            blend_batch, deblend_batch, matching, with_limit=self.by == "limit_snr"
        )
        outlines = batch_outlines(
            blend_batch, {"method": deblend_batch}, truth, detections, k=self.k
        )
        sources = outlines["source_outlines"]
        return {
            "table": iou_sums(sources, truth, self.by, self.edges),
            "total": iou_sums(sources, truth, None),
            "worse": worse_than_undeblended(sources),
            "pixels": pixel_counts(outlines["class_pixels"]),
            "masks": mask_precision(outlines["detection_outlines"], len(sources)),
        }

    def _compute(self, data: dict) -> float:
        return float(merged_means([data["total"]]).loc[0, "value"])

    def aggregate(self) -> pd.DataFrame:
        """Return the mean IoU of matched sources in bins.

        Columns: ``lo``, ``hi``, ``n`` (matched sources), ``value`` (mean IoU), ``error`` (its
        standard error; NaN below two sources), ``value_lo``, ``value_hi`` = value -/+ error.
        """
        return merged_means(self._parts("table"))

    def total(self) -> pd.DataFrame:
        """Return the mean IoU of all matched sources: one row, the columns of `aggregate`."""
        return merged_means(self._parts("total"))

    def class_report(self) -> pd.DataFrame:
        """Return precision, recall, F1, IoU and support of each class (see `PixelScores`)."""
        return class_report(self._pixels())

    def confusion_matrix(self) -> pd.DataFrame:
        """Return the numbers of pixels: one row per true class, one column per outlines' class."""
        return confusion_matrix(self._pixels())

    def blended_region(self) -> pd.DataFrame:
        """Return the IoU of the blended region, summed over all scenes: one row.

        Columns: ``n``, pixels that two outlines or more cover, or of true class 2; ``k``, pixels
        that are both; ``value`` = k / n, NaN without blends. (Pixels are no independent trials,
        so there is no interval.)
        """
        return blended_region(self._pixels())

    def average_precision(self) -> pd.DataFrame:
        """Return purity, completeness and average precision, one row per threshold of the IoU."""
        return self._masks().table()

    def mean_average_precision(self) -> float:
        """Return the mean of the average precision over IoU 0.5, 0.55, ..., 0.95 (COCO's AP)."""
        return self._masks().mean_average_precision()

    def purity_completeness(self) -> pd.DataFrame:
        """Return the curves of purity and completeness at each threshold of the IoU."""
        return self._masks().curve()

    def worse_than_undeblended(self) -> pd.DataFrame:
        """Return how often deblending did harm, to the sources that overlap another one.

        Asked of each source that counts and whose footprint shares a pixel with another's. If
        nothing had been deblended, all outlines that touch would be one object (`undeblended`),
        at the centroid of its light, with all their pixels. The source's match is *placed worse*
        if it is further from the true position than that centroid, and *outlined worse* if its
        IoU with the footprint is smaller than that object's. A match that shares its region with
        no other outline was not deblended, and is neither; nor is a source on no region at all.

        Returns:
            Three rows, ``quantity`` and the columns of `fractions`: ``"unmatched"``, of all these
            sources (n) those without a match (k); ``"placed_worse"`` and ``"outlined_worse"``, of
            those with a match (n) those that are (k).
        """
        return merged_counts(self._parts("worse"))

    def _pixels(self) -> np.ndarray:
        return np.sum(self._parts("pixels"), axis=0)

    def _masks(self) -> MaskPrecision:
        return sum(self._parts("masks"), MaskPrecision())

    def _parts(self, name: str) -> list:
        return [data[name] for data in check_batches(self.all_data)]


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


def outline_scores(
    sources: pd.DataFrame, counts: np.ndarray, precision: MaskPrecision
) -> pd.DataFrame:
    """Return all scores of one method: one row.

    Args:
        sources: Rows of one method of ``source_outlines``.
        counts: Of `pixel_counts`.
        precision: Of `mask_precision`.

    Returns:
        ``mean_iou`` of the matched sources; ``blended_region_iou`` (see `blended_region`);
        ``average_precision``, the mean over the thresholds of the IoU, and
        ``average_precision_50``, ``average_precision_75`` at one (NaN without probabilities); and
        the fractions ``unmatched``, ``placed_worse``, ``outlined_worse`` of
        `worse_than_undeblended`. With each its ``_n``, ``_k`` and interval ``_lo`` to ``_hi``,
        where there is one.
    """
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
