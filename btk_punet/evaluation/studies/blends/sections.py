"""Sections of the report on blends: what becomes of them, and how well they are outlined."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.studies.blends.regions import OUTCOMES

OUTCOME_DEFINITIONS = (
    (
        "Blend",
        "Two or more sources whose true footprints (where the noiseless flux of a source exceeds "
        "one sigma of the background) hang together by shared pixels. Sources with a "
        "signal-to-noise ratio of 2 or less are left out. Blends count if all of their sources "
        "lie away from the edge.",
    ),
    (
        "What becomes of a blend",
        "Each of its sources is drawn alone, in the very same noise, and the same method runs on "
        "that image. Recognized: it detects every source alone, and in the blend as many as there "
        "are. Unrecognized: it detects every source alone, but fewer in the blend. Shredded: it "
        "detects every source alone, and more in the blend than there are. Undetected: it misses "
        "some of the sources even alone, and detects the others in the blend, no more and no "
        "fewer. Merged: it detects none of them alone, but something where they overlap. Other: "
        "everything else, listed in the table of combinations. A detection belongs to a blend if "
        "it is matched to one of its sources, on its pixels, or within {radius} arcsec of one.",
    ),
)
SEGMENTATION_DEFINITIONS = (
    (
        "Outline, footprint, IoU",
        "The outline of a detection is the pixels that the method says it covers; the footprint "
        "of a source is where its noiseless flux exceeds one sigma of the background. Their IoU, "
        "intersection over union, is the number of pixels of both divided by that of either. Its "
        "mean is over the sources that count and are matched; its error is the standard error.",
    ),
    (
        "Blended region",
        "The pixels that two or more outlines cover, against those that two or more footprints "
        "cover. A method whose outlines never overlap has an IoU of 0 there.",
    ),
    (
        "Average precision",
        "As COCO has it: detections, the most probable first, are matched to sources by the IoU "
        "of outline and footprint alone, and the purity is averaged over the completeness as the "
        "threshold on the probability falls. AP is the mean over IoU thresholds of 0.5, 0.55, "
        "..., 0.95; AP50 and AP75 are at one. Methods without probabilities have none.",
    ),
    (
        "Worse than undeblended",
        "If nothing had been deblended, all outlines that touch would be one object. Of the "
        "sources whose footprint overlaps another's and that are matched: the fraction that is "
        "placed further from the truth than the centre of light of that object, and the fraction "
        "whose outline has a smaller IoU than that object.",
    ),
)


def blend_sections(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Yield the tables on blends and outlines, each with a sentence on how to read it."""
    if "outcomes" in tables and (tables["outcomes"]["n"] > 0).any():
        yield _outcomes(tables["outcomes"])
        yield _combinations(tables["outcome_combinations"])
    if "segmentation_scores" in tables:
        yield _scores(tables["segmentation_scores"])
        yield _classes(tables["segmentation_classes"])


def blend_definitions(tables: Mapping[str, pd.DataFrame]) -> tuple[tuple[str, str], ...]:
    """Return term and meaning of the words in the sections and plots that there are."""
    outcomes = OUTCOME_DEFINITIONS if "outcomes" in tables else ()
    return outcomes + (SEGMENTATION_DEFINITIONS if "segmentation_scores" in tables else ())


def _outcomes(table: pd.DataFrame) -> dict[str, Any]:
    rows = []
    for method, of_method in table.groupby("method", sort=False):
        of_outcome = of_method.set_index("outcome")
        cells = [{"value": f"{of_outcome['n'].iloc[0]:,}"}]
        cells += [_fraction(of_outcome.loc[outcome]) for outcome in OUTCOMES]
        rows.append({"name": method, "cells": cells})
    return {
        "title": "What becomes of blends",
        "how_to_read": (
            "Fractions of the blends, which add up to 1 in each row: more recognized is better. "
            "What the outcomes are is said below."
        ),
        "head": ["Method", "Blends", *(outcome.capitalize() for outcome in OUTCOMES)],
        "rows": rows,
    }


def _combinations(table: pd.DataFrame) -> dict[str, Any]:
    """Return the numbers of blends of each combination, but for those of which there is none."""
    methods = list(dict.fromkeys(table["method"]))
    numbers = table.pivot(index="combination", columns="method", values="k")[methods]
    named = table.drop_duplicates("combination").set_index("combination")["outcome"]
    rows = [
        {
            "name": combination,
            "cells": [
                {"value": outcome.capitalize()},
                *({"value": f"{number:,}"} for number in numbers.loc[combination]),
            ],
        }
        for combination, outcome in named.items()
        if numbers.loc[combination].any()
    ]
    return {
        "title": "Blends by what is detected",
        "how_to_read": (
            "Numbers of blends; of n sources, s are detected when each is alone, and b detections "
            "are there when all are."
        ),
        "head": ["Combination", "Outcome", *methods],
        "rows": rows,
    }


def _scores(table: pd.DataFrame) -> dict[str, Any]:
    rows = []
    for _, row in table.iterrows():
        mean = _fraction(row, "mean_iou", 3)
        cells = [
            {"value": f"{row['mean_iou_n']:,}"},
            mean,
            *(
                _plain(row[name])
                for name in (
                    "blended_region_iou",
                    "average_precision",
                    "average_precision_50",
                    "average_precision_75",
                )
            ),
            {"value": f"{row['placed_worse_n']:,}"},
            *(_fraction(row, name, 3) for name in ("placed_worse", "outlined_worse")),
        ]
        rows.append({"name": row["method"], "cells": cells})
    head = ["Method", "Matched", "Mean IoU", "IoU of blended region", "AP", "AP50", "AP75"]
    return {
        "title": "Outlines",
        "how_to_read": (
            "Higher is better, but for the last two columns: the fractions of the matched sources "
            "in overlaps that would have been placed, or outlined, better if nothing had been "
            "deblended. Methods without outlines are left out."
        ),
        "head": [*head, "In overlaps", "Placed worse", "Outlined worse"],
        "rows": rows,
    }


def _classes(table: pd.DataFrame) -> dict[str, Any]:
    columns = ("precision", "recall", "f1", "iou")
    rows = [
        {
            "name": row["method"],
            "cells": [
                {"value": row["class"]},
                *(_plain(row[column]) for column in columns),
                {"value": f"{row['support']:,}"},
            ],
        }
        for _, row in table.iterrows()
    ]
    return {
        "title": "Pixels that no outline, one, or more cover",
        "how_to_read": (
            "Of pixels that are background, of one source (isolated) or of several (blended): how "
            "well the number of outlines that cover each says so; higher is better."
        ),
        "head": ["Method", "Class", "Precision", "Recall", "F1", "IoU", "Pixels"],
        "rows": rows,
    }


def _fraction(row: pd.Series, name: str = "value", decimals: int = 2) -> dict[str, str]:
    value, low, high = (row[column] for column in (name, f"{name}_lo", f"{name}_hi"))
    if np.isnan(value):
        return {"value": "–", "interval": ""}
    interval = "" if np.isnan(low) else f"({low:.{decimals}f}–{high:.{decimals}f})"
    return {"value": f"{value:.{decimals}f}", "interval": interval}


def _plain(value: float) -> dict[str, str]:
    return {"value": "–" if np.isnan(value) else f"{value:.3f}"}
