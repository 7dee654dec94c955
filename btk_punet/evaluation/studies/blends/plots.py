"""The plots on blends that a report shows: what becomes of them, and how they are outlined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from btk_punet.evaluation.plotting.style import methods_of
from btk_punet.evaluation.quantities import SHORT
from btk_punet.evaluation.studies.blends.display import OutcomesDisplay
from btk_punet.evaluation.studies.blends.outcome_tables import OUTCOME_TABLES
from btk_punet.evaluation.studies.outlines.display import MaskPrecisionDisplay, OutlineDisplay
from btk_punet.evaluation.studies.outlines.tables import SEGMENTATION_BY

_OF_OUTCOMES = {
    "neighbour_distance_arcsec": "the distance between the closest two sources",
    "magnitude_difference": "the magnitude difference between the brightest two sources",
    "limit_snr": "the information limit of the hardest source",
}
_READ_OUTCOMES = {
    "neighbour_distance_arcsec": (
        "More of the lowest colour, recognized, is better; its error bar is the 68% interval, and "
        "the grey numbers on top are those of the blends."
    ),
    "magnitude_difference": (
        "More of the lowest colour, recognized, is better; a growing share of undetected and "
        "unrecognized blends to the right means that faint companions are lost."
    ),
    "limit_snr": (
        "More of the lowest colour, recognized, is better; to the right of 5, all sources of a "
        "blend can be told from their neighbours, and what is not recognized there is left unused."
    ),
}
_READ_OUTLINES = (
    "Higher is better, and 1 is a perfect outline; only sources that a method finds enter, so read "
    "it beside the completeness; the error bars are standard errors of the mean."
)


def blend_plots(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield name, title, a sentence on how to read it, and display of each plot.

    Args:
        tables: Tables of `outcome_tables` and `segmentation_tables`, and ``headline`` of
            `summary_tables`. Plots of missing and empty tables are left out.
    """
    everyone = methods_of(tables["headline"]) if "headline" in tables else None
    for by, name in OUTCOME_TABLES.items():
        if name in tables and (tables[name]["n"] > 0).any():
            yield (
                name,
                f"What becomes of blends, by {_OF_OUTCOMES[by]}",
                _READ_OUTCOMES[by],
                OutcomesDisplay(tables[name], by),
            )
    for by in SEGMENTATION_BY:
        name = f"segmentation_by_{SHORT[by]}"
        if name in tables and (tables[name]["n"] > 0).any():
            yield (
                name,
                f"Outlines by {SHORT[by].replace('_', ' ')}",
                _READ_OUTLINES,
                OutlineDisplay(tables[name], by, everyone),
            )
    curves = tables.get("mask_curves")
    if curves is not None and (curves["n_truth"] > 0).any():
        yield (
            "mask_curves",
            "Purity and completeness of the outlines",
            "Up and to the right is better: here a source is found if an outline agrees with its "
            "footprint as well as the title says, wherever its centre is said to be, and a method "
            "without probabilities is a point.",
            MaskPrecisionDisplay(curves, everyone),
        )
