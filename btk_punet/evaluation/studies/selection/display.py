"""The selection function, in the manner of `display`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from btk_punet.evaluation.plotting.fractions import COMPLETENESS_LABELS, FractionDisplay
from btk_punet.evaluation.quantities import SHORT
from btk_punet.evaluation.studies.selection.selection import SELECTION_BY, selection_tables
from btk_punet.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# The neighbours are what the detector itself finds: of a real image no others are known.
LABELS = COMPLETENESS_LABELS | {
    "neighbour_distance_arcsec": "Distance to nearest detection without it [arcsec]"
}


class SelectionDisplay:
    """Probability of an injected source to be found, by magnitude, size and neighbour distance.

    Args:
        table: What `selection_table` or `selection_function` returns.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes by the quantity, one of `SELECTION_BY`.
        errorbars_: Matplotlib's container by (method, quantity), with 68% intervals.
        legend_: The legend, or None.
    """

    size_inches = (13.5, 4.4)

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> SelectionDisplay:
        """Draw the panels.

        Args:
            figure: Figure to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method that is not known, or a table without sources.
        """
        tables = selection_tables(self.table)
        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        panels = self.figure_.subplots(1, len(SELECTION_BY), sharey=True)
        self.axes_ = dict(zip(SELECTION_BY, panels, strict=True))
        self.errorbars_: dict[tuple[str, str], Any] = {}
        handles: dict[str, Any] = {}
        for by, ax in self.axes_.items():
            of_quantity = tables[f"selection_by_{SHORT[by]}"]
            drawn = FractionDisplay(of_quantity, "completeness", by).plot(ax, methods)
            if drawn.legend_ is not None:
                drawn.legend_.remove()
            handles |= drawn.errorbars_
            for name, bars in drawn.errorbars_.items():
                self.errorbars_[name, by] = bars
            ax.set_xlabel(LABELS[by])
            ax.set_ylabel("")
        panels[0].set_ylabel("Probability to be found")
        self.legend_ = None
        if len(handles) > 1 or "method" in self.table:
            self.legend_ = self.figure_.legend(
                handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles)
            )
        return self
