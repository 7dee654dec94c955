"""Tidy tables: one row per source and method, one row per detection and method.

Everything else of the evaluation is counted from these two tables.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.match import Matching

from btk_punet.deblending.calling import check_found
from btk_punet.errors import InputError, InputTypeError
from btk_punet.evaluation.quantities import METHOD, Column
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.scoring.scenes import (
    Columns,
    detection_columns,
    join_scenes,
    truth_columns,
)
from btk_punet.simulation.snr import COUNTS_SNR, NEIGHBOUR_SNR
from btk_punet.simulation.survey import (
    pixel_scale_arcsec,
    reference_band,
)

_PLACE = (
    Column("scene", "number of the scene in the run"),
    METHOD,
)
_SKY = (
    Column("x", "column of the centre, 0 is the middle of the first pixel", "pixel"),
    Column("y", "row of the centre", "pixel"),
    Column("ra", "right ascension from the centre of the stamp, as in BTK", "arcsec"),
    Column("dec", "declination from the centre of the stamp", "arcsec"),
)
_IN_BOUNDS = Column("in_bounds", "whether it lies 2 pixels or more from the border of the image")
# What the columns of the two tables hold.
TRUTH = (
    *_PLACE,
    Column("source", "number of the source in its scene"),
    *_SKY,
    Column("magnitude", "true AB magnitude in the reference band", "mag"),
    Column("size_arcsec", "true half-light radius; NaN if unknown", "arcsec"),
    Column("is_star", "whether it is a star"),
    Column("alone_snr", "signal-to-noise ratio that the source would have alone"),
    Column("limit_snr", "signal-to-noise ratio among unknown neighbours (information limit)"),
    Column("blendedness", "BTK's blendedness: 0 alone, towards 1 covered by others"),
    Column(
        "neighbour_distance_arcsec",
        "distance to the nearest other source with alone_snr > 2; infinite without one",
        "arcsec",
    ),
    _IN_BOUNDS,
    Column("counts", "whether it counts for the completeness: in bounds and bright enough"),
    Column("matched", "whether a detection is matched to it"),
    Column("detection", "number of that detection in the scene; -1 without one"),
    Column("match_distance_arcsec", "distance to that detection; NaN without one", "arcsec"),
)
DETECTIONS = (
    *_PLACE,
    Column("detection", "number of the detection in its scene"),
    *_SKY,
    Column("aperture_flux", "flux within 0.5 arcsec of the detection", "electron"),
    Column("magnitude", "AB magnitude of that flux; infinite if it is not above 0", "mag"),
    Column(
        "neighbour_distance_arcsec",
        "distance to the nearest other detection; infinite without one",
        "arcsec",
    ),
    _IN_BOUNDS,
    Column("x_err", "stated half-width that holds 68% of the true x; NaN if not stated", "pixel"),
    Column("y_err", "stated half-width that holds 68% of the true y; NaN if not stated", "pixel"),
    Column("p_detect", "stated probability that it is a source; NaN if not stated"),
    Column("flags", "bit flags of the detection, see DetectionFlag"),
    Column("matched", "whether it is matched to a source"),
    Column("source", "number of that source in the scene; -1 without one"),
)


def batch_tables(
    blend_batch: BlendBatch,
    deblend_batches: Mapping[str, DeblendBatch],
    first_scene: int = 0,
    radius_arcsec: float = 0.3,
    band: int | None = None,
    matchings: Mapping[str, Matching] | None = None,
    with_limit: bool = True,
    min_snr: float = COUNTS_SNR,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tidy truth and detection tables of a batch.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name.
        first_scene: Number of the batch's first scene in the run.
        radius_arcsec: Matching radius [arcsec].
        band: Index of the band whose magnitude is used, `reference_band` if None; noise is taken
            over all bands.
        matchings: A matching for each method, instead of `Matcher`'s.
        with_limit: Whether to compute ``limit_snr``, which takes most of the time; NaN if not.
        min_snr: A source counts when its ``alone_snr`` is above this.

    Returns:
        The truth, one row per source and method: ``scene``, ``source``, ``method``, ``x``, ``y``
        [pixel], ``ra``, ``dec`` [arcsec], ``magnitude``, ``size_arcsec`` (half-light radius, NaN
        if unknown), ``is_star``, ``alone_snr``, ``limit_snr``, ``blendedness`` (BTK's),
        ``neighbour_distance_arcsec`` (infinite without a neighbour), ``in_bounds``, ``counts``
        (in bounds and ``alone_snr`` above `min_snr`), ``matched``, ``detection`` (-1 if none),
        ``match_distance_arcsec`` (NaN if none).

        The detections, one row each: ``scene``, ``detection``, ``method``, ``x``, ``y``, ``ra``,
        ``dec``, ``aperture_flux`` [electron], ``magnitude`` (of that flux; infinite for <= 0),
        ``neighbour_distance_arcsec`` (nearest other detection), ``in_bounds``, ``matched``,
        ``source`` (-1 if none), ``x_err``, ``y_err`` [pixel] and ``p_detect`` (NaN where a method
        has none), ``flags``.

    Raises:
        MethodError: if a method's output cannot be used (see `check_found`).
        InputError: if a matching does not fit the batch.
    """
    for name, deblend_batch in deblend_batches.items():
        check_found(name, deblend_batch, blend_batch)
    for name, matching in (matchings or {}).items():
        if not isinstance(matching, Matching):
            raise InputTypeError(
                f"matching must be a btk Matching, what a matcher returns for the catalogs of the "
                f"batch, got {type(matching).__name__}. Call the matcher: "
                "matcher(blend_batch.catalog_list, deblend_batch.catalog_list)."
            )
        if len(matching.true_matches) != blend_batch.batch_size:
            raise InputError(
                f"The matching of {name!r} has {len(matching.true_matches)} scenes for a batch of "
                f"{blend_batch.batch_size} blends."
            )
    scenes = range(blend_batch.batch_size)
    band = reference_band(blend_batch.survey) if band is None else band
    truth = [truth_columns(blend_batch, scene, band, with_limit, min_snr) for scene in scenes]
    all_truth = _table_of_scenes(truth, first_scene)
    matcher = Matcher(radius_arcsec, pixel_scale_arcsec(blend_batch.survey))
    truth_tables: list[pd.DataFrame] = []
    detection_tables: list[pd.DataFrame] = []
    for method, deblend_batch in deblend_batches.items():
        found = [
            detection_columns(blend_batch, deblend_batch.catalog_list[scene], scene, band)
            for scene in scenes
        ]
        given = None if matchings is None else matchings.get(method)
        of_truth, detection_table = matched_scenes(
            truth, found, method, first_scene, matcher, given
        )
        truth_table = all_truth.assign(**of_truth)
        truth_table.insert(1, "method", method)
        truth_tables.append(truth_table)
        detection_tables.append(detection_table)
    return _joined(truth_tables), _joined(detection_tables)


def matched_scenes(
    truth: Sequence[Mapping[str, np.ndarray]],
    found: Sequence[Columns],
    method: str,
    first_scene: int,
    matcher: Matcher,
    matching: Matching | None = None,
) -> tuple[Columns, pd.DataFrame]:
    """Match the detections of one method to the sources, scene by scene.

    Args:
        truth: ``x``, ``y`` and ``alone_snr`` of the sources of each scene.
        found: Columns of the detections of each scene.
        method: Name of the method.
        first_scene: Number of the first scene in the run.
        matcher: Does the matching.
        matching: What is matched, if that is not the matcher's.

    Returns:
        Columns of the truth table, for all scenes: ``matched``, ``detection`` and
        ``match_distance_arcsec``; and the detection table.
    """
    of_truth, of_found = [], []
    for scene, (sources, detections) in enumerate(zip(truth, found, strict=True)):
        pairs = (
            _match(matcher, sources, detections)
            if matching is None
            else (matching.true_matches[scene], matching.pred_matches[scene])
        )
        columns = _pair_columns(sources, detections, pairs, matcher.pixel_scale_arcsec)
        of_truth.append(columns[0])
        of_found.append(detections | columns[1])
    table = _table_of_scenes(of_found, first_scene)
    table.insert(1, "method", method)
    return join_scenes(of_truth), table


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


def _match(
    matcher: Matcher, truth: Mapping[str, np.ndarray], found: Columns
) -> tuple[np.ndarray, np.ndarray]:
    candidates = np.flatnonzero(truth["alone_snr"] > NEIGHBOUR_SNR)
    sources, detections = matcher.match_positions(
        truth["x"][candidates], truth["y"][candidates], found["x"], found["y"]
    )
    return candidates[sources], detections


def _pair_columns(
    truth: Mapping[str, np.ndarray],
    found: Columns,
    pairs: tuple[np.ndarray, np.ndarray],
    pixel_scale_arcsec: float,
) -> tuple[Columns, Columns]:
    """Return, for both tables of a scene, the columns that say what is matched to what."""
    source, detection = (np.asarray(index, int) for index in pairs)
    partner = np.full(len(truth["x"]), -1)
    partner[source] = detection
    distance = np.full(len(truth["x"]), np.nan)
    distance[source] = pixel_scale_arcsec * np.hypot(
        truth["x"][source] - found["x"][detection], truth["y"][source] - found["y"][detection]
    )
    owner = np.full(len(found["x"]), -1)
    owner[detection] = source
    return (
        {"matched": partner >= 0, "detection": partner, "match_distance_arcsec": distance},
        {"matched": owner >= 0, "source": owner},
    )


def _table_of_scenes(scenes: Sequence[Columns], first_scene: int) -> pd.DataFrame:
    """Return the columns of a batch's scenes as a table, with the number of the scene first."""
    numbers = np.arange(first_scene, first_scene + len(scenes))
    sizes = [len(columns["x"]) for columns in scenes]
    return pd.DataFrame({"scene": np.repeat(numbers, sizes)} | join_scenes(scenes))


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
