"""Outlines against footprints, as tidy tables: one row per source, per detection, per scene.

Every figure on outlines is counted from these three tables. The
*footprint* of a source is where its noiseless flux exceeds k sigma of the background; of a real
galaxy, the connected part of that which holds its centre. The sources are those that count
(`batch_tables`) and have a footprint.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import METHOD, Column
from btk_punet.evaluation.scoring.maps import source_footprints
from btk_punet.evaluation.scoring.masks import mask_iou, overlapped, undeblended
from btk_punet.evaluation.scoring.scenes import Columns, join_scenes, split_scenes
from btk_punet.evaluation.statistics.average_precision import IOU_THRESHOLDS, mask_outcomes
from btk_punet.evaluation.studies.base import Tidy
from btk_punet.simulation.labels import CLASS_NAMES
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import pixel_scale_arcsec, reference_band

# What becomes of a detection at each threshold of the IoU: 0.5, 0.55, ..., 0.95.
OUTCOME_COLUMNS = tuple(f"at_{round(100 * threshold)}" for threshold in IOU_THRESHOLDS)
# Numbers of pixels of a true class that the outlines say are of a class, true class by true class.
PIXEL_COLUMNS = tuple(f"{true}_as_{said}" for true in CLASS_NAMES for said in CLASS_NAMES)

# What is read of the truth table and of the detection table.
_OF_SOURCE = (
    "source", "x", "y", "alone_snr", "counts", "detection", "match_distance_arcsec",
)  # fmt: skip
_OF_DETECTION = ("detection", "p_detect", "in_bounds")

_SCENE = Column("scene", "number of the scene in the run")
TIDY = (
    Tidy(
        "source_outlines",
        (
            _SCENE,
            METHOD,
            Column("source", "number of the source in its scene"),
            Column("iou", "intersection over union of footprint and outline of its match"),
            Column("overlapped", "whether the footprint shares a pixel with another's"),
            Column("placed_worse", "whether its match is placed worse than if undeblended"),
            Column("outlined_worse", "whether its match is outlined worse than if undeblended"),
        ),
        ("scene", "source"),
    ),
    Tidy(
        "detection_outlines",
        (
            _SCENE,
            METHOD,
            Column("detection", "number of the detection in its scene"),
            Column("p_detect", "probability that it is a source; NaN if there is none"),
            *(
                Column(name, f"at an IoU of {threshold:g}: 1 matched, 0 false, -1 neither")
                for name, threshold in zip(OUTCOME_COLUMNS, IOU_THRESHOLDS, strict=True)
            ),
        ),
        ("scene", "detection"),
    ),
    Tidy(
        "class_pixels",
        (
            _SCENE,
            METHOD,
            *(
                Column(name, "pixels: true class, class by the number of outlines there")
                for name in PIXEL_COLUMNS
            ),
        ),
        ("scene",),
    ),
)


def batch_outlines(
    blend_batch: BlendBatch,
    deblend_batches: Mapping[str, DeblendBatch],
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    first_scene: int = 0,
    k: float = 1.0,
) -> dict[str, pd.DataFrame]:
    """Return how well the methods of a batch outline the sources.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name; those without a ``segmentation`` are
            left out.
        truth: Truth table of `batch_tables` of these.
        detections: Detection table of the same.
        first_scene: Number of the batch's first scene in the tables.
        k: A pixel belongs to a source above this [sigma of the background].

    Returns:
        Nothing if no method has a segmentation, else these tables:

        - ``source_outlines``, one row per source that counts and has a footprint: ``scene``,
          ``method``, ``source``; ``iou``, intersection over union of the footprint and the
          outline of its match (NaN if none); ``overlapped``, whether the footprint shares a pixel
          with another's; and of those that are overlapped and matched, whether they are
          ``placed_worse`` and ``outlined_worse`` than if nothing had been deblended (see
          ``SegmentationReport.worse_than_undeblended``).
        - ``detection_outlines``, one row per detection: ``scene``, ``method``, ``detection``,
          ``p_detect`` and, at each threshold of the IoU, ``at_50``, ``at_55``, ..., ``at_95``: 1
          matched, 0 false, -1 neither (see `mask_outcomes`).
        - ``class_pixels``, one row per scene: ``scene``, ``method`` and the numbers of pixels of
          each true class that are covered by no outline (``..._as_background``), one
          (``..._as_isolated``) or more (``..._as_blended``).

    Raises:
        InputError: if a segmentation does not fit the batch.
    """
    band = reference_band(blend_batch.survey)
    scenes = range(blend_batch.batch_size)
    footprints = [source_footprints(blend_batch, scene, band, k) for scene in scenes]
    parts: dict[str, list[pd.DataFrame]] = {tidy.name: [] for tidy in TIDY}
    for method, deblend_batch in deblend_batches.items():
        if deblend_batch.segmentation is None:
            continue
        segmentation = checked_segmentation(blend_batch, deblend_batch)
        sources, found = (
            split_scenes(table[table["method"] == method], names, first_scene, len(scenes))
            for table, names in ((truth, _OF_SOURCE), (detections, _OF_DETECTION))
        )
        of_scenes = [
            _of_scene(
                blend_batch,
                scene,
                segmentation[scene],
                footprints[scene],
                sources[scene],
                found[scene],
            )
            for scene in scenes
        ]
        for name, part in parts.items():
            own = [tables[name] for tables in of_scenes]
            table = pd.DataFrame(join_scenes(own))
            sizes = [len(next(iter(columns.values()))) for columns in own]
            table.insert(0, "scene", np.repeat(first_scene + np.arange(len(own)), sizes))
            table.insert(1, "method", pd.Series(method, index=table.index, dtype=str))
            part.append(table)
    return {name: pd.concat(part, ignore_index=True) for name, part in parts.items() if part}


def checked_segmentation(blend_batch: BlendBatch, deblend_batch: DeblendBatch) -> np.ndarray:
    """Return the outlines of a batch, bool (batch, max_n_sources, H, W).

    Raises:
        InputError: if there are none, or they are not of this batch.
    """
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


def _of_scene(
    blend_batch: BlendBatch,
    scene: int,
    segmentation: np.ndarray,
    footprints: np.ndarray,
    sources: Columns,
    found: Columns,
) -> dict[str, Columns]:
    """Return the columns of the three tables of a scene and method, by the names of the tables.

    Args:
        blend_batch: The scenes.
        scene: Number of the scene in the batch.
        segmentation: Outlines, shape (max_n_sources, H, W).
        footprints: Pixels of each source, shape (n, H, W).
        sources: `_OF_SOURCE` of the scene.
        found: `_OF_DETECTION` of the scene.
    """
    n_found, n_sources = len(found["detection"]), len(sources["source"])
    masks = segmentation[:n_found]
    iou = mask_iou(masks, footprints)
    counts = sources["counts"].astype(bool) & footprints.any(axis=(1, 2))
    can_match = sources["alone_snr"] > NEIGHBOUR_SNR
    p_detect = found["p_detect"].astype(float)
    outcomes = mask_outcomes(
        iou[:, can_match], p_detect, found["in_bounds"].astype(bool), counts[can_match]
    )
    detection = sources["detection"].astype(int)
    matched = np.flatnonzero(detection >= 0)
    of_match = np.full(n_sources, np.nan)
    of_match[matched] = iou[detection[matched], matched]
    in_overlap = overlapped(footprints)
    asked = np.flatnonzero(counts & in_overlap & (detection >= 0))
    worse = np.zeros((2, n_sources), bool)
    if len(asked):
        of_asked = {name: values[asked] for name, values in sources.items()}
        worse[:, asked] = _harm(
            blend_batch, scene, masks, footprints[asked], of_asked, of_match[asked]
        )
    said, true = (np.minimum(of.sum(axis=0), 2).ravel() for of in (masks, footprints))
    return {
        "source_outlines": {
            "source": sources["source"].astype(int)[counts],
            "iou": of_match[counts],
            "overlapped": in_overlap[counts],
            "placed_worse": worse[0, counts],
            "outlined_worse": worse[1, counts],
        },
        "detection_outlines": {
            "detection": found["detection"].astype(int),
            "p_detect": p_detect,
            **dict(zip(OUTCOME_COLUMNS, outcomes, strict=True)),
        },
        "class_pixels": dict(
            zip(PIXEL_COLUMNS, np.bincount(3 * true + said, minlength=9)[:, None], strict=True)
        ),
    }


def _harm(
    blend_batch: BlendBatch,
    scene: int,
    masks: np.ndarray,
    footprints: np.ndarray,
    sources: Columns,
    iou: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which matched sources are placed and outlined worse than undeblended, booleans (n,).

    Args:
        blend_batch: The scenes.
        scene: Number of the scene in the batch.
        masks: Outlines of all detections, shape (m, H, W).
        footprints: Of the sources asked about, shape (n, H, W).
        sources: What the truth table says of them.
        iou: That of each one's match.
    """
    survey = blend_batch.survey
    image = blend_batch.blend_images[scene, reference_band(survey)]
    whole = undeblended(masks, footprints, sources["detection"], image)
    x, y, distance = (sources[name] for name in ("x", "y", "match_distance_arcsec"))
    error = pixel_scale_arcsec(survey) * np.hypot(whole.x - x, whole.y - y)
    return whole.deblended & (distance > error), whole.deblended & (iou < whole.iou)
