"""How many sources are there? The posterior of the number in a scene, against the true number."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.evaluation.scoring.candidates import extra_of_scenes
from btk_punet.evaluation.statistics.counts import (
    count_transform,
    largest_gap,
    posteriors_of,
    true_counts,
)

# The distance of Kolmogorov and Smirnov, times the root of the number of values, that uniform
# values exceed in one case of 20.
_GAP_BY_CHANCE = 1.36


def batch_counts(
    blend_batch: BlendBatch,
    deblend_batches: Mapping[str, DeblendBatch],
    truth: pd.DataFrame,
    first_scene: int = 0,
) -> pd.DataFrame | None:
    """Return the posteriors of the number of sources of a batch, beside the true numbers.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name; methods without ``count_posterior``
            in their ``extra_data`` are left out.
        truth: Truth table of `batch_tables` of these.
        first_scene: Number of the batch's first scene in the run.

    Returns:
        One row per scene: ``scene``, ``method``, ``true_count`` (sources with ``alone_snr > 2``
        whose centre is in the image) and the probabilities ``p_0``, ``p_1``, ... of so many, the
        last one of so many or more. None if no method has posteriors.
    """
    tables = []
    for method, scenes in extra_of_scenes(deblend_batches, "count_posterior").items():
        own = truth[truth["method"] == method]
        own = own.assign(scene=own["scene"] - first_scene)
        posteriors = np.array([np.asarray(posterior, float) for posterior in scenes])
        table = pd.DataFrame({"scene": np.arange(first_scene, first_scene + len(scenes))})
        table["method"] = method
        table["true_count"] = true_counts(own, blend_batch.image_size, len(scenes))
        of_counts = pd.DataFrame(posteriors, columns=[f"p_{k}" for k in range(posteriors.shape[1])])
        tables.append(pd.concat([table, of_counts], axis=1))
    return pd.concat(tables, ignore_index=True) if tables else None


def count_gap(counts: pd.DataFrame) -> dict[str, float]:
    """Return how far the posteriors of the number of sources of one method are from right.

    Args:
        counts: Its rows of `batch_counts`; none if it has no posteriors.

    Returns:
        ``n_scenes``; ``largest_count_gap``, that between the distribution of the transforms of
        the true counts (see `count_transform`) and the uniform one; and ``count_gap_by_chance``,
        which right posteriors exceed in one case of 20.
    """
    n_scenes = len(counts)
    transform = (
        count_transform(posteriors_of(counts), counts["true_count"]) if n_scenes else np.zeros(0)
    )
    return {
        "n_scenes": n_scenes,
        "largest_count_gap": largest_gap(transform),
        "count_gap_by_chance": _GAP_BY_CHANCE / n_scenes**0.5 if n_scenes else np.nan,
    }
