"""The plots on calibration that a report shows, but for that of ``p_detect`` over everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from btk_punet.evaluation.quantities import SHORT
from btk_punet.evaluation.studies.detection.metrics import PURITY_BY
from btk_punet.evaluation.studies.probabilities.binned_display import BinnedCalibrationDisplay
from btk_punet.evaluation.studies.probabilities.class_displays import (
    ClassReliabilityDisplay,
    ErrorPredictionDisplay,
)

# Those which draw in a figure instead of axes.
OF_PANELS = (BinnedCalibrationDisplay, ClassReliabilityDisplay)

_BY = {
    "magnitude": "magnitude",
    "neighbour_distance_arcsec": "distance to the nearest other candidate or detection",
}


def calibration_plots(
    tables: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> Iterator[tuple[str, str, str, Any]]:
    """Yield name, title, a sentence on how to read it, and display of each plot.

    Args:
        tables: Tables of `calibration_tables` and `class_error_tables`. Plots of missing and empty
            tables are left out.
        methods: Names of all methods of the run.
    """
    for by in PURITY_BY:
        name = f"calibration_by_{SHORT[by]}"
        if name in tables and (tables[name]["n"] > 0).any():
            yield (
                name,
                f"Calibration by {_BY[by]}",
                "Filled points, what came true, should lie on the open ones, what was said; below "
                "them a method is too sure of such detections, above them not sure enough.",
                BinnedCalibrationDisplay(tables[name], by, methods),
            )
    classes = tables.get("class_calibration")
    if classes is not None and (classes["n"] > 0).any():
        yield (
            "class_calibration",
            "Calibration of the class of a pixel",
            "On the dashed line, as many pixels are of the class as was said; pixels that are "
            "background with 0.9 or more are left out, and the error bars take neighbouring "
            "pixels for independent, so that they are too short.",
            ClassReliabilityDisplay(classes, methods),
        )
    curves = tables.get("class_error_curves")
    if curves is not None and curves["flagged_wrong"].notna().any():
        yield (
            "class_error_curves",
            "Does uncertainty tell where the class is wrong?",
            "Up and to the left is better: more of the wrong pixels are found for as many false "
            "alarms; the dotted line is chance, a long straight part is of pixels with the same "
            "uncertainty, such as a variance of 0, and the area under each curve is in brackets.",
            ErrorPredictionDisplay(curves, tables.get("class_errors"), methods),
        )
