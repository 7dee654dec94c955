"""What is true of the detections that a method calls blended with ``p_blend``."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.evaluation.scoring.maps import source_footprints
from btk_punet.evaluation.scoring.masks import overlapped
from btk_punet.simulation.survey import reference_band


def blend_probabilities(
    blend_batch: BlendBatch,
    deblend_batches: Mapping[str, DeblendBatch],
    detections: pd.DataFrame,
    first_scene: int = 0,
) -> pd.DataFrame:
    """Return the matched detections in bounds of methods with ``p_blend``, and whether it is so.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name; those with a catalog without a column
            ``p_blend`` are left out, and so are single detections for which it is NaN.
        detections: Detection table of `batch_tables` of these.
        first_scene: Number of the batch's first scene in the table.

    Returns:
        Rows of the detection table, with ``p_blend`` and ``overlapped``, whether the footprint of
        the matched source (see `source_footprints`) shares a pixel with that of another source.
        Detections without a source are left out, for which there is nothing to be true.
    """
    parts = []
    footprints: dict[int, np.ndarray] = {}
    for method, found in deblend_batches.items():
        if not says_p_blend(found):
            continue
        own = detections[detections["method"] == method]
        p_blend = np.concatenate([np.asarray(t["p_blend"], float) for t in found.catalog_list])
        own = own.assign(p_blend=p_blend)
        own = own[own["matched"] & own["in_bounds"] & own["p_blend"].notna()]
        for number, rows in own.groupby("scene"):
            scene = int(number) - first_scene
            if scene not in footprints:
                band = reference_band(blend_batch.survey)
                footprints[scene] = overlapped(source_footprints(blend_batch, scene, band))
            parts.append(rows.assign(overlapped=footprints[scene][rows["source"]]))
    nothing = detections[:0].assign(p_blend=0.0, overlapped=False)
    return pd.concat(parts or [nothing], ignore_index=True)


def says_p_blend(deblend_batch: DeblendBatch) -> bool:
    """Tell whether all catalogs of a method, one or more, have a column ``p_blend``."""
    catalogs = deblend_batch.catalog_list
    return len(catalogs) > 0 and all("p_blend" in catalog.colnames for catalog in catalogs)
