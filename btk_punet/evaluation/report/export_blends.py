"""The tables on blends and outlines in LaTeX, and what their columns are."""

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.style import decimals_of
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
from btk_punet.evaluation.studies.blends.regions import OUTCOMES

_FRACTION = {
    "value_lo": "lower end of the 68% Wilson interval",
    "value_hi": "upper end of the 68% Wilson interval",
}
_OF_OUTCOMES = {
    "outcome": "what becomes of the blend",
    "combination": "of n sources, s are detected alone and b detections are there with all",
    "n": "number of blends",
    "k": "of them with this outcome",
    "value": "k / n; NaN where n is 0",
    **_FRACTION,
}
_OF_MASKS = {
    "iou_threshold": "least IoU of an outline and the footprint that it is matched to",
    "p_detect": "lowest probability of the detections that are counted; NaN if there are none",
    "n_detections": "number of outlines that count",
    "n_matched": "of them matched",
    "n_truth": "number of sources that count and have a footprint",
    "purity": "n_matched / n_detections",
    "completeness": "n_matched / n_truth",
    "average_precision": "area below the curve of purity and completeness, as COCO takes it",
}
# Of which sources, what.
_OF_WORSE = {
    "unmatched": ("sources in overlaps", "without a match"),
    "placed_worse": ("matched sources in overlaps", "placed worse than if undeblended"),
    "outlined_worse": ("matched sources in overlaps", "outlined worse than if undeblended"),
}
_OF_SCORES = {
    "mean_iou": "mean IoU of outline and footprint of matched sources",
    "mean_iou_n": "number of matched sources that count",
    "mean_iou_lo": "mean_iou less its standard error",
    "mean_iou_hi": "mean_iou plus its standard error",
    "blended_region_iou": "IoU of the pixels that several outlines, and several footprints, cover",
    "blended_region_iou_n": "number of pixels of either",
    "blended_region_iou_k": "number of pixels of both",
    "average_precision": "mean over IoU thresholds 0.5, 0.55, ..., 0.95 (COCO's AP)",
    "average_precision_50": "average precision at an IoU of 0.5",
    "average_precision_75": "average precision at an IoU of 0.75",
}
_OF_MEANS = {
    "n": "number of matched sources that count",
    "value": "mean IoU of their outlines and footprints",
    "error": "standard error of the mean; NaN below two",
    "value_lo": "value less its error",
    "value_hi": "value plus its error",
}
_OF_CLASSES = {
    "class": "true class of a pixel: covered by no footprint, one, or more",
    "precision": "of the pixels that the outlines say are of the class, the fraction that is",
    "recall": "of the pixels of the class, the fraction that the outlines say is",
    "f1": "harmonic mean of precision and recall",
    "iou": "intersection over union of true and said pixels",
    "support": "true pixels of the class",
}
# Quantity of the bins, by its name in the name of a table -> heading, and what it is.
_BINS = {
    "neighbour_distance": ("Distance [arcsec]", "distance between the closest two sources"),
    "magnitude_difference": (
        "Difference [mag]",
        "magnitude difference between the brightest two sources",
    ),
    "limit_snr": ("S/N", "signal-to-noise ratio of the hardest source among unknown neighbours"),
}
_SOURCE_BINS = {
    "neighbour_distance": ("Distance [arcsec]", "distance to the nearest neighbour"),
    "magnitude": ("Magnitude", "true magnitude"),
}


def blend_description(name: str, column: str) -> str | None:
    """Return what a column of a table on blends or outlines is; None for any other."""
    kinds = {
        "outcome": _OF_OUTCOMES,
        "segmentation_by_": _OF_MEANS,
        "segmentation_scores": _OF_SCORES,
        "segmentation_classes": _OF_CLASSES,
        "mask_": _OF_MASKS,
    }
    of_kind = next((columns for start, columns in kinds.items() if name.startswith(start)), {})
    return of_kind.get(column) or _description_of_worse(column)


def _description_of_worse(column: str) -> str | None:
    for name, (of_which, what) in _OF_WORSE.items():
        descriptions = {
            name: f"fraction of the {of_which} that are {what}",
            f"{name}_n": f"number of {of_which}",
            f"{name}_k": f"of them those {what}",
            f"{name}_lo": f"lower end of the 68% Wilson interval of {name}",
            f"{name}_hi": f"upper end of the 68% Wilson interval of {name}",
        }
        if column in descriptions:
            return descriptions[column]
    return None


def blend_parts(name: str, table: pd.DataFrame) -> list[Part] | None:
    """Return the LaTeX tables of `outcome_tables` and `segmentation_tables`; None for any other.

    None too for one without rows, or that lacks the columns of its name.
    """
    kind, _, by = name.partition("_by_")
    kinds = {
        "outcomes": ({"outcome", "value_lo"}, _binned_outcomes if by else _outcomes),
        "outcome_combinations": ({"combination", "k"}, _combinations),
        "segmentation": ({"error", "value_lo"}, _means),
        "segmentation_scores": ({"mean_iou", "placed_worse"}, _scores),
        "segmentation_classes": ({"class", "support"}, _classes),
        "mask_precision": ({"iou_threshold", "average_precision"}, _precision),
        "mask_curves": ({"iou_threshold", "p_detect"}, lambda by, table: []),
    }
    if kind not in kinds or not {"method"} | kinds[kind][0] <= set(table.columns) or table.empty:
        return None
    return kinds[kind][1](by, table)


def _outcomes(by: str, table: pd.DataFrame) -> list[Part]:
    body = []
    for method, rows in table.groupby("method", sort=False):
        line = [escape_latex(method), str(rows["n"].iloc[0])]
        body.append([*line, *_fractions(rows)])
    caption = (
        "What becomes of blends: fractions of the number $N$ of connected regions of two sources "
        f"or more. {INTERVALS}"
    )
    head = ["Method", "$N$", *(outcome.capitalize() for outcome in OUTCOMES)]
    return [Part("", caption, tabular("lr" + "r" * len(OUTCOMES), [head], body))]


def _binned_outcomes(by: str, table: pd.DataFrame) -> list[Part]:
    """Return a table a method."""
    heading, words = _BINS.get(by, (escape_latex(by), escape_latex(by)))
    head = [heading, "$N$", *(outcome.capitalize() for outcome in OUTCOMES)]
    parts = []
    for method, of_method in table.groupby("method", sort=False):
        body = [
            [latex_bin(low, high), str(rows["n"].iloc[0]), *_fractions(rows)]
            for (low, high), rows in of_method.groupby(["lo", "hi"], sort=True)
        ]
        caption = f"What becomes of blends by {words}, with the number $N$ of blends. {INTERVALS}"
        layout = "lr" + "r" * len(OUTCOMES)
        parts.append(Part(f"{escape_latex(method)}. ", caption, tabular(layout, [head], body)))
    return parts


def _combinations(by: str, table: pd.DataFrame) -> list[Part]:
    methods = list(dict.fromkeys(table["method"]))
    body = []
    for (combination, outcome), rows in table.groupby(["combination", "outcome"], sort=False):
        numbers = rows.set_index("method")["k"].reindex(methods)
        formulas = ", ".join(f"${formula}$" for formula in str(combination).split(", "))
        body.append([formulas, str(outcome).capitalize(), *numbers])
    head = ["Combination", "Outcome", *map(escape_latex, methods)]
    caption = (
        "Number of blends of $n$ sources of which $s$ are detected when each is alone, with $b$ "
        "detections when all are there."
    )
    return [Part("", caption, tabular("ll" + "r" * len(methods), [head], body))]


def _means(by: str, table: pd.DataFrame) -> list[Part]:
    heading, words = _SOURCE_BINS.get(by, (escape_latex(by), escape_latex(by)))
    decimals = decimals_of(table[["lo", "hi"]].to_numpy().ravel()) if by == "magnitude" else None
    methods = list(dict.fromkeys(table["method"]))
    body = []
    for (low, high), rows in table.groupby(["lo", "hi"], sort=True):
        line = [latex_bin(low, high, decimals)]
        for _, row in rows.set_index("method").reindex(methods).iterrows():
            line += [f"{row['n']:.0f}", _with_error(row["value"], row["error"])]
        body.append(line)
    names = [rf"\multicolumn{{2}}{{c}}{{{escape_latex(method)}}}" for method in methods]
    head = [["", *names], [heading, *["$N$", "IoU"] * len(methods)]]
    caption = (
        f"Mean IoU of outline and true footprint by {words}, with the number $N$ of matched "
        "sources and standard errors."
    )
    return [Part("", caption, tabular("l" + "rr" * len(methods), head, body))]


def _scores(by: str, table: pd.DataFrame) -> list[Part]:
    head = ["Method", "$N$", "IoU", "Blended", "AP", "AP50", "AP75", "Placed", "Outlined"]
    plain = ("blended_region_iou", "average_precision", "average_precision_50")
    body = [
        [
            escape_latex(row["method"]),
            str(row["mean_iou_n"]),
            _with_error(row["mean_iou"], row["mean_iou_hi"] - row["mean_iou"]),
            *(latex_number(row[name]) for name in (*plain, "average_precision_75")),
            *(
                latex_value(row[name], row[f"{name}_lo"], row[f"{name}_hi"], 3)
                for name in ("placed_worse", "outlined_worse")
            ),
        ]
        for _, row in table.iterrows()
    ]
    caption = (
        "Outlines: mean IoU with the footprints of the $N$ matched sources and its standard "
        "error, IoU of the blended region, average precision (AP), and fractions of the matched "
        "sources in overlaps that are placed and outlined worse than if nothing had been "
        f"deblended. {INTERVALS}"
    )
    return [Part("", caption, tabular("lrrrrrrrr", [head], body))]


def _classes(by: str, table: pd.DataFrame) -> list[Part]:
    body = [
        [
            escape_latex(row["method"]),
            str(row["class"]).capitalize(),
            *(latex_number(row[name]) for name in ("precision", "recall", "f1", "iou")),
            str(row["support"]),
        ]
        for _, row in table.iterrows()
    ]
    head = ["Method", "Class", "Precision", "Recall", "$F_1$", "IoU", "Pixels"]
    caption = (
        "Pixels that no source covers (background), one (isolated) or more (blended), by the "
        "number of outlines that cover them."
    )
    return [Part("", caption, tabular("llrrrrr", [head], body))]


def _precision(by: str, table: pd.DataFrame) -> list[Part]:
    methods = list(dict.fromkeys(table["method"]))
    body = []
    for threshold, rows in table.groupby("iou_threshold", sort=True):
        line = [f"{threshold:.2f}"]
        for _, row in rows.set_index("method").reindex(methods).iterrows():
            columns = ("purity", "completeness", "average_precision")
            line += [latex_number(row[name]) for name in columns]
        body.append(line)
    names = [rf"\multicolumn{{3}}{{c}}{{{escape_latex(method)}}}" for method in methods]
    head = [["", *names], ["IoU", *["Purity", "Compl.", "AP"] * len(methods)]]
    caption = (
        "Purity, completeness and average precision (AP) of outlines that are matched to the true "
        "footprints at an IoU of at least so much."
    )
    return [Part("", caption, tabular("l" + "rrr" * len(methods), head, body))]


def _fractions(rows: pd.DataFrame) -> list[str]:
    """Return the fraction of each outcome with its interval."""
    of_outcome = rows.set_index("outcome")
    return [
        latex_value(row["value"], row["value_lo"], row["value_hi"])
        for _, row in of_outcome.loc[list(OUTCOMES)].iterrows()
    ]


def _with_error(value: float, error: float) -> str:
    if np.isnan(value):
        return NOTHING
    return f"{value:.3f}" if np.isnan(error) else rf"${value:.3f} \pm {error:.3f}$"
