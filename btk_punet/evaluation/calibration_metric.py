"""Is a detection with ``p_detect = 0.8`` a matched one in 8 of 10 cases? As a BTK metric."""

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric

from btk_punet.errors import InputError
from btk_punet.evaluation.bins import Edges, check_edges
from btk_punet.evaluation.calibration import N_BINS, Reliability
from btk_punet.evaluation.metrics import tables_of_one


class Calibration(Metric):
    """Reliability of ``p_detect``: the fraction of detections that match, beside what was said.

    Called as ``metric(blend_batch, deblend_batch, matching=None)`` on the output of a deblender
    with ``p_detect`` in its catalogs; returns the expected calibration error of the batch (NaN
    without detections). Detections count in bounds only, as for the purity.

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the bins, of equal width from 0 to 1; ten bins if None.

    Raises:
        InputError: if the bins are not of equal width from 0 to 1.
    """

    def __init__(self, batch_size: int | None = None, edges: Edges | None = None):
        super().__init__(batch_size)
        self.edges = np.arange(N_BINS + 1) / N_BINS if edges is None else check_edges(edges)
        if not np.allclose(self.edges, np.linspace(0, 1, len(self.edges)), rtol=0, atol=1e-9):
            raise InputError(
                "edges must be equally far apart from 0 to 1, such as "
                f"np.linspace(0, 1, {len(self.edges)}); got {edges}."
            )

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,
    ) -> dict:
        _, detections = tables_of_one(blend_batch, deblend_batch, matching)
        counted = detections[detections["in_bounds"]]
        if counted["p_detect"].isna().any():
            raise InputError(
                "Every detection must have a p_detect to be calibrated, got NaN or a catalog "
                "without that column: the detector does not say how sure it is."
            )
        reliability = Reliability(len(self.edges) - 1)
        reliability.add(counted["p_detect"].to_numpy(float), counted["matched"].to_numpy(bool))
        return {"reliability": reliability}

    def _compute(self, data: dict) -> float:
        return data["reliability"].expected_calibration_error()

    def aggregate(self) -> pd.DataFrame:
        """Return the table of `Reliability` over all batches: one row a bin of ``p_detect``."""
        return self.reliability().table()

    def reliability(self) -> Reliability:
        """Return the reliability over all batches, which has the scores, too.

        These are its ``expected_calibration_error()``, ``brier_score()`` and ``brier_skill()``.
        """
        if not self.all_data:
            raise InputError("Nothing to aggregate: call the metric on a batch first.")
        return sum(
            (data["reliability"] for data in self.all_data), Reliability(len(self.edges) - 1)
        )
