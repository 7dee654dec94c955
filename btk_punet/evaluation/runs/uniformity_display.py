"""Completeness and purity as conditions vary, in the manner of `display`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from btk_punet.evaluation.plotting.style import (
    error_lengths,
    method_styles,
    methods_of,
)
from btk_punet.evaluation.quantities import CEILING
from btk_punet.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

LABELS = {
    "psf_fwhm_arcsec": "FWHM of the PSF [arcsec]",
    "n_exposures": "Exposures",
    "sky_residual_sigma": (
        "Sky left over (+) or oversubtracted (−)\n[standard deviation of a pixel's background]"
    ),
    "density_per_arcmin2": "Sources per square arcminute",
}
LOST = "lost with the information"
# A panel with more values than this has the ticks that matplotlib likes.
MOST_TICKS = 6


class UniformityDisplay:
    """Completeness (above) and purity (below) against each condition, a column a quantity.

    The dashed line is the information ceiling under each condition, and what is above it is lost
    with the information. How far a method is below it is the method's own loss.

    Args:
        table: What `uniformity` returns.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes by (``"completeness"`` or ``"purity"``, quantity).
        errorbars_: Matplotlib's container by (method, ``"completeness"`` or ``"purity"``,
            quantity), with 68% intervals.
        legend_: The legend, or None.
    """

    def __init__(self, table: pd.DataFrame):
        self.table = table

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure [inch]."""
        return 3.4 * max(self.table["quantity"].nunique(), 1) + 1.0, 6.4

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> UniformityDisplay:
        """Draw the panels.

        Args:
            figure: Figure to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method that is not known.
        """
        drawn, styles = method_styles(methods_of(self.table), methods)
        quantities = list(dict.fromkeys(self.table["quantity"]))
        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        self.axes_: dict[tuple[str, str], Any] = {}
        self.errorbars_: dict[tuple[str, str, str], Any] = {}
        handles: dict[str, Any] = {}
        grid = self.figure_.subplots(
            2, max(len(quantities), 1), squeeze=False, sharex="col", sharey="row"
        )
        for row, figure_of in zip(grid, ("completeness", "purity"), strict=True):
            row[0].set_ylabel(figure_of.capitalize())
            for ax, quantity in zip(row, quantities, strict=False):
                self.axes_[figure_of, quantity] = ax
                of_quantity = self.table[self.table["quantity"] == quantity]
                for name in drawn:
                    rows = of_quantity[of_quantity["method"] == name].sort_values("value")
                    bars = ax.errorbar(
                        rows["value"], rows[figure_of], error_lengths(rows, figure_of),
                        markersize=5, linewidth=1.2, elinewidth=1.0, capsize=2, **styles[name],
                    )  # fmt: skip
                    self.errorbars_[name, figure_of, quantity] = handles[name] = bars
                if figure_of == "completeness" and drawn:
                    rows = of_quantity[of_quantity["method"] == drawn[0]].sort_values("value")
                    (handles[CEILING],) = ax.plot(
                        rows["value"], rows["ceiling"], color="black", linestyle="--", linewidth=1.2
                    )
                    handles[LOST] = ax.fill_between(
                        rows["value"], rows["ceiling"], 1.0, color="0.88", linewidth=0
                    )
                if figure_of == "purity":
                    ax.set_xlabel(LABELS.get(quantity, quantity))
                values = sorted(of_quantity["value"].unique())
                if len(values) <= MOST_TICKS:
                    ax.set_xticks(values, [f"{value:g}" for value in values])
            row[0].set_ylim(top=1.01)
        self.legend_ = None
        if handles:
            self.legend_ = self.figure_.legend(
                handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles)
            )
        return self
