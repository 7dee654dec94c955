"""A deblender that knows the truth, and says it with the probabilities that it is told to say."""

import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendExample
from btk.deblend import Deblender

from tests.evaluation.conftest import detection_table


class Oracle(Deblender):
    """Returns the true positions as candidates, and the surer ones as detections.

    Args:
        p_detect: Probabilities of the sources of a scene; more sources begin anew with them.
        threshold: Smallest probability of a detection.
        max_n_sources: One less than the length of the count posterior.
        spurious: Probability of one more candidate, in the corner, in each scene; none if 0.
    """

    def __init__(self, p_detect=(0.9,), threshold=0.5, max_n_sources=30, spurious=0.0):
        super().__init__(max_n_sources)
        self.p_detect = p_detect
        self.threshold = threshold
        self.spurious = spurious

    def deblend(self, ii: int, blend_batch: BlendBatch) -> DeblendExample:
        """Tell the truth."""
        truth = blend_batch.catalog_list[ii]
        x, y = np.asarray(truth["x_peak"], float), np.asarray(truth["y_peak"], float)
        p_detect = np.resize(self.p_detect, len(truth))
        if self.spurious:
            x, y = np.append(x, 5.0), np.append(y, 5.0)
            p_detect = np.append(p_detect, self.spurious)
        candidates = Table({"x_peak": x, "y_peak": y, "p_detect": p_detect})
        sure = p_detect >= self.threshold
        posterior = np.zeros(self.max_n_sources + 1)
        posterior[len(truth)] = 1.0
        return DeblendExample(
            self.max_n_sources,
            detection_table(blend_batch, x[sure], y[sure], p_detect=p_detect[sure]),
            n_bands=1,
            image_size=blend_batch.image_size,
            extra_data={"candidates": candidates, "count_posterior": posterior},
        )
