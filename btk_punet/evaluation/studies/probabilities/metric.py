"""Of what is predicted with a probability of 0.8, are 8 in 10 true? As a BTK metric."""

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching
from btk.metrics.base import Metric

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.batch import tables_of_one
from btk_punet.evaluation.statistics.counts import (
    count_transform,
    most_probable_counts,
    true_counts,
)
from btk_punet.evaluation.statistics.fractions import Edges, check_batches, check_edges
from btk_punet.evaluation.statistics.reliability import N_BINS, Reliability
from btk_punet.evaluation.studies.probabilities.blends import blend_probabilities, has_p_blend
from btk_punet.evaluation.studies.probabilities.calibration import QUANTITIES
from btk_punet.evaluation.studies.probabilities.classes import lit_pixels
from btk_punet.simulation.labels import CLASS_NAMES


class Calibration(Metric):
    """Reliability of probabilities: the observed fraction beside the mean predicted probability.

    Called as ``metric(blend_batch, deblend_batch, matching=None)`` on the output of a deblender
    that predicts the quantity; returns the expected calibration error of the batch (NaN without
    any).

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the bins, of equal width from 0 to 1; ten bins if None.
        quantity: What is predicted:

            - ``"p_detect"``, in the catalogs: that a detection is matched. Detections count in
              bounds only, as for the purity.
            - ``"p_blend"``, in the catalogs: that the footprint of the source of a matched
              detection in bounds is overlapped by another's.
            - ``"count"``, ``count_posterior`` in the extra_data: that the most probable number of
              sources is the true one. `transforms` are those of the whole posteriors.
            - ``"background"``, ``"isolated"``, ``"blended"``, ``class_probability`` in the
              extra_data: that a pixel is of this class, where p(background) < 0.9.

    Raises:
        InputError: if the bins are not of equal width from 0 to 1, or the quantity is not known.
    """

    def __init__(
        self,
        batch_size: int | None = None,
        edges: Edges | None = None,
        quantity: str = "p_detect",
    ):
        super().__init__(batch_size)
        self.edges = np.arange(N_BINS + 1) / N_BINS if edges is None else check_edges(edges)
        if not np.allclose(self.edges, np.linspace(0, 1, len(self.edges)), rtol=0, atol=1e-9):
            raise InputError(
                "edges must be equally far apart from 0 to 1, such as "
                f"np.linspace(0, 1, {len(self.edges)}); got {edges}."
            )
        if quantity not in QUANTITIES:
            raise InputError(f"quantity must be one of {list(QUANTITIES)}, got {quantity!r}.")
        self.quantity = quantity

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,
    ) -> dict:
        data: dict = {"reliability": Reliability(len(self.edges) - 1)}
        if self.quantity in CLASS_NAMES:
            pixels = lit_pixels(blend_batch, deblend_batch)
            number = CLASS_NAMES.index(self.quantity)
            probability, outcome = pixels.probability[:, number], pixels.true_class == number
        else:
            truth, found = tables_of_one(blend_batch, deblend_batch, matching)
            if self.quantity == "p_detect":
                probability, outcome = _p_detect(found)
            elif self.quantity == "p_blend":
                probability, outcome = _p_blend(blend_batch, deblend_batch, found)
            else:
                posteriors = _posteriors(blend_batch, deblend_batch)
                counts = true_counts(truth, blend_batch.image_size, blend_batch.batch_size)
                probability, outcome = most_probable_counts(posteriors, counts)
                data |= {"posteriors": posteriors, "counts": counts}
        data["reliability"].add(probability, outcome)
        return data

    def _compute(self, data: dict) -> float:
        return data["reliability"].expected_calibration_error()

    def aggregate(self) -> pd.DataFrame:
        """Return the table of `Reliability` over all batches, one row per bin."""
        return self.reliability().table()

    def reliability(self) -> Reliability:
        """Return the reliability over all batches, which has the scores, too.

        These are its ``expected_calibration_error()``, ``brier_score()`` and ``brier_skill()``.
        """
        parts = [data["reliability"] for data in check_batches(self.all_data)]
        return sum(parts, Reliability(len(self.edges) - 1))

    def transforms(self) -> np.ndarray:
        """Return the transforms of the true counts over all batches (see `count_transform`).

        They are uniform from 0 to 1 if the posteriors are right, and do not depend on the order of
        the batches.

        Raises:
            InputError: for another quantity than ``"count"``.
        """
        if self.quantity != "count":
            raise InputError(
                f"Only counts have transforms, got quantity {self.quantity!r}: make "
                'Calibration(quantity="count").'
            )
        batches = check_batches(self.all_data)
        posteriors = np.concatenate([data["posteriors"] for data in batches])
        counts = np.concatenate([data["counts"] for data in batches])
        # Sorted, since the random numbers are drawn in the order of the scenes.
        order = np.lexsort((*posteriors.T, counts))
        return count_transform(posteriors[order], counts[order])


def _p_detect(found: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    counted = found[found["in_bounds"]]
    if counted["p_detect"].isna().any():
        raise InputError(
            "Every detection must have a p_detect to be calibrated, got NaN or a catalog "
            "without that column: the detector does not state how sure it is."
        )
    return counted["p_detect"].to_numpy(float), counted["matched"].to_numpy(bool)


def _p_blend(
    blend_batch: BlendBatch, deblend_batch: DeblendBatch, found: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    if not has_p_blend(deblend_batch):
        raise InputError(
            "Every catalog must have a column p_blend to be calibrated, got "
            f"{[t.colnames for t in deblend_batch.catalog_list[:1]]}: the detector does not state "
            "what is blended."
        )
    (method,) = set(found["method"]) or {""}
    rows = blend_probabilities(blend_batch, {method: deblend_batch}, found)
    return rows["p_blend"].to_numpy(float), rows["overlapped"].to_numpy(bool)


def _posteriors(blend_batch: BlendBatch, deblend_batch: DeblendBatch) -> np.ndarray:
    extra_data = deblend_batch.extra_data
    if (
        extra_data is None
        or len(extra_data) != blend_batch.batch_size
        or not all("count_posterior" in extra for extra in extra_data)
    ):
        raise InputError(
            "extra_data must hold a 'count_posterior' for each scene to be calibrated: the "
            "detector does not state how many sources there are."
        )
    posteriors = [np.asarray(extra["count_posterior"], float) for extra in extra_data]
    return np.array(posteriors).reshape(len(posteriors), -1)
