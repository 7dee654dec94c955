"""The tables on probabilities in LaTeX, and what their columns are."""

import numpy as np
import pandas as pd

from btk_punet.evaluation.report.old_latex import (
    INTERVALS,
    NOTHING,
    Part,
    escape_latex,
    latex_bin,
    latex_number,
    latex_value,
    tabular,
)
from btk_punet.evaluation.studies.probabilities.probability_tables import without_missed

# Columns that only these tables have.
DESCRIPTIONS = {
    "detector": "method with probabilities, whose threshold is raised to equal the other's purity",
    "threshold": "least probability of a detection, or of a flagged blend the least class_mean",
    "reached": "whether the detector is ever so pure",
    "completeness_other": "completeness of the other method",
    "margin": "completeness of the detector less that of the other method, at its purity",
    "margin_lo": "lower end of the interval of 68% of the bootstrap draws of the margin",
    "margin_hi": "upper end of the interval of 68% of the bootstrap draws of the margin",
    "margin_lo_95": "lower end of the interval of 95% of the bootstrap draws of the margin",
    "margin_hi_95": "upper end of the interval of 95% of the bootstrap draws of the margin",
    "reached_share": "share of the bootstrap draws in which the detector is so pure",
    "n_detections": "number of detections in bounds",
    "n_matched_detections": "of them matched",
    "n_truth": "number of sources that count",
    "n_found": "of them matched",
    "mean_probability": "mean of the probabilities in the bin",
    "quantity": "purity or completeness of the flag; missed: blended regions without an object",
    "n_candidates": "number of candidates in bounds with p_detect of 0.02 or more",
    "expected_calibration_error": "mean distance of p_detect from the fraction matched, in bins",
    "brier_score": "mean squared difference of p_detect and outcome",
    "brier_skill": "share of the Brier score of a constant probability that is gone",
    "n_scenes": "number of scenes",
    "largest_count_gap": "largest gap between the transforms of the true counts and uniform ones",
    "count_gap_by_chance": "gap that a right posterior of the count exceeds in one case of 20",
}


def probability_parts(name: str, table: pd.DataFrame) -> list[Part] | None:
    """Return the LaTeX tables of a table of `probability_tables`; None for any other.

    None too for one without rows, or that lacks the columns of its name.
    """
    kinds = {
        "equal_purity": ({"detector", "margin_lo_95"}, _equal_purity),
        "equal_purity_by_neighbour_distance": ({"detector", "margin", "lo"}, _by_distance),
        "purity_completeness": ({"n_detections", "n_truth"}, lambda table: []),
        "blend_identification": ({"quantity", "method"}, _blend_identification),
        "probability_scores": ({"brier_skill"}, _scores),
    }
    if name not in kinds or not kinds[name][0] <= set(table.columns) or table.empty:
        return None
    return kinds[name][1](table)


def _equal_purity(table: pd.DataFrame) -> list[Part]:
    parts = []
    for detector, rows in table.groupby("detector", sort=False):
        body = [
            [
                escape_latex(row["method"]),
                latex_number(row["purity"]),
                latex_number(row["completeness_other"]),
                latex_number(row["completeness"]),
                latex_value(row["margin"], row["margin_lo"], row["margin_hi"], 3),
                _range(row["margin_lo_95"], row["margin_hi_95"]),
            ]
            for _, row in rows.iterrows()
        ]
        name = escape_latex(detector)
        head = ["Method", "Purity", "Completeness", name, "Margin", r"95\%"]
        caption = (
            f"Completeness of {name} at the purity of each other method, and its margin over it. "
            "The intervals hold 68\\% of the draws of a paired bootstrap over scenes."
        )
        parts.append(Part("", caption, tabular("lrrrrr", [head], body)))
    return parts


def _by_distance(table: pd.DataFrame) -> list[Part]:
    parts = []
    for detector, rows in table.groupby("detector", sort=False):
        methods = list(dict.fromkeys(rows["method"]))
        body = []
        for (low, high), of_bin in rows.groupby(["lo", "hi"], sort=True):
            of_method = of_bin.set_index("method").reindex(methods)
            margins = [
                latex_value(row["margin"], row["margin_lo"], row["margin_hi"], 3)
                for _, row in of_method.iterrows()
            ]
            body.append([latex_bin(low, high), str(of_bin["n"].iloc[0]), *margins])
        head = ["Distance [arcsec]", "$N$", *map(escape_latex, methods)]
        caption = (
            f"Completeness of {escape_latex(detector)} less that of each other method at the "
            "other's purity, by distance to the nearest neighbour, with the number $N$ of "
            "sources. The intervals hold 68\\% of the draws of a paired bootstrap over scenes."
        )
        parts.append(Part("", caption, tabular("lr" + "r" * len(methods), [head], body)))
    return parts


def _blend_identification(table: pd.DataFrame) -> list[Part]:
    curves = without_missed(table)
    columns = [
        (method, quantity)
        for method in dict.fromkeys(curves["method"])
        for quantity in ("purity", "completeness")
    ]
    body = []
    for threshold, rows in curves.groupby("threshold", sort=True):
        of_column = rows.set_index(["method", "quantity"]).reindex(columns)
        values = [
            latex_value(row["value"], row["value_lo"], row["value_hi"])
            for _, row in of_column.iterrows()
        ]
        body.append([f"{threshold:.2f}", *values])
    methods = dict.fromkeys(method for method, _ in columns)
    head = [
        ["", *(rf"\multicolumn{{2}}{{c}}{{{escape_latex(name)}}}" for name in methods)],
        ["Threshold", *["Purity", "Completeness"] * len(methods)],
    ]
    caption = f"Objects flagged as blends whose largest class mean exceeds a threshold. {INTERVALS}"
    return [Part("", caption, tabular("l" + "rr" * len(methods), head, body))]


def _scores(table: pd.DataFrame) -> list[Part]:
    head = ["Method", "$N$", "Calibration error", "Brier score", "Skill", "Count gap", "By chance"]
    body = [
        [
            escape_latex(row["method"]),
            str(row["n_candidates"]),
            latex_number(row["expected_calibration_error"]),
            latex_number(row["brier_score"]),
            latex_number(row["brier_skill"]),
            latex_number(row["largest_count_gap"]),
            latex_number(row["count_gap_by_chance"]),
        ]
        for _, row in table.iterrows()
    ]
    caption = (
        "Scores of the probabilities: expected calibration error, Brier score and skill of the "
        "$N$ candidates, and the largest gap of the transform of the count of sources, with "
        "that which chance alone exceeds in one case of 20."
    )
    return [Part("", caption, tabular("lrrrrrr", [head], body))]


def _range(low: float, high: float) -> str:
    return NOTHING if np.isnan(low) else f"$({low:+.3f}, {high:+.3f})$"
