"""How well are blended sources outlined? As a BTK metric, for any deblender with a segmentation."""

from typing import Any

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric

from btk_punet.errors import InputError
from btk_punet.evaluation.average_precision import MaskPrecision
from btk_punet.evaluation.binned_means import binned_sums, merged_means
from btk_punet.evaluation.map_scores import source_footprints
from btk_punet.evaluation.masks import mask_iou, undeblended
from btk_punet.evaluation.metrics import (
    COMPLETENESS_BY,
    DEFAULT_EDGES,
    Edges,
    check_by,
    check_edges,
    fractions,
    merged_counts,
    tables_of_one,
)
from btk_punet.evaluation.pixels import PixelScores
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import pixel_scale_arcsec, reference_band

_QUESTIONS = ("unmatched", "placed_worse", "outlined_worse")


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
        self.edges = check_edges(DEFAULT_EDGES[by] if edges is None else edges)
        self.k = k

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,
    ) -> dict:
        segmentation = _segmentation(blend_batch, deblend_batch)
        truth, detections = tables_of_one(
            blend_batch, deblend_batch, matching, with_limit=self.by == "limit_snr"
        )
        data: dict[str, Any] = {"pixels": PixelScores(), "masks": MaskPrecision()}
        matched, worse = [truth.iloc[:0].assign(iou=0.0)], np.zeros((len(_QUESTIONS), 2), int)
        for scene in range(blend_batch.batch_size):
            found = detections[detections["scene"] == scene]
            sources = truth[truth["scene"] == scene]
            masks = segmentation[scene, : len(found)]
            footprints = source_footprints(
                blend_batch, scene, reference_band(blend_batch.survey), self.k
            )
            _count_classes(data["pixels"], masks, footprints)

            iou = mask_iou(masks, footprints)
            outlined = footprints.any(axis=(1, 2))
            counts = sources["counts"].to_numpy(bool) & outlined
            can_match = sources["alone_snr"].to_numpy() > NEIGHBOUR_SNR
            data["masks"].add(
                iou[:, can_match],
                found["p_detect"].to_numpy(),
                found["in_bounds"].to_numpy(bool),
                counts[can_match],
            )
            detection = sources["detection"].to_numpy()
            paired = detection >= 0
            of_match = np.zeros(len(sources))
            of_match[paired] = iou[detection[paired], np.flatnonzero(paired)]
            sources = sources.assign(iou=of_match)
            matched.append(sources[counts & paired])
            overlapped = (footprints & (footprints.sum(axis=0) > 1)).any(axis=(1, 2))
            asked = counts & overlapped
            worse += _harm(blend_batch, scene, masks, footprints[asked], sources[asked])
        everything = pd.concat(matched, ignore_index=True)
        data["table"] = binned_sums(everything[self.by], everything["iou"], self.edges)
        whole = np.zeros(len(everything))
        data["total"] = binned_sums(whole, everything["iou"], (-np.inf, np.inf))
        data["worse"] = fractions(*worse.T)
        data["worse"].insert(0, "quantity", _QUESTIONS)
        return data

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
        return self._pixels().report()

    def confusion_matrix(self) -> pd.DataFrame:
        """Return the numbers of pixels: a row a true class, a column what the outlines say."""
        return self._pixels().confusion_matrix()

    def blended_region(self) -> pd.DataFrame:
        """Return the IoU of the blended region, summed over all scenes: one row.

        Columns: ``n``, pixels that two outlines or more cover, or of true class 2; ``k``, pixels
        that are both; ``value`` = k / n, NaN without blends. (Pixels are no independent trials,
        so there is no interval.)
        """
        matrix = self.confusion_matrix()
        both = matrix.loc["blended", "blended"]
        either = matrix.loc["blended"].sum() + matrix["blended"].sum() - both
        value = both / either if either else np.nan
        return pd.DataFrame({"n": [either], "k": [both], "value": [value]})

    def average_precision(self) -> pd.DataFrame:
        """Return purity, completeness and average precision, a row a threshold of the IoU."""
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

    def _pixels(self) -> PixelScores:
        return sum(self._parts("pixels"), PixelScores())

    def _masks(self) -> MaskPrecision:
        return sum(self._parts("masks"), MaskPrecision())

    def _parts(self, name: str) -> list:
        if not self.all_data:
            raise InputError("Nothing to aggregate: call the metric on a batch first.")
        return [data[name] for data in self.all_data]


def _segmentation(blend_batch: BlendBatch, deblend_batch: DeblendBatch) -> np.ndarray:
    segmentation = deblend_batch.segmentation
    if segmentation is None:
        raise InputError(
            "deblend_batch must have a segmentation, bool (batch, max_n_sources, H, W), got None: "
            "outlines are measured of deblenders that give them, such as ProbaUNetDeblender, "
            "SepDeblender or BTK's SepSingleBand."
        )
    size = blend_batch.image_size
    expected = (blend_batch.batch_size, deblend_batch.max_n_sources, size, size)
    if segmentation.shape != expected:
        raise InputError(
            f"segmentation must have the shape {expected} of the batch of blends, got "
            f"{segmentation.shape}: give the blend_batch that was deblended."
        )
    return np.asarray(segmentation, bool)


def _count_classes(pixels: PixelScores, masks: np.ndarray, footprints: np.ndarray) -> None:
    """Count how many outlines cover each pixel, and how many footprints do."""
    said, true = (np.minimum(of.sum(axis=0), 2) for of in (masks, footprints))
    pixels.add(np.eye(3)[said][None], true[None])


def _harm(
    blend_batch: BlendBatch,
    scene: int,
    masks: np.ndarray,
    footprints: np.ndarray,
    sources: pd.DataFrame,
) -> np.ndarray:
    """Return the numbers (n, k) of `SegmentationReport.worse_than_undeblended` in a scene.

    Args:
        blend_batch: The scenes.
        scene: Number of the scene in the batch.
        masks: Outlines of all detections, shape (m, H, W).
        footprints: Of the sources asked about, shape (n, H, W).
        sources: Their rows of the truth table, with the ``iou`` of their match.
    """
    found = sources["matched"].to_numpy(bool)
    sources, n_asked, n_found = sources[found], len(found), int(found.sum())
    survey = blend_batch.survey
    image = blend_batch.blend_images[scene, reference_band(survey)]
    whole = undeblended(masks, footprints[found], sources["detection"].to_numpy(), image)
    error = pixel_scale_arcsec(survey) * np.hypot(whole.x - sources["x"], whole.y - sources["y"])
    placed_worse = whole.deblended & (sources["match_distance_arcsec"] > error)
    outlined_worse = whole.deblended & (sources["iou"] < whole.iou)
    return np.array(
        [
            [n_asked, n_asked - n_found],
            [n_found, placed_worse.sum()],
            [n_found, outlined_worse.sum()],
        ]
    )
