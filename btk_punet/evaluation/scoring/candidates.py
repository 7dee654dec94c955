"""Candidates: every place that a method gives a probability, and whether a source came of it.

A method hands them back as ``candidates`` in the ``extra_data`` of each scene: those above its
threshold, which are its detections, and those below. Each is a table with ``x_peak``, ``y_peak``
[pixel], ``p_detect`` and further columns of a catalog.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.evaluation.quantities import Column
from btk_punet.evaluation.scoring.batch import DETECTIONS, batch_tables
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import pixel_scale_arcsec

# Candidates that are less probable are not kept.
LOWEST_THRESHOLD = 0.02

# What differs from a detection's, by the name of that.
_OWN = {
    "detection": Column("candidate", "number of the candidate in its scene"),
    "neighbour_distance_arcsec": Column(
        "neighbour_distance_arcsec",
        "distance to the nearest other candidate; infinite without one",
        "arcsec",
    ),
    "matched": Column("matched", "whether it is matched when all candidates are matched at once"),
}
CANDIDATE_COLUMNS = (
    *(_OWN.get(column.name, column) for column in DETECTIONS if column.name != "flags"),
    Column("outcome", "whether it brings a match when the threshold falls to its p_detect"),
)


def batch_candidates(
    blend_batch: BlendBatch,
    deblend_batches: Mapping[str, DeblendBatch],
    truth: pd.DataFrame,
    first_scene: int = 0,
    radius_arcsec: float = 0.3,
) -> pd.DataFrame:
    """Return the candidates of a batch with a probability of 0.02 or more, and their outcomes.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name; methods without candidates are left
            out.
        truth: Truth table of `batch_tables` of these.
        first_scene: Number of the batch's first scene in the run.
        radius_arcsec: Matching radius [arcsec].

    Returns:
        `CANDIDATE_COLUMNS`, one row per candidate: those of the detection table of `batch_tables`
        with ``candidate`` in place of ``detection`` and without ``flags``, all candidates of a
        scene being matched at once; and their ``outcome`` (see `outcomes`).
    """
    as_detections = {}
    for method, scenes in extra_of_scenes(deblend_batches, "candidates").items():
        catalogs = [_with_sky(blend_batch, table) for table in scenes]
        most = max(1, *map(len, catalogs)) if catalogs else 1
        as_detections[method] = DeblendBatch(
            blend_batch.batch_size, most, catalogs, image_size=blend_batch.image_size
        )
    if not as_detections:
        return pd.DataFrame(columns=[column.name for column in CANDIDATE_COLUMNS])
    _, table = batch_tables(
        blend_batch, as_detections, first_scene, radius_arcsec, with_limit=False
    )
    table = table.drop(columns="flags").rename(columns={"detection": "candidate"})
    matcher = Matcher(radius_arcsec, pixel_scale_arcsec(blend_batch.survey))
    # What is true of the scenes is the same in the rows of any method.
    one = truth[truth["method"] == truth["method"].iloc[0]] if len(truth) else truth
    return table.assign(outcome=outcomes(one, table, matcher))


def extra_of_scenes(deblend_batches: Mapping[str, DeblendBatch], key: str) -> dict[str, list[Any]]:
    """Return one thing of the ``extra_data`` of methods that have it in every scene.

    Args:
        deblend_batches: Output of each method, by its name.
        key: Which one, such as ``"candidates"``.

    Returns:
        That of each scene, by the name of the method; methods that lack it are left out.
    """
    return {
        method: [extra[key] for extra in found.extra_data]
        for method, found in deblend_batches.items()
        if found.extra_data
        and all(isinstance(extra, Mapping) and key in extra for extra in found.extra_data)
    }


def outcomes(truth: pd.DataFrame, candidates: pd.DataFrame, matcher: Matcher) -> np.ndarray:
    """Return whether each candidate brings a match when the threshold falls to its probability.

    Args:
        truth: Truth table of `batch_tables`, the rows of one method.
        candidates: With ``scene``, ``method``, ``x``, ``y`` [pixel] and ``p_detect``, in any order.
        matcher: Tells which are near enough.

    Returns:
        Booleans in the order of the candidates (see `Matcher.gains`).
    """
    result = np.zeros(len(candidates), bool)
    if not len(truth):
        return result
    can_match = truth[truth["alone_snr"] > NEIGHBOUR_SNR]
    sources = {
        scene: rows[["x", "y"]].to_numpy(float) for scene, rows in can_match.groupby("scene")
    }
    numbered = candidates.reset_index(drop=True)
    for (scene, _), rows in numbered.groupby(["scene", "method"]):
        if scene in sources:
            rows = rows.sort_values("p_detect", ascending=False, kind="stable")
            true_x, true_y = sources[scene].T
            x, y = (rows[name].to_numpy(float) for name in ("x", "y"))
            result[rows.index] = matcher.gains(true_x, true_y, x, y)
    return result


def _with_sky(blend_batch: BlendBatch, candidates: Table) -> Table:
    """Return the candidates that are probable enough, with BTK's world coordinates."""
    table = candidates[np.asarray(candidates["p_detect"], float) >= LOWEST_THRESHOLD]
    x, y = (np.asarray(table[name], float) for name in ("x_peak", "y_peak"))
    ra, dec = blend_batch.wcs.pixel_to_world_values(x, y)
    table["ra"], table["dec"] = 3600 * np.asarray(ra), 3600 * np.asarray(dec)
    return table
