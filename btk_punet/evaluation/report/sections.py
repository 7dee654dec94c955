"""Sections of the report: the tables as it shows them, and what its words mean."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.style import bin_label, decimals_of, without_unknown_ceiling
from btk_punet.evaluation.quantities import CEILING
from btk_punet.evaluation.studies.equal_purity.ceiling_share import COMMON_PURITY
from btk_punet.evaluation.studies.probabilities.calibration_sections import calibration_sections

DEFINITIONS = (
    ("Completeness", "Recall: matched true sources divided by true sources that count."),
    ("Purity", "Precision: matched detections divided by detections, away from the edge."),
    (
        "A source that counts",
        "It would have a signal-to-noise ratio above 5 if it were alone in the image, and lies at "
        "least 2 pixels from the edge. Stars are sources. Fainter sources may be matched (above "
        "2), so that finding one is not a false detection, but missing one is not an error.",
    ),
    (
        "Match",
        "A true source and a detection closer than {radius} arcsec, one to one: as many pairs as "
        "possible, and of those the closest.",
    ),
    (
        "Information ceiling",
        "The completeness of a method that finds exactly the sources that can be told to be there "
        "at 5 sigma (limit SNR above 5): its own profile is known, but flux, position, size and "
        "shape of all its neighbours are not. A method below it leaves information in the image "
        "unused. It is a yardstick and no bound: a method that accepts less than 5 sigma can lie "
        "above it, usually at a cost in purity.",
    ),
    (
        "Neighbour distance",
        "Completeness: from a true source to the nearest other with a signal-to-noise ratio above "
        "2. Purity: from a detection to the nearest other detection.",
    ),
    (
        "Magnitude",
        "Completeness: the true one. Purity: in an aperture of 0.5 arcsec radius at the "
        "detection, the same for every method.",
    ),
    (
        "Intervals",
        "68% Wilson intervals. All methods see the same scenes, so a difference between two of "
        "them is known better than the intervals of each suggest.",
    ),
)

PROBABILITY_DEFINITIONS = (
    (
        "Equal purity",
        "A method that gives probabilities can be as pure as it likes, at the cost of "
        "completeness. So it is compared with each other method at that one's purity over all "
        "scenes: its threshold is raised from 0.02 until it is as pure, matching anew at each "
        "step. The margin is its completeness less the other's; its interval is from a bootstrap "
        "over scenes, the same ones for both.",
    ),
    (
        "Calibration",
        "Of the candidates said to be sources with a probability p, the fraction p should be "
        "matched. All candidates of 0.02 or more count, whatever the threshold. The expected "
        "calibration error is the mean distance from that; the Brier score is the mean squared "
        "error of the probabilities, and the skill is the share of it that a constant "
        "probability would have and they have not.",
    ),
    (
        "Count gap",
        "How far the posterior of the number of sources is from right, 0 to 1: the largest gap "
        "between the distribution of the true counts' places in their posteriors (probability "
        "integral transforms) and the uniform one.",
    ),
    (
        "Flagged blend",
        "An object is a region with a class mean (0 background, 1 one source, 2 more) of 0.5 or "
        "more. It is flagged where its largest class mean exceeds a threshold, and truly a blend "
        "where its true pixels hold 3 or more that several sources cover.",
    ),
)

_TABLES = (
    ("completeness_by_neighbour_distance", "Completeness by distance to the nearest neighbour"),
    ("completeness_by_magnitude", "Completeness by magnitude"),
    ("purity_by_neighbour_distance", "Purity by distance to the nearest other detection"),
    ("purity_by_magnitude", "Purity by magnitude"),
)
_FIRST_COLUMN = {"neighbour_distance": "Distance [arcsec]", "magnitude": "Magnitude"}


def fraction_tables(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Yield completeness and purity in bins, with the methods as columns."""
    for name, title in _TABLES:
        if name in tables and (tables[name]["n"] > 0).any():
            yield _pivoted(name, title, tables[name])


def probability_sections(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Yield the tables on probabilities, each with a sentence on how to read it."""
    if "equal_purity" in tables:
        for detector, rows in tables["equal_purity"].groupby("detector", sort=False):
            yield _equal_purity(detector, rows)
    if "equal_purity_by_neighbour_distance" in tables:
        by_distance = tables["equal_purity_by_neighbour_distance"]
        for detector, rows in by_distance.groupby("detector", sort=False):
            yield _equal_purity_by_distance(detector, rows)
    if "probability_scores" in tables:
        yield _scores(tables["probability_scores"])
    yield from calibration_sections(tables)


def ceiling_share_section(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Yield the shares of the information ceiling, where that is known."""
    table = tables.get("ceiling_share")
    if table is None or table["ceiling"].isna().all():
        return
    rows = [
        {
            "name": row["method"],
            "cells": [
                _plain(row["purity"]),
                _plain(row["completeness"]),
                _cell(row["share"], row["share_lo"], row["share_hi"], 3),
            ],
        }
        for _, row in table.iterrows()
    ]
    yield {
        "title": f"Share of the information ceiling at purity {COMMON_PURITY:g}",
        "how_to_read": (
            "1 would be to find as much as can be told from unknown neighbours; a method without "
            "probabilities has its own purity, and no figure if it is less pure."
        ),
        "head": ["Method", "At purity", "Completeness", "Share"],
        "rows": rows,
    }


def headline_table(
    tables: Mapping[str, pd.DataFrame], timing: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return completeness and purity over everything, a row a method; None without any."""
    table = tables.get("headline")
    if table is None or table.empty:
        return None
    head = ["Method", "Completeness", "Purity", "Of the ceiling", "Detections"]
    head += ["ms per blend"] if timing else []
    rows = []
    for _, row in table.iterrows():
        # The ceiling is 0 where no source can be told, and NaN where no source counts.
        share = row["completeness"] / row["ceiling"] if row["ceiling"] > 0 else np.nan
        cells = [
            _cell(row["completeness"], row["completeness_lo"], row["completeness_hi"], 3),
            _cell(row["purity"], row["purity_lo"], row["purity_hi"], 3),
            {"value": "–" if np.isnan(share) else f"{share:.0%}"},
            {"value": f"{row['purity_n']:,}"},
        ]
        if timing:
            time = timing.get(row["method"])
            cells.append({"value": "–" if time is None else f"{time:,.{0 if time >= 100 else 1}f}"})
        rows.append({"name": row["method"], "cells": cells})
    first = table.iloc[0]
    if not np.isnan(first["ceiling"]):
        ceiling = _cell(first["ceiling"], first["ceiling_lo"], first["ceiling_hi"], 3)
        rest: list[dict[str, str]] = [{"value": ""}] * (len(head) - 2)
        rows.append({"name": CEILING.capitalize(), "cells": [ceiling, *rest], "ceiling": True})
    return {"title": "Completeness and purity of each method", "head": head, "rows": rows}


def _pivoted(name: str, title: str, table: pd.DataFrame) -> dict[str, Any]:
    """Return a table of fractions with the methods as columns and a row a bin."""
    quantity, _, by = name.partition("_by_")
    table = without_unknown_ceiling(table)
    methods = list(dict.fromkeys(table["method"]))
    of_bin = list(table.groupby(["lo", "hi"], sort=True))
    same_n = all(rows["n"].nunique() == 1 for _, rows in of_bin)
    decimals = decimals_of(table[["lo", "hi"]].to_numpy().ravel()) if by == "magnitude" else None
    lines = []
    for (low, high), rows in of_bin:
        rows = rows.set_index("method").reindex(methods)
        cells = [{"value": f"{rows['n'].iloc[0]:,}"}] if same_n else []
        cells += [_cell(r["value"], r["value_lo"], r["value_hi"], 2) for _, r in rows.iterrows()]
        lines.append({"name": bin_label(low, high, decimals), "cells": cells})
    head = [_FIRST_COLUMN[by], *(["Sources"] if same_n and quantity == "completeness" else [])]
    head += ["Detections"] if same_n and quantity == "purity" else []
    head += [m.capitalize() if m == CEILING else m for m in methods]
    return {"title": title, "head": head, "rows": lines}


def _cell(value: float, low: float, high: float, decimals: int) -> dict[str, str]:
    if np.isnan(value):
        return {"value": "–", "interval": ""}
    interval = f"({low:.{decimals}f}–{high:.{decimals}f})"
    return {"value": f"{value:.{decimals}f}", "interval": interval}


def _equal_purity(detector: str, table: pd.DataFrame) -> dict[str, Any]:
    head = ["Method", "Its purity", "Its completeness", f"{detector} at this purity", "Margin"]
    rows = []
    for _, row in table.iterrows():
        cells = [
            _plain(row["purity"]),
            _plain(row["completeness_other"]),
            _plain(row["completeness"]),
            _margin(row),
            {"value": _interval(row["margin_lo_95"], row["margin_hi_95"])},
        ]
        rows.append({"name": row["method"], "cells": cells})
    return {
        "title": f"{detector} at the purity of each other method",
        "how_to_read": (
            "A positive margin means that it finds more sources with as few false ones; it is "
            "beyond doubt where the 95% interval leaves out 0."
        ),
        "head": [*head, "95% interval"],
        "rows": rows,
    }


def _equal_purity_by_distance(detector: str, table: pd.DataFrame) -> dict[str, Any]:
    methods = list(dict.fromkeys(table["method"]))
    rows = []
    for (low, high), of_bin in table.groupby(["lo", "hi"], sort=True):
        of_method = of_bin.set_index("method").reindex(methods)
        cells = [{"value": f"{of_bin['n'].iloc[0]:,}"}]
        cells += [_margin(row) for _, row in of_method.iterrows()]
        rows.append({"name": bin_label(low, high), "cells": cells})
    return {
        "title": f"Margin of {detector} at equal purity, by distance to the nearest neighbour",
        "how_to_read": (
            "Positive is better; the threshold is the one that makes the purities equal over all "
            "distances."
        ),
        "head": [_FIRST_COLUMN["neighbour_distance"], "Sources", *methods],
        "rows": rows,
    }


def _scores(table: pd.DataFrame) -> dict[str, Any]:
    columns = {
        "expected_calibration_error": "Calibration error",
        "brier_score": "Brier score",
        "brier_skill": "Skill",
        "largest_count_gap": "Count gap",
        "count_gap_by_chance": "Count gap by chance",
    }
    rows = [
        {
            "name": row["method"],
            "cells": [
                {"value": f"{row['n_candidates']:,}"},
                *(_plain(row[column]) for column in columns),
            ],
        }
        for _, row in table.iterrows()
    ]
    return {
        "title": "Scores of the probabilities",
        "how_to_read": (
            "Small is better, but for the skill, which is 1 at best and 0 for saying nothing; a "
            "count gap below that by chance, which is exceeded in one case of 20, is as good as "
            "none."
        ),
        "head": ["Method", "Candidates", *columns.values()],
        "rows": rows,
    }


def _margin(row: pd.Series) -> dict[str, str]:
    if np.isnan(row["margin"]):
        return {"value": "–", "interval": ""}
    return {
        "value": f"{row['margin']:+.3f}".replace("-", "−"),
        "interval": _interval(row["margin_lo"], row["margin_hi"]),
    }


def _interval(low: float, high: float) -> str:
    if np.isnan(low):
        return "–"
    return f"({low:+.3f} to {high:+.3f})".replace("-", "−")


def _plain(value: float) -> dict[str, str]:
    return {"value": "–" if np.isnan(value) else f"{value:.3f}"}
