"""Sections of the report on calibration, and what their words mean."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

_DEFINITIONS = (
    (
        "What is calibrated",
        "p_detect: that a candidate comes true. p_blend, of matched detections away from the edge: "
        "that the footprint of the matched source (where its noiseless flux exceeds one sigma of "
        "the background) shares a pixel with another's. Count: that the most probable number of "
        "sources is the true one. Background, isolated, blended: that a pixel is covered by no "
        "footprint, one, or more, over the pixels said to be background with less than 0.9.",
    ),
    (
        "Calibration by magnitude and distance",
        "The magnitude is that in an aperture of 0.5 arcsec radius at the candidate or detection, "
        "the distance that from a candidate (0.02 or more) to the nearest other candidate, or for "
        "p_blend from a detection to the nearest other detection, as for the purity.",
    ),
)
_ERROR_DEFINITIONS = (
    (
        "Error of the class",
        "A pixel is wrong if its most probable class is not the true one, over the pixels said to "
        "be background with less than 0.9. The area under the curve is the probability that a "
        "wrong pixel has a larger uncertainty than a right one (equal ones count half): 0.5 by "
        "chance, 1 at best. Uncertainty is the variance of the class over samples, or, without "
        "samples, 1 less the largest class probability.",
    ),
)
_SCORES = {
    "expected_calibration_error": "Calibration error",
    "brier_score": "Brier score",
    "brier_skill": "Skill",
}


def calibration_definitions(tables: Mapping[str, pd.DataFrame]) -> tuple[tuple[str, str], ...]:
    """Return term and meaning of the words of the sections that there are."""
    definitions: tuple[tuple[str, str], ...] = ()
    if "calibration_scores" in tables:
        definitions += _DEFINITIONS
    if "class_errors" in tables:
        definitions += _ERROR_DEFINITIONS
    return definitions


def calibration_sections(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Yield the tables on calibration, each with a sentence on how to read it.

    Args:
        tables: Tables of `calibration_tables` and `class_error_tables`; others are left alone.
    """
    if "calibration_scores" in tables:
        scores = tables["calibration_scores"]
        several = scores["method"].nunique() > 1
        yield {
            "title": "Calibration of everything said with a probability",
            "how_to_read": (
                "The mean of what was said should be the fraction that came true; the smaller the "
                "calibration error, the better, and it is larger by chance where there are few; "
                "a skill of 1 is perfect, and 0 is no better than always to say that fraction."
            ),
            "head": ["Quantity", "Number", "Said", "Came true", *_SCORES.values()],
            "rows": [
                {
                    "name": f"{row['method']}: {row['quantity']}" if several else row["quantity"],
                    "cells": [
                        {"value": f"{row['n']:,}"},
                        *(_plain(row[c]) for c in ("mean_probability", "base_rate", *_SCORES)),
                    ],
                }
                for _, row in scores.iterrows()
            ],
        }
    if "class_errors" in tables:
        yield {
            "title": "Where the class of a pixel is wrong",
            "how_to_read": (
                "The larger the area under the curve, the better the variance over samples, or the "
                "largest class probability alone, tells wrong pixels from right ones; 0.5 is "
                "chance."
            ),
            "head": [
                "Method",
                "Pixels",
                "Wrong",
                "Area, by variance",
                "Area, by probability",
            ],
            "rows": [
                {
                    "name": row["method"],
                    "cells": [
                        {"value": f"{row['n_pixels']:,}"},
                        *map(_plain, row[["error_rate", "auc_variance", "auc_probability"]]),
                    ],
                }
                for _, row in tables["class_errors"].iterrows()
            ],
        }


def _plain(value: float) -> dict[str, str]:
    return {"value": "–" if np.isnan(value) else f"{value:.3f}".replace("-", "−")}
