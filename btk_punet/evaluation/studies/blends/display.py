"""What becomes of blends, as stacked fractions in bins, in the manner of `display`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.style import (
    bin_label,
    chosen_methods,
    error_lengths,
    methods_of,
    panel_grid,
)
from btk_punet.evaluation.studies.blends.outcomes import checked_by
from btk_punet.evaluation.studies.blends.regions import OUTCOMES
from btk_punet.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# The muted scheme of Tol (2021, SRON/EPS/TN/09-002), told apart with any colour vision: other
# colours than those of methods, so that an outcome is not taken for a method.
OUTCOME_COLOURS = {
    "recognized": "#44AA99",
    "unrecognized": "#DDCC77",
    "shredded": "#882255",
    "undetected": "#88CCEE",
    "merged": "#332288",
    "other": "#DDDDDD",
}

OUTCOME_LABELS = {
    "neighbour_distance_arcsec": "Distance between the closest two sources of the blend [arcsec]",
    "magnitude_difference": "Difference between the brightest two sources of the blend [mag]",
    "limit_snr": "Information limit of the hardest source of the blend (signal-to-noise ratio)",
}


class OutcomesDisplay:
    """Fractions of blends by what becomes of them: stacked bars, one panel a method.

    The error bar at the top of the lowest part, the recognized blends, is its 68% interval; above
    each bar is the number of blends.

    Args:
        table: What `outcome_table` or ``BlendOutcomes.aggregate()`` returns; with a column
            ``method`` if there are several.
        by: What the table is binned by, one of `OUTCOME_EDGES`.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of each method, by its name; ``""`` in a table without methods.
        bars_: Matplotlib's container of the bars, by (method, outcome).
        errorbars_: That of the intervals of the recognized, by method.
        legend_: The legend of the outcomes, or None.
    """

    def __init__(self, table: pd.DataFrame, by: str = "neighbour_distance_arcsec"):
        self.table = table
        self.by = by

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all methods [inch]."""
        return self._size(len(methods_of(self._rows())))

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> OutcomesDisplay:
        """Draw the bars.

        Args:
            figure: Figure to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method or quantity that is not known.
        """
        checked_by(self.by)
        table = self._rows()
        drawn = chosen_methods(methods, methods_of(table))
        self.figure_ = new_figure(self._size(len(drawn))) if figure is None else figure
        n_rows, n_columns = panel_grid(len(drawn))
        grid = self.figure_.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for ax in grid.flat[len(drawn) :]:
            ax.set_visible(False)
        self.axes_: dict[str, Axes] = dict(zip(drawn, grid.flat, strict=False))
        self.bars_: dict[tuple[str, str], Any] = {}
        self.errorbars_: dict[str, Any] = {}
        bins = _filled_bins(table[table["method"].isin(drawn)])
        for i, (name, ax) in enumerate(self.axes_.items()):
            self._draw(ax, name, table[table["method"] == name], bins)
            ax.tick_params(axis="x", labelbottom=i + n_columns >= len(drawn))
        self.legend_ = None
        if drawn:
            self.figure_.supxlabel(OUTCOME_LABELS[self.by], fontsize="medium")
            self.figure_.supylabel("Fraction of blends", fontsize="medium")
            # From the top down, as the bars are stacked.
            handles = {outcome: self.bars_[drawn[0], outcome] for outcome in reversed(OUTCOMES)}
            self.legend_ = self.figure_.legend(
                handles.values(), handles.keys(), loc="outside right upper", frameon=False
            )
        return self

    def _rows(self) -> pd.DataFrame:
        return self.table if "method" in self.table else self.table.assign(method="")

    def _size(self, n_panels: int) -> tuple[float, float]:
        n_rows, n_columns = panel_grid(n_panels)
        return 3.4 * n_columns + 1.8, 2.9 * n_rows + 0.5

    def _draw(self, ax: Axes, method: str, table: pd.DataFrame, bins: pd.DataFrame) -> None:
        """Draw the bars of one method."""
        place = np.arange(len(bins))
        top = np.zeros(len(bins))
        for outcome in OUTCOMES:
            rows = table[table["outcome"] == outcome].set_index(["lo", "hi"])
            rows = rows.reindex(pd.MultiIndex.from_frame(bins))
            value = rows["value"].fillna(0.0).to_numpy()
            self.bars_[method, outcome] = ax.bar(
                place, value, 0.86, bottom=top,
                color=OUTCOME_COLOURS[outcome], edgecolor="white", linewidth=0.8, label=outcome,
            )  # fmt: skip
            top = top + value
            if outcome == "recognized":
                self.errorbars_[method] = ax.errorbar(
                    place, rows["value"], error_lengths(rows),
                    linestyle="none", color="black", elinewidth=1.0, capsize=2, zorder=3,
                )  # fmt: skip
        number = rows["n"].fillna(0).to_numpy(int)
        for x, n in zip(place, number, strict=True):
            ax.annotate(
                str(n), (x, 1.0), xytext=(0, 2), textcoords="offset points",
                ha="center", va="bottom", fontsize="x-small", color="0.4",
            )  # fmt: skip
        ax.set_xticks(
            place, [bin_label(*edges) for edges in zip(bins["lo"], bins["hi"], strict=True)],
            rotation=40, ha="right", rotation_mode="anchor", fontsize="small",
        )  # fmt: skip
        ax.set_ylim(0.0, 1.0)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_title(method, fontsize="medium", pad=14)


def _filled_bins(table: pd.DataFrame) -> pd.DataFrame:
    """Return edges of the bins, but for those at either end in which no method has a blend."""
    bins = table.groupby(["lo", "hi"], as_index=False)["n"].sum().sort_values(["lo", "hi"])
    (some,) = np.nonzero(bins["n"].to_numpy())
    if len(some):
        bins = bins.iloc[some[0] : some[-1] + 1]
    return bins[["lo", "hi"]].reset_index(drop=True)
