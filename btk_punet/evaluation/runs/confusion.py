"""The confusion matrix as coloured cells, in the manner of `display`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import chosen_methods, readable_on


class ConfusionDisplay(AxesDisplay):
    """Confusion matrix: one row per true class, one column per predicted one.

    Each cell holds the fraction of its row and, smaller, the number; the recalls are on the
    diagonal. The cells of a class without true pixels are left blank.

    Args:
        matrix: What `PixelScores.confusion_matrix` returns, or such a table of other classes.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        mesh_: The coloured cells.
        colorbar_: The colour bar.
    """

    size_inches = (4.8, 3.8)
    colour_map = "Blues"

    def __init__(self, matrix: pd.DataFrame):
        self.matrix = matrix

    def _plot(self, methods: Sequence[str] | None) -> None:
        import matplotlib as mpl

        chosen_methods(methods, ())  # there are none to choose from
        number = self.matrix.to_numpy()
        total = number.sum(axis=1, keepdims=True)
        share = np.where(total > 0, number / np.maximum(total, 1), np.nan)
        colour_map = mpl.colormaps[self.colour_map]
        edges = (np.arange(n + 1) - 0.5 for n in number.T.shape)
        self.mesh_ = self.ax_.pcolormesh(
            *edges, np.ma.masked_invalid(share), cmap=colour_map, vmin=0, vmax=1,
            edgecolor="white", linewidth=0.8,
        )  # fmt: skip
        for row, column in np.argwhere(np.isfinite(share)):
            colour = readable_on(colour_map(share[row, column]))
            for text, size, offset, place in (
                (f"{share[row, column]:.3f}", "medium", -1.5, "bottom"),
                (f"{number[row, column]:,}", "x-small", -3, "top"),
            ):
                self.ax_.annotate(
                    text, (column, row), xytext=(0, offset), textcoords="offset points",
                    ha="center", va=place, fontsize=size, color=colour,
                )  # fmt: skip
        self.ax_.set_xticks(range(number.shape[1]), self.matrix.columns)
        self.ax_.set_yticks(range(number.shape[0]), self.matrix.index)
        self.ax_.set(xlabel="Most probable class", ylabel="True class")
        self.ax_.set_ylim(number.shape[0] - 0.5, -0.5)  # read from the top, as the table is
        self.ax_.tick_params(length=0)
        self.ax_.spines[:].set_visible(False)
        self.colorbar_ = self.figure_.colorbar(
            self.mesh_, ax=self.ax_, label="Fraction of the true class"
        )
        self.colorbar_.outline.set_visible(False)
