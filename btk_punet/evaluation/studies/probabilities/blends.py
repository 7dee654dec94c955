"""Is the source of a detection overlapped by another, as ``p_blend`` predicts?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.evaluation.quantities import METHOD, Column
from btk_punet.evaluation.scoring.maps import source_footprints
from btk_punet.evaluation.scoring.masks import overlapped
from btk_punet.simulation.survey import reference_band

# What is kept of `blend_probabilities` in a run.
BLEND_COLUMNS = (
    Column("scene", "number of the scene"),
    METHOD,
    Column("detection", "number of the matched detection in the scene"),
    Column("source", "number of its source in the scene"),
    Column("magnitude", "magnitude in an aperture of 0.5 arcsec radius", "mag"),
    Column("neighbour_distance_arcsec", "distance to the nearest other detection", "arcsec"),
    Column("p_blend", "predicted probability that its source is overlapped"),
    Column("overlapped", "whether the source's footprint shares a pixel with another"),
)


def blend_probabilities(
    blend_batch: BlendBatch,
    deblend_batches: Mapping[str, DeblendBatch],
    detections: pd.DataFrame,
    first_scene: int = 0,
) -> pd.DataFrame:
    """Return the matched detections of methods with ``p_blend``, and whether they are overlapped.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name; those with a catalog without a column
            ``p_blend`` are left out.
        detections: Detection table of `batch_tables` of these.
        first_scene: Number of the batch's first scene in the table.

    Returns:
        Rows of the detection table that are in bounds, with ``p_blend`` and ``overlapped``,
        whether the footprint of the matched source (see `source_footprints`) shares a pixel with
        that of another source. Detections without a source are left out, for which there is
        nothing to be true.
    """
    parts = []
    footprints: dict[int, np.ndarray] = {}
    for method, found in deblend_batches.items():
        if not has_p_blend(found):
            continue
        own = detections[detections["method"] == method]
        p_blend = np.concatenate([np.asarray(t["p_blend"], float) for t in found.catalog_list])
        own = own.assign(p_blend=p_blend)
        own = own[own["matched"] & own["in_bounds"]]
        for number, rows in own.groupby("scene"):
            scene = int(number) - first_scene
            if scene not in footprints:
                band = reference_band(blend_batch.survey)
                footprints[scene] = overlapped(source_footprints(blend_batch, scene, band))
            parts.append(rows.assign(overlapped=footprints[scene][rows["source"]]))
    nothing = detections[:0].assign(p_blend=0.0, overlapped=False)
    return pd.concat(parts or [nothing], ignore_index=True)


def has_p_blend(deblend_batch: DeblendBatch) -> bool:
    """Tell whether all catalogs of a method, one or more, have a column ``p_blend``."""
    catalogs = deblend_batch.catalog_list
    return len(catalogs) > 0 and all("p_blend" in catalog.colnames for catalog in catalogs)
