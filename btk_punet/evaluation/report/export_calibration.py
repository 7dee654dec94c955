"""The tables on calibration in LaTeX, and what their columns are."""

import pandas as pd

from btk_punet.evaluation.plotting.style import decimals_of
from btk_punet.evaluation.report.old_latex import (
    INTERVALS,
    Part,
    escape_latex,
    latex_bin,
    latex_number,
    latex_value,
    tabular,
)

# Quantity -> what there are n of, and what is true of k.
_OF_QUANTITY = {
    "calibration": ("candidates in bounds", "came true"),
    "blend_calibration": ("matched detections in bounds", "overlapped by another source"),
    "count_calibration": ("scenes", "the most probable number of sources is true"),
    "class_calibration": ("pixels with p(background) < 0.9", "truly of the class"),
}
_BINNED = {
    "quantity": "p_detect: a candidate comes true; p_blend: a matched detection is overlapped",
    "n": "number of candidates (p_detect) or matched detections (p_blend) in bounds",
    "k": "of them those that came true (p_detect) or are overlapped (p_blend)",
    "mean_probability": "mean of the probabilities of those in the bin",
    "expected_calibration_error": "mean distance of probability and fraction in ten bins of it",
    "brier_score": "mean squared difference of probability and outcome",
}
_SCORES = {
    "quantity": "what is said with a probability: p_detect, p_blend, count, or class of a pixel",
    "n": "number of candidates, matched detections, scenes or pixels",
    "mean_probability": "mean of the probabilities",
    "base_rate": "fraction that came true",
    "expected_calibration_error": "mean distance of probability and fraction in ten bins of it",
    "brier_score": "mean squared difference of probability and outcome",
    "brier_skill": "share of the Brier score of a constant probability that is gone",
}
_ERRORS = {
    "n_pixels": "number of pixels with p(background) < 0.9",
    "n_wrong": "of them those whose most probable class is not the true one",
    "error_rate": "n_wrong / n_pixels",
    "auc_variance": "area under the curve of wrong pixels told by the variance of the class",
    "auc_probability": "area under the curve of wrong pixels told by 1 - largest probability",
}
_CURVES = {
    "predictor": "by what a pixel is flagged: class_variance, or 1 - largest class_probability",
    "threshold": "least value of a flagged pixel",
    "n": "number of flagged pixels",
    "k": "of them those whose most probable class is not the true one",
    "flagged_wrong": "k / number of all wrong pixels",
    "flagged_right": "(n - k) / number of all right pixels",
}
_PIXELS = "Neighbouring pixels are not independent, so that the intervals are too small."


def calibration_description(name: str, column: str) -> str | None:
    """Return what a column of a table on calibration is, where it is not what it is elsewhere."""
    if name in _OF_QUANTITY:
        of, so = _OF_QUANTITY[name]
        of_table = {
            "class": "class of a pixel: covered by no footprint, one, or more",
            "lo": "lower edge of the bin of the probability",
            "n": f"number of {of}",
            "k": f"of them those of which it is true: {so}",
        }
        return of_table.get(column)
    of_kind = {
        "calibration_by_magnitude": _BINNED,
        "calibration_by_neighbour_distance": _BINNED,
        "calibration_scores": _SCORES,
        "class_errors": _ERRORS,
        "class_error_curves": _CURVES,
    }
    return of_kind.get(name, {}).get(column)


def calibration_parts(name: str, table: pd.DataFrame) -> list[Part] | None:
    """Return the LaTeX tables of a table on calibration; None for any other.

    None too for one without rows, or that lacks the columns of its name.
    """
    reliability = {"method", "lo", "mean_probability", "value"}
    needed = {
        **dict.fromkeys(_OF_QUANTITY, reliability),
        "class_calibration": reliability | {"class"},
        "calibration_by_magnitude": reliability | {"quantity"},
        "calibration_by_neighbour_distance": reliability | {"quantity"},
        "calibration_scores": {"method", "quantity", "base_rate"},
        "class_errors": {"method", "auc_variance"},
        "class_error_curves": {"method", "flagged_wrong"},
    }
    if name not in needed or not needed[name] <= set(table.columns) or table.empty:
        return None
    if name == "calibration_scores":
        return [_scores(table)]
    if name == "class_errors":
        return [_errors(table)]
    if name == "class_error_curves":
        return []
    if name == "class_calibration":
        return [
            _reliability(rows, "Probability", _caption(name, f"that a pixel is {of} ", _PIXELS))
            for of, rows in table.groupby("class", sort=False)
        ]
    if name in _OF_QUANTITY:
        return [_reliability(table, "Probability", _caption(name))]
    by = name.partition("_by_")[2]
    heading = {"magnitude": "Magnitude", "neighbour_distance": "Distance [arcsec]"}[by]
    words = {
        "magnitude": "magnitude in an aperture of 0.5 arcsec radius",
        "neighbour_distance": "distance to the nearest other one",
    }[by]
    return [
        _reliability(
            rows,
            heading,
            f"Calibration of {escape_latex(quantity)} by {words}: the number $N$ of "
            f"{'candidates' if quantity == 'p_detect' else 'matched detections'} in each bin, "
            f"their mean probability and the fraction of which it is true. {INTERVALS}",
            decimals_of(rows[["lo", "hi"]].to_numpy().ravel()) if by == "magnitude" else None,
        )
        for quantity, rows in table.groupby("quantity", sort=False)
    ]


def _caption(name: str, of_what: str = "", note: str = "") -> str:
    of, so = _OF_QUANTITY[name]
    text = (
        f"Calibration of the probability {of_what}: the number $N$ of {of} in each bin, their mean "
        f"probability and the fraction of which it is true ({so}). {INTERVALS} {note}"
    )
    return text.replace(" :", ":").replace("<", "$<$").strip()


def _reliability(table: pd.DataFrame, heading: str, caption: str, decimals: int | None = 1) -> Part:
    methods = list(dict.fromkeys(table["method"]))
    body = []
    for (low, high), rows in table.groupby(["lo", "hi"], sort=True):
        line = [latex_bin(low, high, decimals)]
        for _, row in rows.set_index("method").reindex(methods).iterrows():
            came_true = latex_value(row["value"], row["value_lo"], row["value_hi"])
            line += [f"{row['n']:.0f}", latex_number(row["mean_probability"], 2), came_true]
        body.append(line)
    head = [
        ["", *(rf"\multicolumn{{3}}{{c}}{{{escape_latex(name)}}}" for name in methods)],
        [heading, *["$N$", "Mean", "True"] * len(methods)],
    ]
    return Part("", caption, tabular("l" + "rrr" * len(methods), head, body))


def _scores(table: pd.DataFrame) -> Part:
    numbers = (
        "mean_probability",
        "base_rate",
        "expected_calibration_error",
        "brier_score",
        "brier_skill",
    )
    head = ["Method", "Quantity", "$N$", "Said", "True", "Calibration error", "Brier", "Skill"]
    body = [
        [
            escape_latex(row["method"]),
            escape_latex(row["quantity"]),
            str(row["n"]),
            *(latex_number(row[name]) for name in numbers),
        ]
        for _, row in table.iterrows()
    ]
    caption = (
        "Calibration of everything said with a probability: mean probability, fraction of which "
        "it is true, expected calibration error, Brier score and skill, of $N$ candidates "
        r"(p\_detect), matched detections (p\_blend), scenes (the most probable count), and pixels "
        "with p(background) $<$ 0.9 (the classes)."
    )
    return Part("", caption, tabular("llrrrrrr", [head], body))


def _errors(table: pd.DataFrame) -> Part:
    body = [
        [
            escape_latex(row["method"]),
            str(row["n_pixels"]),
            *map(latex_number, row[["error_rate", "auc_variance", "auc_probability"]]),
        ]
        for _, row in table.iterrows()
    ]
    caption = (
        "How well uncertainty tells the pixels of a wrong class: the number $N$ of pixels with "
        "p(background) $<$ 0.9, the fraction that is wrong, and the area under the curve of wrong "
        "against right pixels by the variance of the class over samples, and by 1 less the "
        "largest class probability (0.5 by chance, 1 at best)."
    )
    head = ["Method", "$N$", "Wrong", "Area, variance", "Area, probability"]
    return Part("", caption, tabular("lrrrr", [head], body))
