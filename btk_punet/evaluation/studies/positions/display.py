"""Scatter of the positions and coverage of their stated errors, in the manner of `display`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.fractions import COMPLETENESS_LABELS
from btk_punet.evaluation.plotting.style import (
    all_bins,
    error_lengths,
    method_styles,
    methods_of,
    rows_by_method,
    set_bin_ticks,
)
from btk_punet.evaluation.statistics.fractions import CONFIDENCE
from btk_punet.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


class PositionDisplay:
    """Two panels: the scatter of each method's positions, and how often its errors cover.

    Args:
        table: ``positions_by_*`` of `summary_tables`.
        by: What the table is binned by, a column of the truth table such as ``"magnitude"``.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of the scatter and of the coverage.
        lines_: The line of each method's scatter, by its name.
        errorbars_: Matplotlib's container of each method's coverage, by its name; only of
            methods that state errors.
        legend_: The legend, or None.
    """

    size_inches = (9.0, 4.0)

    def __init__(self, table: pd.DataFrame, by: str):
        self.table = table
        self.by = by

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> PositionDisplay:
        """Draw both panels.

        Args:
            figure: Figure to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a quantity or method that is not known.
        """
        if self.by not in COMPLETENESS_LABELS:
            raise InputError(f"by must be one of {list(COMPLETENESS_LABELS)}, got {self.by!r}.")
        drawn, styles = method_styles(methods_of(self.table), methods)
        bins = all_bins(self.table)
        by_method = rows_by_method(self.table, bins)
        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        self.axes_ = scatter_ax, coverage_ax = self.figure_.subplots(1, 2)
        self.lines_: dict[str, Any] = {}
        self.errorbars_: dict[str, Any] = {}
        for i, name in enumerate(drawn):
            rows = by_method[name]
            x = np.arange(len(bins)) + (i - (len(drawn) - 1) / 2) * 0.1
            style: dict[str, Any] = {"markersize": 5, "linewidth": 1.2, **styles[name]}
            (self.lines_[name],) = scatter_ax.plot(x, rows["scatter"], **style)
            if (rows["n"] > 0).any():
                self.errorbars_[name] = coverage_ax.errorbar(
                    x, rows["value"], error_lengths(rows), elinewidth=1.0, capsize=2, **style
                )
        coverage_ax.axhline(CONFIDENCE, color="black", linestyle="--", linewidth=1.0)
        for ax in self.axes_:
            set_bin_ticks(ax, bins, self.by)
            ax.set_xlabel(COMPLETENESS_LABELS[self.by])
        scatter_ax.set_ylim(bottom=0)
        scatter_ax.set_ylabel("Half-width of 68% of the errors [pixel]")
        coverage_ax.set_ylim(-0.02, 1.02)
        coverage_ax.set_ylabel("Coverage of the stated errors")
        self.legend_ = (
            scatter_ax.legend(self.lines_.values(), self.lines_.keys()) if drawn else None
        )
        return self
