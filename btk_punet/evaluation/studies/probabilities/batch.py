"""What methods say with a probability, and what is true of it: collected batch by batch.

A method says such things in the ``extra_data`` of its output, as `ProbaUNetDeblender` does:
``candidates``, ``count_posterior``, ``class_mean``, ``class_probability`` and ``class_variance``;
and in its catalogs ``p_blend``. Each is optional.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch

from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.statistics.counts import true_counts
from btk_punet.evaluation.statistics.fractions import merged_counts
from btk_punet.evaluation.studies.equal_purity.sweep import LOWEST_THRESHOLD
from btk_punet.evaluation.studies.probabilities import classes
from btk_punet.evaluation.studies.probabilities.blend_identification import BlendIdentification
from btk_punet.evaluation.studies.probabilities.blends import blend_probabilities, says_p_blend
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from btk_punet.simulation.survey import pixel_scale_arcsec

# The tables that there may be, and by which columns the rows of a method are sorted.
TABLES = {
    "candidates": ("scene", "candidate"),
    "counts": ("scene",),
    "blend_probabilities": ("scene", "detection"),
    "blend_identification": (),
    "class_probabilities": (),
    "class_uncertainty": (),
}
# How those are merged that count, and whose rows are of no scene.
_MERGED: dict[str, Callable[[list[pd.DataFrame]], pd.DataFrame]] = {
    "blend_identification": merged_counts,
    "class_probabilities": classes.merged_class_probabilities,
    "class_uncertainty": classes.merged_class_uncertainty,
}
_BLEND_COLUMNS = (
    "scene",
    "method",
    "detection",
    "source",
    "magnitude",
    "neighbour_distance_arcsec",
    "p_blend",
    "overlapped",
)
# Quantity of the rows that count truly blended regions (n) without any object on them (k).
MISSED = "missed"


def batch_probabilities(
    blend_batch: BlendBatch,
    deblend_batches: Mapping[str, DeblendBatch],
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    first_scene: int = 0,
    radius_arcsec: float = 0.3,
) -> dict[str, pd.DataFrame]:
    """Return what the methods of a batch say with a probability, and what is true.

    Args:
        blend_batch: The scenes.
        deblend_batches: Output of each method, by its name.
        truth: Truth table of `batch_tables` of these.
        detections: Detection table of the same.
        first_scene: Number of the batch's first scene in the run.
        radius_arcsec: Matching radius [arcsec].

    Returns:
        Those of these tables of which any method has something:

        - ``candidates``: a row each with ``p_detect >= 0.02``, whatever the threshold of the
          method. Columns of the detection table of `batch_tables`, with ``candidate`` in place of
          ``detection``, and without ``flags``; all candidates of a scene are matched at once, and
          ``outcome`` tells whether a candidate came true (see `outcomes`).
        - ``counts``: a row a scene: ``scene``, ``method``, ``true_count`` (sources with
          ``alone_snr > 2`` whose centre is in the image) and the probabilities ``p_0``, ``p_1``,
          ... of so many; the last one, or of more.
        - ``blend_probabilities``: a row a matched detection in bounds: ``scene``, ``method``,
          ``detection``, ``source``, ``magnitude``, ``neighbour_distance_arcsec`` (those of the
          detection), ``p_blend`` and whether its source is ``overlapped`` (see
          `blend_probabilities`).
        - ``blend_identification``: ``method`` and the columns of ``BlendIdentification``'s table;
          beside it, as the quantity "missed", the truly blended regions without an object.
        - ``class_probabilities``, ``class_uncertainty``: sums over the pixels with a probability
          of background below 0.9 (see the functions of these names).
    """
    tables = {}
    some = _that_say("candidates", deblend_batches)
    if some:
        tables["candidates"] = _candidates(blend_batch, some, truth, first_scene, radius_arcsec)
    some = _that_say("count_posterior", deblend_batches)
    if some:
        tables["counts"] = _counts(blend_batch, some, truth, first_scene)
    if any(says_p_blend(found) for found in deblend_batches.values()):
        rows = blend_probabilities(blend_batch, deblend_batches, detections, first_scene)
        tables["blend_probabilities"] = rows[list(_BLEND_COLUMNS)]
    some = _that_say("class_mean", deblend_batches)
    if some:
        tables["blend_identification"] = _blend_identification(blend_batch, some)
    some = _that_say("class_probability", deblend_batches)
    if some:
        pixels = {
            method: classes.lit_pixels(blend_batch, found) for method, (found, _) in some.items()
        }
        tables["class_probabilities"] = classes.class_probabilities(pixels)
        tables["class_uncertainty"] = classes.class_uncertainty(pixels)
    return tables


def joined_probabilities(
    parts: Mapping[str, Sequence[pd.DataFrame]], methods: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return the tables of a run from those of its batches.

    Args:
        parts: Tables of each batch, by their name in `TABLES`.
        methods: Names of the methods, in the order wanted.

    Returns:
        The tables of which there is any part, whose rows do not depend on the batches' order.
    """
    joined = {}
    for name, sort_by in TABLES.items():
        if not parts.get(name):
            continue
        of_method = [[part[part["method"] == method] for part in parts[name]] for method in methods]
        if name in _MERGED:
            tables = [
                _MERGED[name]([part.reset_index(drop=True) for part in of])
                for of in of_method
                if any(map(len, of))
            ]
        else:
            tables = [pd.concat(of).sort_values(list(sort_by)) for of in of_method]
        # There may be nothing to merge in any part: of pixels that are all background.
        joined[name] = pd.concat(tables or parts[name][:1], ignore_index=True)
    return joined


def _that_say(
    key: str, deblend_batches: Mapping[str, DeblendBatch]
) -> dict[str, tuple[DeblendBatch, list]]:
    """Return the output of the methods that say something in every scene, and what they say."""
    return {
        name: (found, [extra[key] for extra in found.extra_data])
        for name, found in deblend_batches.items()
        if found.extra_data
        and all(isinstance(extra, Mapping) and key in extra for extra in found.extra_data)
    }


def _candidates(
    blend_batch: BlendBatch,
    said: Mapping[str, tuple[DeblendBatch, list]],
    truth: pd.DataFrame,
    first_scene: int,
    radius_arcsec: float,
) -> pd.DataFrame:
    as_detections = {}
    for method, (_, scenes) in said.items():
        catalogs = [_with_sky(blend_batch, table) for table in scenes]
        most = max(1, *map(len, catalogs)) if catalogs else 1
        as_detections[method] = DeblendBatch(
            blend_batch.batch_size, most, catalogs, image_size=blend_batch.image_size
        )
    _, table = batch_tables(
        blend_batch, as_detections, first_scene, radius_arcsec, with_limit=False
    )
    table = table.drop(columns="flags").rename(columns={"detection": "candidate"})
    matcher = Matcher(radius_arcsec, pixel_scale_arcsec(blend_batch.survey))
    # What is true of the scenes is the same in the rows of any method.
    one = truth[truth["method"] == truth["method"].iloc[0]] if len(truth) else truth
    return table.assign(outcome=outcomes(one, table, matcher))


def outcomes(truth: pd.DataFrame, candidates: pd.DataFrame, matcher: Matcher) -> np.ndarray:
    """Return whether each candidate came true: brings a match when the threshold falls to it.

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
    """Return candidates that are worth a look, with BTK's world coordinates."""
    table = candidates[np.asarray(candidates["p_detect"], float) >= LOWEST_THRESHOLD]
    x, y = (np.asarray(table[name], float) for name in ("x_peak", "y_peak"))
    ra, dec = blend_batch.wcs.pixel_to_world_values(x, y)
    table["ra"], table["dec"] = 3600 * np.asarray(ra), 3600 * np.asarray(dec)
    return table


def _counts(
    blend_batch: BlendBatch,
    said: Mapping[str, tuple[DeblendBatch, list]],
    truth: pd.DataFrame,
    first_scene: int,
) -> pd.DataFrame:
    tables = []
    for method, (_, scenes) in said.items():
        own = truth[truth["method"] == method]
        number = len(scenes)
        counts = true_counts(
            own.assign(scene=own["scene"] - first_scene), blend_batch.image_size, number
        )
        table = pd.DataFrame({"scene": np.arange(first_scene, first_scene + number)})
        table["method"] = method
        table["true_count"] = counts
        posteriors = np.array([np.asarray(posterior, float) for posterior in scenes])
        of_counts = pd.DataFrame(posteriors, columns=[f"p_{k}" for k in range(posteriors.shape[1])])
        tables.append(pd.concat([table, of_counts], axis=1))
    return pd.concat(tables, ignore_index=True)


def _blend_identification(
    blend_batch: BlendBatch, said: Mapping[str, tuple[DeblendBatch, list]]
) -> pd.DataFrame:
    tables = []
    for method, (found, _) in said.items():
        metric = BlendIdentification()
        metric(blend_batch, found)
        missed = metric.missed().assign(quantity=MISSED, threshold=np.nan)
        table = pd.concat([metric.aggregate(), missed], ignore_index=True)
        table.insert(0, "method", method)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
