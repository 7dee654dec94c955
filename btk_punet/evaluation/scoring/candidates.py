"""Candidates: every place that a method gives a probability, and whether a source came of it.

A method hands them back as ``candidates`` in the ``extra_data`` of each scene: those above its
threshold, which are its detections, and those below. Each is a table with ``x_peak``, ``y_peak``
[pixel], ``p_detect`` and further columns of a catalog.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.deblending.base import unwrapped_arcsec
from btk_punet.evaluation.quantities import Column
from btk_punet.evaluation.scoring.batch import DETECTIONS, matched_scenes
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.scoring.scenes import Columns, measured_columns, split_scenes
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import pixel_scale_arcsec, reference_band

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
    matcher = Matcher(radius_arcsec, pixel_scale_arcsec(blend_batch.survey))
    # What is true of the scenes is the same in the rows of any method.
    one = truth[truth["method"] == truth["method"].iloc[0]] if len(truth) else truth
    sources = split_scenes(one, ("x", "y", "alone_snr"), first_scene, blend_batch.batch_size)
    tables = []
    for method, scenes in extra_of_scenes(deblend_batches, "candidates").items():
        found = _measured(blend_batch, scenes)
        _, table = matched_scenes(sources, found, method, first_scene, matcher)
        outcome = [outcomes(*scene, matcher) for scene in zip(sources, found, strict=True)]
        tables.append(table.assign(outcome=np.concatenate([np.zeros(0, bool), *outcome])))
    if not tables:
        return pd.DataFrame(columns=[column.name for column in CANDIDATE_COLUMNS])
    joined = pd.concat(tables, ignore_index=True)
    return joined.drop(columns="flags").rename(columns={"detection": "candidate"})


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


def outcomes(truth: Columns, candidates: Columns, matcher: Matcher) -> np.ndarray:
    """Return whether each candidate brings a match when the threshold falls to its probability.

    Args:
        truth: ``x``, ``y`` [pixel] and ``alone_snr`` of the sources of a scene.
        candidates: ``x``, ``y`` [pixel] and ``p_detect`` of its candidates, in any order.
        matcher: Tells which are near enough.

    Returns:
        Booleans in the order of the candidates (see `Matcher.gains`).
    """
    can_match = truth["alone_snr"] > NEIGHBOUR_SNR
    order = np.argsort(-candidates["p_detect"], kind="stable")
    result = np.zeros(len(order), bool)
    result[order] = matcher.gains(
        truth["x"][can_match],
        truth["y"][can_match],
        candidates["x"][order],
        candidates["y"][order],
    )
    return result


def _measured(blend_batch: BlendBatch, scenes: Sequence[Any]) -> list[Columns]:
    """Return what is measured of the candidates that are probable enough, scene by scene."""
    kept = []
    for table in scenes:
        probable = np.asarray(table["p_detect"], float) >= LOWEST_THRESHOLD
        names = ("x_peak", "y_peak", "p_detect", "x_err", "y_err")
        kept.append(
            {n: np.asarray(table[n], float)[probable] for n in names if n in table.colnames}
        )
    x, y = (np.concatenate([np.zeros(0), *(own[n] for own in kept)]) for n in ("x_peak", "y_peak"))
    # One call for all scenes, which takes as long as one for each.
    ra, dec = (3600 * np.asarray(of) for of in blend_batch.wcs.pixel_to_world_values(x, y))
    ends = np.cumsum([len(own["p_detect"]) for own in kept])[:-1]
    places = {"x": x, "y": y, "ra": unwrapped_arcsec(ra), "dec": dec}
    split = {name: np.split(values, ends) for name, values in places.items()}
    band = reference_band(blend_batch.survey)
    return [
        measured_columns(
            blend_batch, scene, band, stated | {name: split[name][scene] for name in split}
        )
        for scene, stated in enumerate(kept)
    ]
