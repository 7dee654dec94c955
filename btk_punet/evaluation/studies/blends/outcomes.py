"""Which fraction of the blends is recognized, unrecognized, shredded, undetected or merged?

What the words mean is in `btk_punet.evaluation.studies.blends.regions`.
"""

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.deblend import Deblender
from btk.match import Matching
from btk.metrics.base import Metric

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import NEIGHBOUR_DISTANCE_EDGES, SNR_EDGES
from btk_punet.evaluation.scoring.alone import check_deblender
from btk_punet.evaluation.statistics.fractions import (
    Edges,
    binned_fraction,
    check_edges,
    fractions,
)
from btk_punet.evaluation.studies.blends.regions import (
    COMBINATIONS,
    OUTCOMES,
    check_options,
    region_table,
)
from btk_punet.evaluation.studies.detection.metrics import tables_of_one

# Column of the region table to bin by -> edges of its bins [lo, hi).
OUTCOME_EDGES: dict[str, tuple[float, ...]] = {
    "neighbour_distance_arcsec": NEIGHBOUR_DISTANCE_EDGES,
    "magnitude_difference": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.inf),
    "limit_snr": SNR_EDGES,
}


def outcome_table(
    regions: pd.DataFrame, by: str = "neighbour_distance_arcsec", edges: Edges | None = None
) -> pd.DataFrame:
    """Return what fraction of the regions of one method has each outcome, in bins.

    Args:
        regions: Rows of one method of `region_table`.
        by: Column to bin by, one of `OUTCOME_EDGES`.
        edges: Edges of the bins; `OUTCOME_EDGES` if None.

    Returns:
        One row an outcome and bin: ``outcome``, ``lo``, ``hi``, ``n`` (regions in the bin), ``k``
        (those of this outcome), ``value``, ``value_lo``, ``value_hi``.
    """
    edges = _checked_edges(by, edges)
    tables = []
    for outcome in OUTCOMES:
        table = binned_fraction(regions[by], regions["outcome"] == outcome, edges)
        table.insert(0, "outcome", outcome)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def outcome_totals(regions: pd.DataFrame) -> pd.DataFrame:
    """Return the fractions of `outcome_table` over everything: one row an outcome."""
    table = _totals(regions["outcome"], OUTCOMES)
    table.insert(0, "outcome", OUTCOMES)
    return table


def combination_totals(regions: pd.DataFrame) -> pd.DataFrame:
    """Return the fraction of each combination of s and b with n, so that none is lost in other.

    Args:
        regions: Rows of one method of `region_table`.

    Returns:
        One row a combination: ``combination``, ``outcome`` and the columns of `fractions`.
    """
    table = _totals(regions["combination"], tuple(COMBINATIONS))
    table.insert(0, "outcome", list(COMBINATIONS.values()))
    table.insert(0, "combination", list(COMBINATIONS))
    return table


class BlendOutcomes(Metric):
    """What becomes of blends: recognized, unrecognized, shredded, undetected, merged or other.

    Called as ``metric(blend_batch, deblend_batch, matching=None)`` on the output of the deblender
    that it holds, and runs that on each source alone. Returns the fraction of the batch's blends
    that are recognized (NaN without a blend).

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the bins; `OUTCOME_EDGES` if None.
        by: What to bin by: ``"neighbour_distance_arcsec"`` (of the closest two sources of the
            blend), ``"magnitude_difference"`` (of the brightest two) or ``"limit_snr"`` (of the
            hardest).
        k: A pixel belongs to a source above this [sigma of the background].
        least_sources: Smallest number of sources of a region that is counted: with 1, sources
            that nothing overlaps count as well.
        deblender: The deblender that is measured, with the settings that it ran with.

    Example:
        >>> outcomes = BlendOutcomes(deblender=sep)  # doctest: +SKIP
        >>> outcomes(blend_batch, sep(blend_batch))  # doctest: +SKIP
        0.58

    Raises:
        InputError, InputTypeError: for arguments that cannot be used.
    """

    def __init__(
        self,
        batch_size: int | None = None,
        edges: Edges | None = None,
        by: str = "neighbour_distance_arcsec",
        k: float = 1.0,
        least_sources: int = 2,
        *,
        deblender: Deblender,
    ):
        super().__init__(batch_size)
        check_options(k, least_sources)
        check_deblender(deblender)
        self.edges = _checked_edges(by, edges)
        self.by = by
        self.k = k
        self.least_sources = least_sources
        self.deblender = deblender

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,
    ) -> dict:
        truth, detections = tables_of_one(blend_batch, deblend_batch, matching, with_limit=True)
        regions = region_table(
            blend_batch,
            truth,
            detections,
            {"method": self.deblender},
            k=self.k,
            least_sources=self.least_sources,
        )
        return {
            "regions": regions.drop(columns="method"),
            "n_scenes": blend_batch.batch_size,
        }

    def _compute(self, data: dict) -> float:
        return float(outcome_totals(data["regions"]).loc[0, "value"])

    def aggregate(self) -> pd.DataFrame:
        """Return the fractions over all batches, as `outcome_table` gives them."""
        return outcome_table(self.regions(), self.by, self.edges)

    def total(self) -> pd.DataFrame:
        """Return the fractions over everything, bins left aside: one row an outcome."""
        return outcome_totals(self.regions())

    def combinations(self) -> pd.DataFrame:
        """Return the fraction of each combination of s and b with n (`combination_totals`)."""
        return combination_totals(self.regions())

    def regions(self) -> pd.DataFrame:
        """Return a row a region, as `region_table` does, of all batches; scenes count on.

        For the fractions by another quantity: ``outcome_table(metric.regions(), "limit_snr")``.
        """
        if not self.all_data:
            raise InputError("Nothing to aggregate: call the metric on a batch first.")
        tables, first_scene = [], 0
        for data in self.all_data:
            table = data["regions"]
            tables.append(table.assign(scene=table["scene"] + first_scene))
            first_scene += data["n_scenes"]
        return pd.concat(tables, ignore_index=True)


def _totals(names: pd.Series, known: tuple[str, ...]) -> pd.DataFrame:
    k = np.array([(names == name).sum() for name in known])
    return fractions(np.full(len(known), len(names)), k)


def checked_by(by: str) -> str:
    """Return ``by``, after checking that it is one of `OUTCOME_EDGES`."""
    if by not in OUTCOME_EDGES:
        raise InputError(f"by must be one of {list(OUTCOME_EDGES)}, got {by!r}.")
    return by


def _checked_edges(by: str, edges: Edges | None) -> np.ndarray:
    defaults = OUTCOME_EDGES[checked_by(by)]
    return check_edges(defaults if edges is None else edges)
