"""Completeness, purity and detection efficiency as BTK metrics, called batch by batch."""

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric

from btk_punet.evaluation.scoring.batch import tables_of_one
from btk_punet.evaluation.scoring.counting import (
    column_fractions,
    completeness_table,
    completeness_total,
    count_matrix,
    efficiency_table,
    purity_table,
    purity_total,
)
from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    PURITY_BY,
    Edges,
    check_by,
    check_edges,
    edges_of,
    merged_counts,
)


class _CountMetric(Metric):
    """A BTK metric that keeps counts, so that batches can be merged exactly.

    Called as ``metric(blend_batch, deblend_batch, matching=None)`` on any BTK deblender's output;
    returns the fraction over the whole batch (NaN without sources or detections).
    """

    by_options: tuple[str, ...] = ()

    def __init__(
        self,
        batch_size: int | None = None,
        edges: Edges | None = None,
        by: str = "magnitude",
    ):
        super().__init__(batch_size)
        self.by = check_by(by, self.by_options)
        self.edges = check_edges(edges_of(by, edges))

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,
    ) -> dict:
        truth, detections = tables_of_one(
            blend_batch, deblend_batch, matching, with_limit=self.by == "limit_snr"
        )
        return self._count(truth, detections, blend_batch.batch_size)

    def _count(self, truth: pd.DataFrame, detections: pd.DataFrame, n_scenes: int) -> dict:
        raise NotImplementedError

    def _compute(self, data: dict) -> float:
        n = data["total"]["n"].sum()
        return float(data["total"]["k"].sum() / n) if n else float("nan")

    def aggregate(self) -> pd.DataFrame:
        """Return the table over all batches: ``lo, hi, n, k, value, value_lo, value_hi``."""
        return merged_counts([data["table"] for data in self.all_data])

    def total(self) -> pd.DataFrame:
        """Return the figure over everything, bins left aside: one row, the columns as above."""
        return merged_counts([data["total"] for data in self.all_data])


class Completeness(_CountMetric):
    """Completeness (recall): matched sources over the sources that count.

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
        by: Column of the truth table to bin by, one of `COMPLETENESS_BY`.
    """

    by_options = COMPLETENESS_BY

    def _count(self, truth: pd.DataFrame, detections: pd.DataFrame, n_scenes: int) -> dict:
        return {
            "table": completeness_table(truth, self.by, self.edges),
            "total": completeness_total(truth),
        }


class Purity(_CountMetric):
    """Purity (precision): matched detections over detections.

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
        by: ``"magnitude"`` (aperture) or ``"neighbour_distance_arcsec"`` (nearest detection).
    """

    by_options = PURITY_BY

    def _count(self, truth: pd.DataFrame, detections: pd.DataFrame, n_scenes: int) -> dict:
        return {
            "table": purity_table(detections, self.by, self.edges),
            "total": purity_total(detections),
        }


class DetectionEfficiency(_CountMetric):
    """Completeness in magnitude and neighbour distance at once, and BTK's count matrix.

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the neighbour distance [arcsec]; `DEFAULT_EDGES` if None.
        magnitude_edges: Edges of the magnitude; `DEFAULT_EDGES` if None.
    """

    by_options = ("neighbour_distance_arcsec",)

    def __init__(
        self,
        batch_size: int | None = None,
        edges: Edges | None = None,
        magnitude_edges: Edges | None = None,
    ):
        super().__init__(batch_size, edges, "neighbour_distance_arcsec")
        self.magnitude_edges = check_edges(edges_of("magnitude", magnitude_edges))

    def _count(self, truth: pd.DataFrame, detections: pd.DataFrame, n_scenes: int) -> dict:
        return {
            "table": efficiency_table(truth, self.magnitude_edges, self.edges),
            "total": completeness_total(truth),
            "count_matrix": count_matrix(truth, n_scenes),
        }

    def count_matrix(self) -> np.ndarray:
        """Return the number of scenes with (found, true) sources that count, over all batches."""
        matrices = [data["count_matrix"] for data in self.all_data]
        shape = np.max([matrix.shape for matrix in matrices], axis=0) if matrices else (1, 1)
        total = np.zeros(shape, int)
        for matrix in matrices:
            total[: matrix.shape[0], : matrix.shape[1]] += matrix
        return total

    def efficiency_matrix(self) -> np.ndarray:
        """Return the count matrix divided by the sums of its columns."""
        return column_fractions(self.count_matrix())
