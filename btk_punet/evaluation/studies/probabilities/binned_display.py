"""Calibration where it matters: what was said and what came true, in bins of another quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.style import (
    all_bins,
    error_lengths,
    method_styles,
    methods_of,
    panel_grid,
    set_bin_ticks,
)
from btk_punet.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_LABELS = {
    "magnitude": "Magnitude in an aperture of 0.5 arcsec radius [AB mag]",
    "neighbour_distance_arcsec": "Distance to nearest other {one} [arcsec]",
}
_ONE = {"p_detect": "candidate", "p_blend": "detection"}
_TITLES = {
    "p_detect": "Candidates that come true",
    "p_blend": "Matched detections that are overlapped",
}


class BinnedCalibrationDisplay:
    """What was said and what came true in bins: a panel a quantity, a colour a method.

    Filled points are the fraction that came true, with 68% intervals; the open ones, on a dashed
    line, the mean of the probabilities. Where the two agree, the probabilities are right.

    Args:
        table: ``calibration_by_*`` of `calibration_tables`.
        by: What the table is binned by: ``"magnitude"`` or ``"neighbour_distance_arcsec"``.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the table if None.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of each quantity, by its name.
        errorbars_: Matplotlib's container of the fractions that came true, by (quantity, method).
        said_: Line of the mean probabilities, by (quantity, method).
        legend_: The legend, or None.
    """

    def __init__(self, table: pd.DataFrame, by: str, everyone: Sequence[str] | None = None):
        self.table = table
        self.by = by
        self.everyone = everyone

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all panels [inch]."""
        n_rows, n_columns = panel_grid(self.table["quantity"].nunique(), 2)
        return 5.2 * n_columns + 0.4, 4.2 * n_rows + 0.2

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> BinnedCalibrationDisplay:
        """Draw the points.

        Args:
            figure: Figure to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a quantity to bin by, or a method, that is not known.
        """
        if self.by not in _LABELS:
            raise InputError(f"by must be one of {list(_LABELS)}, got {self.by!r}.")
        drawn, styles = method_styles(methods_of(self.table), methods, self.everyone or ())
        bins = all_bins(self.table)
        quantities = list(dict.fromkeys(self.table["quantity"]))
        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        n_rows, n_columns = panel_grid(len(quantities), 2)
        grid = self.figure_.subplots(n_rows, n_columns, squeeze=False, sharey=True)
        for ax in grid.flat[len(quantities) :]:
            ax.set_visible(False)
        self.axes_: dict[str, Axes] = dict(zip(quantities, grid.flat, strict=False))
        self.errorbars_: dict[tuple[str, str], Any] = {}
        self.said_: dict[tuple[str, str], Any] = {}
        for quantity, ax in self.axes_.items():
            of_panel = self.table[self.table["quantity"] == quantity]
            with_rows = [name for name in drawn if name in set(of_panel["method"])]
            for i, name in enumerate(with_rows):
                rows = of_panel[of_panel["method"] == name].set_index(["lo", "hi"])
                rows = rows.reindex(pd.MultiIndex.from_frame(bins))
                # Side by side within the bin, so that all error bars can be seen.
                x = np.arange(len(bins)) + (i - (len(with_rows) - 1) / 2) * 0.12
                dark = np.isposinf(bins["lo"].to_numpy())
                # No line leads to the detections that have no magnitude.
                for part, joined in ((~dark, True), (dark, False)):
                    if not part.any():
                        continue
                    own = rows[part]
                    bars = ax.errorbar(
                        x[part], own["value"], error_lengths(own),
                        linestyle="-" if joined else "none",
                        markersize=5, linewidth=1.2, elinewidth=1.0, capsize=2, **styles[name],
                    )  # fmt: skip
                    (said,) = ax.plot(
                        x[part], own["mean_probability"],
                        linestyle="--" if joined else "none",
                        markersize=5, linewidth=1.0, markerfacecolor="white", zorder=3,
                        **styles[name],
                    )  # fmt: skip
                    self.errorbars_.setdefault((quantity, name), bars)
                    self.said_.setdefault((quantity, name), said)
            set_bin_ticks(ax, bins, self.by)
            ax.set(xlabel=_LABELS[self.by].format(one=_ONE[quantity]), title=_TITLES[quantity])
            ax.set_ylim(-0.03, 1.03)
        self.legend_ = self._legend(drawn)
        return self

    def _legend(self, drawn: Sequence[str]) -> Any:
        """Return the legend: the methods, and which kind of point is what."""
        from matplotlib.lines import Line2D

        if not self.errorbars_:
            return None
        first = next(iter(self.axes_.values()))
        first.set_ylabel("Fraction, or mean probability")
        shown = {name: bars for (_, name), bars in reversed(self.errorbars_.items())}
        handles: dict[str, Any] = {name: shown[name] for name in drawn if name in shown}
        grey: dict[str, Any] = {"color": "0.4", "marker": "o", "markersize": 5}
        handles["came true"] = Line2D([], [], **grey)
        handles["said"] = Line2D([], [], linestyle="--", markerfacecolor="white", **grey)
        return first.legend(handles.values(), handles.keys())
