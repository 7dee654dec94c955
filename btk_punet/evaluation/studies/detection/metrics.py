"""Completeness, purity and detection efficiency: counts first, then fractions with intervals.

*Completeness* is recall: matched sources over true sources. *Purity* is precision: matched
detections over detections. Every figure is a sum of counts over all scenes, then one division;
never a mean of ratios. The functions count from the tidy tables of `batch_tables`; the
classes are BTK ``Metric`` objects, called batch by batch.
"""

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric
from btk.metrics.utils import effmat

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    PURITY_BY,
    Edges,
    bin_numbers,
    binned_fraction,
    check_by,
    check_edges,
    edges_of,
    fractions,
    merged_counts,
)

# A method that found every source above this `limit_snr`, and no other, is at the ceiling.
CEILING_SNR = 5.0


def completeness_table(
    truth: pd.DataFrame, by: str = "magnitude", edges: Edges | None = None
) -> pd.DataFrame:
    """Return the completeness of one method: the fraction of the sources that count and are found.

    Args:
        truth: Rows of one method of the truth table.
        by: Column to bin by, one of `COMPLETENESS_BY`.
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
    """
    counted = _counted(truth)
    return binned_fraction(
        counted[check_by(by, COMPLETENESS_BY)], counted["matched"], edges_of(by, edges)
    )


def ceiling_table(
    truth: pd.DataFrame, by: str = "magnitude", edges: Edges | None = None
) -> pd.DataFrame:
    """Return the information ceiling: the completeness if just ``limit_snr > 5`` were found.

    Args are those of `completeness_table`; the rows of any one method will do.
    """
    return completeness_table(at_ceiling(truth), by, edges)


def at_ceiling(truth: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as if just the sources with ``limit_snr > 5`` were matched.

    Rows whose ``limit_snr`` was not computed (NaN) are left out: their ceiling is not known.
    """
    known = truth[truth["limit_snr"].notna()]
    return known.assign(matched=known["limit_snr"] > CEILING_SNR)


def purity_table(
    detections: pd.DataFrame, by: str = "magnitude", edges: Edges | None = None
) -> pd.DataFrame:
    """Return the purity of one method: the fraction of its detections that match a source.

    By magnitude, a last row with ``lo = hi = inf`` holds the detections whose aperture flux is
    not above 0.

    Args:
        detections: Rows of one method of the detection table.
        by: ``"magnitude"`` (in an aperture, the same for every method) or
            ``"neighbour_distance_arcsec"`` (to the nearest other detection).
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
    """
    counted = detections[detections["in_bounds"]]
    values = counted[check_by(by, PURITY_BY)]
    if by != "magnitude":
        return binned_fraction(values, counted["matched"], edges_of(by, edges))
    dark = np.isinf(values)
    table = binned_fraction(values[~dark], counted["matched"][~dark], edges_of(by, edges))
    row = fractions(np.array([dark.sum()]), np.array([counted["matched"][dark].sum()]))
    row.insert(0, "hi", np.inf)
    row.insert(0, "lo", np.inf)
    return pd.concat([table, row], ignore_index=True)


def efficiency_table(
    truth: pd.DataFrame,
    magnitude_edges: Edges | None = None,
    distance_edges: Edges | None = None,
) -> pd.DataFrame:
    """Return the completeness of one method in magnitude and neighbour distance at once.

    Returns:
        One row a cell: ``magnitude_lo``, ``magnitude_hi``, ``lo``, ``hi`` (neighbour distance
        [arcsec]) and the columns of `fractions`.
    """
    magnitude_edges = check_edges(edges_of("magnitude", magnitude_edges))
    counted = _counted(truth)
    which = bin_numbers(counted["magnitude"].to_numpy(float), magnitude_edges)
    tables = []
    for number, (low, high) in enumerate(
        zip(magnitude_edges[:-1], magnitude_edges[1:], strict=True)
    ):
        table = completeness_table(
            counted[which == number], "neighbour_distance_arcsec", distance_edges
        )
        table.insert(0, "magnitude_hi", high)
        table.insert(0, "magnitude_lo", low)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def count_matrix(truth: pd.DataFrame, n_scenes: int | None = None) -> np.ndarray:
    """Return BTK's count matrix: the number of scenes with (found, true) sources that count.

    Args:
        truth: Rows of one method of the truth table.
        n_scenes: Number of scenes. If None, those without any source, which are not in the truth
            table, are left out; as BTK does it, they belong in the cell (0, 0).

    Returns:
        Array of shape (most found + 1, most true + 1), int.
    """
    by_scene = _counted(truth).groupby("scene")["matched"]
    true, found = by_scene.size().to_numpy(), by_scene.sum().to_numpy(int)
    # Scenes of which no source counts have their own cell.
    n_scenes = truth["scene"].nunique() if n_scenes is None else n_scenes
    true = np.append(true, np.zeros(n_scenes - len(true), int))
    found = np.append(found, np.zeros(len(true) - len(found), int))
    return effmat(found, true).astype(int) if len(true) else np.zeros((1, 1), int)


def column_fractions(counts: np.ndarray) -> np.ndarray:
    """Return a count matrix divided by the sums of its columns; NaN in a column without counts."""
    total = counts.sum(axis=0, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan)


def tables_of_one(
    blend_batch: BlendBatch,
    deblend_batch: DeblendBatch,
    matching: Matching | None = None,
    with_limit: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the truth and detection tables of one method, matched here if no matching is given."""
    matchings = None if matching is None else {"method": matching}
    return batch_tables(
        blend_batch, {"method": deblend_batch}, matchings=matchings, with_limit=with_limit
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


def completeness_total(truth: pd.DataFrame) -> pd.DataFrame:
    """Return the completeness of one method over everything: one row, the columns of `fractions`.

    A set's information ceiling is that of ``at_ceiling(truth)``.
    """
    counted = _counted(truth)
    return fractions(np.array([len(counted)]), np.array([counted["matched"].sum()]))


def purity_total(detections: pd.DataFrame) -> pd.DataFrame:
    """Return the purity of one method over everything: one row, the columns of `fractions`."""
    counted = detections[detections["in_bounds"]]
    return fractions(np.array([len(counted)]), np.array([counted["matched"].sum()]))


def _counted(truth: pd.DataFrame) -> pd.DataFrame:
    return truth[truth["counts"]]
