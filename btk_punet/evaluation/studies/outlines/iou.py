"""Mean IoU of outlines and true footprints, over everything and in bins of a quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import (
    POINTS,
    all_bins,
    method_styles,
    methods_of,
    plain_label,
    rows_by_method,
    set_bin_ticks,
)
from btk_punet.evaluation.quantities import OF_SOURCES
from btk_punet.evaluation.statistics.fractions import COMPLETENESS_BY, Edges, check_by, edges_of
from btk_punet.evaluation.statistics.means import binned_sums


def iou_sums(
    sources: pd.DataFrame, truth: pd.DataFrame, by: str | None, edges: Edges | None = None
) -> pd.DataFrame:
    """Return sums of the IoU of the matched sources of one method, for `merged_means`.

    Args:
        sources: Rows of one method of ``source_outlines``.
        truth: Truth table, whose rows of that method are used.
        by: Column of the truth table to bin by; None for one bin that holds everything.
        edges: Edges of the bins; `DEFAULT_EDGES` if None.
    """
    matched = sources[sources["iou"].notna()]
    if by is None:
        return binned_sums(np.zeros(len(matched)), matched["iou"], (-np.inf, np.inf))
    keys = ["scene", "method", "source"]
    values = matched[keys].merge(truth[[*keys, by]], how="left", on=keys)[by]
    return binned_sums(values, matched["iou"], edges_of(by, edges))


class OutlineDisplay(AxesDisplay):
    """Mean IoU of outlines and true footprints in bins of one quantity: one line per method.

    The error bars are standard errors of the mean.

    Args:
        table: ``segmentation_by_*`` of a run, or what the ``aggregate()`` of
            `SegmentationReport` returns.
        by: What the table is binned by, a column of the truth table such as ``"magnitude"``.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the table if None.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        errorbars_: Matplotlib's container of each method's points and error bars, by its name.
        legend_: The legend, or None.
    """

    size_inches = (6.4, 4.4)

    def __init__(self, table: pd.DataFrame, by: str, everyone: Sequence[str] | None = None):
        self.table = table
        self.by = by
        self.everyone = everyone

    def _plot(self, methods: Sequence[str] | None) -> None:
        check_by(self.by, COMPLETENESS_BY)
        table = self.table if "method" in self.table else self.table.assign(method="")
        drawn, styles = method_styles(methods_of(table), methods, self.everyone or ())
        bins = all_bins(table)
        by_method = rows_by_method(table, bins)
        self.errorbars_: dict[str, Any] = {}
        # Side by side within the bin, so that all error bars can be seen.
        step = min(0.1, 0.8 / max(len(drawn), 1))
        for i, name in enumerate(drawn):
            rows = by_method[name]
            x = np.arange(len(bins)) + (i - (len(drawn) - 1) / 2) * step
            self.errorbars_[name] = self.ax_.errorbar(
                x, rows["value"], rows["error"], **POINTS, **styles[name]
            )
        set_bin_ticks(self.ax_, bins, self.by)
        self.ax_.set_ylim(-0.02, 1.02)
        self.ax_.set_xlabel(OF_SOURCES[self.by].label)
        self.ax_.set_ylabel("Mean IoU of outline and footprint")
        named = {plain_label(name): bars for name, bars in self.errorbars_.items() if name}
        self.legend_ = self.ax_.legend(named.values(), named.keys()) if named else None
