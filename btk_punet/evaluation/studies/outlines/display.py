"""How good outlines are: IoU in bins, purity and completeness, in the manner of `display`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.fractions import COMPLETENESS_LABELS
from btk_punet.evaluation.plotting.style import (
    all_bins,
    method_styles,
    methods_of,
    panel_grid,
    rows_by_method,
    set_bin_ticks,
)
from btk_punet.figures import new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


class OutlineDisplay:
    """Mean IoU of outlines and true footprints in bins of one quantity: a line a method.

    The error bars are standard errors of the mean.

    Args:
        table: ``segmentation_by_*`` of `segmentation_tables`, or what the ``aggregate()`` of
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

    def plot(self, ax: Axes | None = None, methods: Sequence[str] | None = None) -> OutlineDisplay:
        """Draw the lines.

        Args:
            ax: Axes to draw in; a new figure if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a quantity or method that is not known.
        """
        if self.by not in COMPLETENESS_LABELS:
            raise InputError(f"by must be one of {list(COMPLETENESS_LABELS)}, got {self.by!r}.")
        table = self.table if "method" in self.table else self.table.assign(method="")
        drawn, styles = method_styles(methods_of(table), methods, self.everyone or ())
        bins = all_bins(table)
        by_method = rows_by_method(table, bins)
        self.ax_ = new_axes(self.size_inches) if ax is None else ax
        self.figure_ = self.ax_.figure
        self.errorbars_: dict[str, Any] = {}
        for i, name in enumerate(drawn):
            rows = by_method[name]
            # Side by side within the bin, so that all error bars can be seen.
            x = np.arange(len(bins)) + (i - (len(drawn) - 1) / 2) * 0.1
            self.errorbars_[name] = self.ax_.errorbar(
                x, rows["value"], rows["error"],
                markersize=5, linewidth=1.2, elinewidth=1.0, capsize=2, **styles[name],
            )  # fmt: skip
        set_bin_ticks(self.ax_, bins, self.by)
        self.ax_.set_ylim(-0.02, 1.02)
        self.ax_.set_xlabel(COMPLETENESS_LABELS[self.by])
        self.ax_.set_ylabel("Mean IoU of outline and footprint")
        named = {name: bars for name, bars in self.errorbars_.items() if name}
        self.legend_ = self.ax_.legend(named.values(), named.keys()) if named else None
        return self


class MaskPrecisionDisplay:
    """Completeness against purity of outlines: a panel a threshold of the IoU, a curve a method.

    The marker stands for all detections of the method; the curve that leads up to it, for those
    with a probability, is that of a rising threshold on it.

    Args:
        table: ``mask_curves`` of `segmentation_tables`, or what ``purity_completeness()`` of
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
        return 4.2 * n_columns + 0.4, 4.0 * n_rows + 0.2

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> MaskPrecisionDisplay:
        """Draw curves and points.

        Args:
            figure: Figure to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method that is not known.
        """
        table = self.table if "method" in self.table else self.table.assign(method="")
        drawn, styles = method_styles(methods_of(table), methods, self.everyone or ())
        thresholds = sorted(table["iou_threshold"].unique())
        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        n_rows, n_columns = panel_grid(len(thresholds))
        grid = self.figure_.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for ax in grid.flat[len(thresholds) :]:
            ax.set_visible(False)
        self.axes_: dict[float, Axes] = dict(zip(thresholds, grid.flat, strict=False))
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
                    linestyle="none", markersize=7, label=name, **styles[name],
                )  # fmt: skip
            ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"IoU of {threshold:g} or more")
            ax.set_xlabel("Purity of the outlines")
        self.legend_ = None
        if self.axes_:
            first = grid.flat[0]
            first.set_ylabel("Completeness of the outlines")
            named = {name: self.points_[thresholds[0], name] for name in drawn if name}
            self.legend_ = first.legend(named.values(), named.keys()) if named else None
        return self
