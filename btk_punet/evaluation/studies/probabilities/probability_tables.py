"""Tables on what a comparison's methods say with a probability: are they right, and any better?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from btk_punet.evaluation.statistics.counts import count_transform, largest_gap, posteriors_of
from btk_punet.evaluation.statistics.reliability import Reliability
from btk_punet.evaluation.studies.equal_purity.margins import equal_purity_margins
from btk_punet.evaluation.studies.equal_purity.sweep import purity_completeness_curve
from btk_punet.evaluation.studies.probabilities.batch import MISSED
from btk_punet.evaluation.studies.probabilities.calibration_tables import (
    calibration_tables,
    reliabilities,
)
from btk_punet.evaluation.studies.probabilities.class_error_tables import class_error_tables

# The distance of Kolmogorov and Smirnov, times the root of the number of values, that uniform
# values exceed in one case of 20.
_GAP_BY_CHANCE = 1.36


def probability_tables(
    probabilities: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    methods: Sequence[str],
    radius_arcsec: float = 0.3,
    pixel_scale_arcsec: float = 0.1,
) -> dict[str, pd.DataFrame]:
    """Return every table on probabilities, by its name.

    Args:
        probabilities: Tables of `joined_probabilities`.
        truth: Truth table of `batch_tables`, all methods.
        detections: Detection table, all methods.
        methods: Names of the methods, in the order wanted.
        radius_arcsec: Matching radius [arcsec].
        pixel_scale_arcsec: Pixel size [arcsec].

    Returns:
        Those of these for which a method gives the probabilities:

        - ``equal_purity``, ``equal_purity_by_neighbour_distance``: a row a ``detector`` with
          candidates and other ``method`` (and bin), columns of `equal_purity_margins`.
        - ``purity_completeness``: columns of `purity_completeness_curve`, a row a method and
          threshold.
        - Those of `calibration_tables` and `class_error_tables`.
        - ``blend_identification``: as collected.
        - ``probability_scores``: a row a method: ``n_candidates``,
          ``expected_calibration_error``, ``brier_score`` and ``brier_skill`` of their
          ``p_detect``; ``n_scenes`` and ``largest_count_gap``, that between the distribution of
          the count's transform and the uniform one, and ``count_gap_by_chance``, exceeded in one
          case of 20 if the posterior is right.
    """
    candidates, counts = probabilities.get("candidates"), probabilities.get("counts")
    tables: dict[str, pd.DataFrame] = {}
    if candidates is not None:
        parts: dict[str, list[pd.DataFrame]] = {}
        for detector in [m for m in methods if m in set(candidates["method"])]:
            own = candidates[candidates["method"] == detector]
            curve = purity_completeness_curve(
                truth[truth["method"] == detector],
                own,
                radius_arcsec=radius_arcsec,
                pixel_scale_arcsec=pixel_scale_arcsec,
            )
            for name, table in [
                *_margins(truth, detections, own, methods, radius_arcsec, pixel_scale_arcsec),
                ("purity_completeness", _named(curve, method=detector)),
            ]:
                parts.setdefault(name, []).append(table)
        tables = {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}
    tables |= calibration_tables(probabilities, methods)
    tables |= class_error_tables(probabilities, methods)
    if "blend_identification" in probabilities:
        tables["blend_identification"] = probabilities["blend_identification"]
    of_detect = {
        method: reliability
        for (method, quantity), reliability in reliabilities(probabilities, methods).items()
        if quantity == "p_detect"
    }
    scores = _scores(of_detect, counts, methods)
    if len(scores):
        tables["probability_scores"] = scores
    return tables


def curves_by_method(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each method of a table, by its name."""
    return {
        method: rows.drop(columns="method").reset_index(drop=True)
        for method, rows in table.groupby("method", sort=False)
    }


def without_missed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of ``blend_identification``, without the count of missed blends."""
    return table[table["quantity"] != MISSED].reset_index(drop=True)


def _margins(
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    candidates: pd.DataFrame,
    methods: Sequence[str],
    radius_arcsec: float,
    pixel_scale_arcsec: float,
) -> list[tuple[str, pd.DataFrame]]:
    """Return a detector's margins over all others, over everything and by neighbour distance."""
    detector = candidates["method"].iloc[0]
    known = set(truth["method"])
    others = [method for method in methods if method in known and method != detector]
    if not others:
        return []
    margins = [
        equal_purity_margins(
            truth,
            detections,
            candidates,
            by,
            methods=others,
            radius_arcsec=radius_arcsec,
            pixel_scale_arcsec=pixel_scale_arcsec,
        )
        for by in (None, "neighbour_distance_arcsec")
    ]
    inside = margins[1]["n"] > 0
    return [
        ("equal_purity", _named(margins[0], detector=detector)),
        ("equal_purity_by_neighbour_distance", _named(margins[1][inside], detector=detector)),
    ]


def _scores(
    of_detect: Mapping[str, Reliability],
    counts: pd.DataFrame | None,
    methods: Sequence[str],
) -> pd.DataFrame:
    rows = []
    of_count = {} if counts is None else dict(list(counts.groupby("method", sort=False)))
    for method in methods:
        if method not in of_detect and method not in of_count:
            continue
        reliability = of_detect.get(method, Reliability())
        transform = _transform(of_count[method]) if method in of_count else np.zeros(0)
        n_scenes = len(transform)
        rows.append(
            {
                "method": method,
                "n_candidates": reliability.n,
                "expected_calibration_error": reliability.expected_calibration_error(),
                "brier_score": reliability.brier_score(),
                "brier_skill": reliability.brier_skill(),
                "n_scenes": n_scenes,
                "largest_count_gap": largest_gap(transform),
                "count_gap_by_chance": _GAP_BY_CHANCE / n_scenes**0.5 if n_scenes else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _transform(counts: pd.DataFrame) -> np.ndarray:
    # The last probability is that of so many, or more.
    return count_transform(posteriors_of(counts), counts["true_count"])


def _named(table: pd.DataFrame, **name: str) -> pd.DataFrame:
    """Return a table with a first column that says whose it is."""
    ((column, value),) = name.items()
    return pd.concat(
        [pd.Series(value, index=table.index, name=column, dtype=object), table], axis=1
    )
