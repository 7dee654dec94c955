"""Purity, completeness and average precision of the outlines of all detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.style import (
    method_styles,
    methods_of,
    panel_axes,
    panel_grid,
    plain_label,
)
from btk_punet.evaluation.statistics.average_precision import MaskPrecision
from btk_punet.evaluation.studies.outlines.agreement import OUTCOME_COLUMNS

# Thresholds of the IoU at which the curves of a run are kept, and points of a curve at most.
CURVE_THRESHOLDS = (0.5, 0.75)
N_POINTS = 100


def mask_precision(detections: pd.DataFrame, n_truth: int) -> MaskPrecision:
    """Return purity, completeness and average precision of the outlines of one method.

    Args:
        detections: Rows of one method of ``detection_outlines``.
        n_truth: Number of its rows of ``source_outlines``.
    """
    precision = MaskPrecision()
    outcomes = detections[list(OUTCOME_COLUMNS)].to_numpy(np.int8).T
    precision.add_outcomes(outcomes, detections["p_detect"].to_numpy(float), n_truth)
    return precision


def thinned_curves(precision: MaskPrecision) -> pd.DataFrame:
    """Return the curves at a few thresholds, thinned out to points with as many in between."""
    curves = precision.curve()
    parts = [curves[:0]]
    for threshold in CURVE_THRESHOLDS:
        curve = curves[curves["iou_threshold"] == threshold]
        if len(curve):
            kept = np.unique(np.linspace(0, len(curve) - 1, N_POINTS).round().astype(int))
            parts.append(curve.iloc[kept])
    return pd.concat(parts, ignore_index=True)


class MaskPrecisionDisplay(PanelsDisplay):
    """Completeness against purity of outlines, one curve per method; one panel per least IoU.

    The marker stands for all detections of the method; the curve that leads up to it, for those
    with a probability, is that of a rising threshold on it.

    Args:
        table: ``mask_curves`` of a run, or what ``purity_completeness()`` of
            `SegmentationReport` returns.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the table if None.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of each threshold of the IoU, by that.
        curves_, points_: Line and marker of each method, by (threshold, method).
        legend_: The legend, or None.
    """

    def __init__(self, table: pd.DataFrame, everyone: Sequence[str] | None = None):
        self.table = table
        self.everyone = everyone

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all panels [inch]."""
        n_rows, n_columns = panel_grid(self.table["iou_threshold"].nunique())
        return 4.2 * n_columns + 2.0, 4.0 * n_rows + 0.2

    def _plot(self, methods: Sequence[str] | None) -> None:
        table = self.table if "method" in self.table else self.table.assign(method="")
        drawn, styles = method_styles(methods_of(table), methods, self.everyone or ())
        thresholds = sorted(table["iou_threshold"].unique())
        self.axes_ = panel_axes(self.figure_, thresholds, sharex=True, sharey=True)
        self.curves_: dict[tuple[float, str], Any] = {}
        self.points_: dict[tuple[float, str], Any] = {}
        for threshold, ax in self.axes_.items():
            of_panel = table[table["iou_threshold"] == threshold]
            for name in drawn:
                rows = of_panel[of_panel["method"] == name]
                key = (threshold, name)
                (self.curves_[key],) = ax.plot(
                    rows["purity"], rows["completeness"],
                    color=styles[name]["color"], linewidth=1.5,
                )  # fmt: skip
                (self.points_[key],) = ax.plot(
                    rows["purity"].tail(1), rows["completeness"].tail(1),
                    linestyle="none", markersize=7, **styles[name],
                )  # fmt: skip
            ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"IoU of {threshold:g} or more")
            ax.set_xlabel("Purity of the outlines")
        self.legend_ = None
        if self.axes_:
            for ax in list(self.axes_.values())[:: panel_grid(len(thresholds))[1]]:
                ax.set_ylabel("Completeness of the outlines")
            named = {plain_label(n): self.points_[thresholds[0], n] for n in drawn if n}
            if named:
                self.legend_ = self.figure_.legend(
                    named.values(), named.keys(), loc="outside right upper", frameon=False
                )
