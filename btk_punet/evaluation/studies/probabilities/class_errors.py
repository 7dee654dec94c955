"""Does a map of uncertainty know where the class of a pixel is wrong?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import method_styles, methods_of, plain_label
from btk_punet.evaluation.quantities import Column
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.probabilities.calibration import PIXELS
from btk_punet.evaluation.studies.probabilities.classes import PREDICTOR, PREDICTORS
from btk_punet.evaluation.studies.table import Layout, Table

# Predictor -> style of its line and what it is called.
_PREDICTORS = {
    "class_variance": ("-", "variance of the class"),
    "class_probability": ("--", "1 − largest probability"),
}


def error_tables(run: Collected) -> Iterator[Table]:
    """Yield errors and curves of `class_error_tables`, if a method predicts classes."""
    if not {"class_probabilities", "class_uncertainty"} <= set(run.tidy):
        return
    errors, curves = class_error_tables(run.tidy, run.methods)
    if errors.empty:
        return
    area = "area under the curve of wrong pixels told by"
    columns = (
        Column("n_pixels", f"number of {PIXELS}", heading="Pixels", format=",d"),
        Column("error_rate", "n_wrong / n_pixels", heading="Wrong", format=".3f"),
        Column(
            "auc_variance", f"{area} the variance of the class", heading="Area, by variance",
            format=".3f",
        ),
        Column(
            "auc_probability", f"{area} 1 - largest probability", heading="Area, by probability",
            format=".3f",
        ),
    )  # fmt: skip
    wrong = "number of them whose most probable class is not the true one"
    yield Table(
        "class_errors",
        "Where the class of a pixel is wrong",
        errors,
        (*columns, Column("n_wrong", wrong)),
        Layout(("method",), tuple(column.name for column in columns)),
        how_to_read=(
            "The larger the area under the curve, the better the variance over samples, or the "
            "largest class probability alone, tells wrong pixels from right ones; 0.5 is chance."
        ),
        caption=(
            "How well uncertainty tells the pixels of a wrong class: the number of "
            f"{PIXELS}, the fraction that is wrong, and the area under the curve of wrong "
            "against right pixels by the variance of the class over samples, and by 1 less the "
            "largest class probability (0.5 by chance, 1 at best)."
        ),
    )
    yield Table(
        "class_error_curves",
        "Does uncertainty tell where the class is wrong?",
        curves,
        (
            PREDICTOR,
            Column("threshold", "least uncertainty of a flagged pixel"),
            Column("n", "number of flagged pixels"),
            Column("k", wrong),
            Column("flagged_wrong", "k / number of all wrong pixels"),
            Column("flagged_right", "(n - k) / number of all right pixels"),
        ),
    )


def class_error_tables(
    tidy: Mapping[str, pd.DataFrame], methods: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how often the class of a pixel is wrong, and how well uncertainty tells where.

    Args:
        tidy: Tidy tables of a run, with ``class_probabilities`` and ``class_uncertainty``.
        methods: Names of the methods, in the order wanted.

    Returns:
        Of the pixels with p(background) < 0.9:

        - The errors, one row per method: ``n_pixels``, ``n_wrong`` (whose most probable class is
          not the true one), ``error_rate``, and the area under the curve (see `area_under_curve`)
          when the wrong ones are told by the variance of the class, ``auc_variance``, and by 1
          less the largest class probability, ``auc_probability``; NaN where there is none.
        - The curves, one row per method, ``predictor`` and ``threshold``: ``n`` pixels are at
          least as uncertain, of them ``k`` wrong; ``flagged_wrong`` and ``flagged_right`` are
          their shares in all wrong and all right pixels.
    """
    counts = tidy["class_uncertainty"]
    # A method without any such pixel has no row there.
    known = set(tidy["class_probabilities"]["method"])
    rows: list[dict[str, Any]] = []
    curves = []
    for method in [method for method in methods if method in known]:
        own = counts[counts["method"] == method].sort_values("level")
        # Which is counted of every method, and so of every pixel.
        every = own[own["predictor"] == "class_probability"]
        n_pixels, n_wrong = int(every["n"].sum()), int(every["k"].sum())
        row = {"method": method, "n_pixels": n_pixels, "n_wrong": n_wrong}
        row["error_rate"] = n_wrong / n_pixels if n_pixels else np.nan
        for predictor in PREDICTORS:
            levels = own[own["predictor"] == predictor]
            row[f"auc_{predictor.removeprefix('class_')}"] = area_under_curve(
                levels["n"].to_numpy(), levels["k"].to_numpy()
            )
            curves.append(_curve(levels))
        rows.append(row)
    return pd.DataFrame(rows), pd.concat(curves or [_curve(counts[:0])], ignore_index=True)


def area_under_curve(n: np.ndarray, k: np.ndarray) -> float:
    """Return the area under the receiver operating characteristic, from counts at rising levels.

    That is the probability that a wrong one is at a higher level than a right one, and half of the
    probability that both are at the same: 0.5 by chance, 1 if all wrong ones are above all others.

    Args:
        n: Number at each level, the lowest first.
        k: Of them wrong.

    Returns:
        The area, 0 to 1; NaN if none or all are wrong.
    """
    wrong = np.asarray(k, float)
    right = np.asarray(n, float) - wrong
    pairs = wrong.sum() * right.sum()
    below = np.cumsum(right) - right
    return float((wrong * (below + right / 2)).sum() / pairs) if pairs else float("nan")


def _curve(levels: pd.DataFrame) -> pd.DataFrame:
    """Return what lies at or above each level of one method and predictor, the highest first."""
    falling = levels[::-1]
    curve = falling[["method", "predictor"]].assign(threshold=falling["level"])
    n, k = falling["n"].cumsum(), falling["k"].cumsum()
    n_wrong, n_right = levels["k"].sum(), (levels["n"] - levels["k"]).sum()
    return curve.assign(
        n=n,
        k=k,
        flagged_wrong=k / n_wrong if n_wrong else np.nan,
        flagged_right=(n - k) / n_right if n_right else np.nan,
    )


class ErrorPredictionDisplay(AxesDisplay):
    """How well uncertainty tells the pixels of a wrong class from the others.

    As the threshold on the uncertainty falls: the share of the wrong pixels that are above it,
    against that of the right ones. The line of a method is that of the variance of the class; the
    dashed one, of 1 less the largest class probability.

    Args:
        curves: Curves of `class_error_tables`.
        errors: Errors of the same, for the areas in the legend; without them if None.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the curves if None.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        curves_: Line of each curve, by (method, predictor).
        diagonal_: The line of chance.
        legend_: The legend, or None.
    """

    size_inches = (5.4, 5.2)

    def __init__(
        self,
        curves: pd.DataFrame,
        errors: pd.DataFrame | None = None,
        everyone: Sequence[str] | None = None,
    ):
        self.curves = curves
        self.errors = errors
        self.everyone = everyone

    def _plot(self, methods: Sequence[str] | None) -> None:
        drawn, styles = method_styles(methods_of(self.curves), methods, self.everyone or ())
        (self.diagonal_,) = self.ax_.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1.0)
        self.curves_: dict[tuple[str, str], Any] = {}
        handles: dict[str, Any] = {}
        for method in drawn:
            for predictor, (linestyle, words) in _PREDICTORS.items():
                own = (self.curves["method"] == method) & (self.curves["predictor"] == predictor)
                rows = self.curves[own & self.curves["flagged_wrong"].notna()]
                if rows.empty:
                    continue
                (line,) = self.ax_.plot(
                    [0.0, *rows["flagged_right"]], [0.0, *rows["flagged_wrong"]],
                    color=styles[method]["color"], linestyle=linestyle, linewidth=1.5,
                )  # fmt: skip
                self.curves_[method, predictor] = line
                handles[f"{plain_label(method)}: {words}{self._area(method, predictor)}"] = line
        self.ax_.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        self.ax_.set_xlabel("Share of the right pixels that are flagged")
        self.ax_.set_ylabel("Share of the wrong pixels that are flagged")
        self.legend_ = (
            self.ax_.legend(handles.values(), handles.keys(), loc="lower right", fontsize="small")
            if handles
            else None
        )

    def _area(self, method: str, predictor: str) -> str:
        if self.errors is None:
            return ""
        column = f"auc_{predictor.removeprefix('class_')}"
        areas = self.errors.loc[self.errors["method"] == method, column]
        return f" ({areas.iloc[0]:.3f})" if len(areas) else ""
