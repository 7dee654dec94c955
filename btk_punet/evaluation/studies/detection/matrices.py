"""Completeness in two dimensions, and numbers of sources found: coloured cells, a panel each."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.style import (
    bin_label,
    chosen_methods,
    decimals_of,
    methods_of,
    panel_axes,
    panel_grid,
    plain_label,
    readable_on,
    some_bins,
)
from btk_punet.evaluation.quantities import OF_SOURCES

# A matrix with more cells than this in a row has no numbers in its cells: nobody could read them.
MAX_ANNOTATED = 13
# Names with more letters are broken, so that they do not run into the next panel's.
MAX_TITLE = 26


class _MatrixDisplay(PanelsDisplay):
    """Panels of coloured, annotated cells, one per method, with one colour bar."""

    cell_inches = (0.55, 0.38)
    colour_map = "viridis"
    hatch: str | None = "////"
    labels = ("x", "y", "colour")

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def _matrix(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return value and number of each cell, NaN and 0 where it is empty."""
        raise NotImplementedError

    def _ticks(self) -> tuple[list[str], list[str]]:
        raise NotImplementedError

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all methods [inch]."""
        return self._size_of(None)

    def _size_of(self, methods: Sequence[str] | None) -> tuple[float, float]:
        n_rows, n_columns = panel_grid(len(chosen_methods(methods, methods_of(self.table))))
        names = self._ticks()
        width = np.clip(len(names[0]) * self.cell_inches[0], 2.2, 5.5)
        height = np.clip(len(names[1]) * self.cell_inches[1], 2.0, 5.5)
        return float(n_columns * (width + 0.2) + 1.9), float(n_rows * (height + 0.4) + 0.7)

    def _plot(self, methods: Sequence[str] | None) -> None:
        import matplotlib as mpl

        drawn = chosen_methods(methods, methods_of(self.table))
        x_names, y_names = self._ticks()
        self.axes_ = panel_axes(self.figure_, drawn, sharex=True, sharey=True)
        self.meshes_: dict[str, Any] = {}
        colour_map = mpl.colormaps[self.colour_map]
        annotated = max(len(x_names), len(y_names)) <= MAX_ANNOTATED
        for name, ax in self.axes_.items():
            value, number = self._matrix(self.table[self.table["method"] == name])
            ax.patch.set(facecolor="0.97", edgecolor="0.85", hatch=self.hatch, linewidth=0)
            edges = (np.arange(n + 1) - 0.5 for n in value.T.shape)
            self.meshes_[name] = ax.pcolormesh(
                *edges, np.ma.masked_invalid(value), cmap=colour_map, vmin=0, vmax=1,
                edgecolor="white", linewidth=0.8 if annotated else 0.2,
            )  # fmt: skip
            for y, x in np.argwhere(np.isfinite(value)) if annotated else []:
                colour = readable_on(colour_map(value[y, x]))
                text: dict[str, Any] = {"ha": "center", "color": colour, "xy": (x, y)}
                text["textcoords"] = "offset points"
                ax.annotate(f"{value[y, x]:.2f}", va="bottom", xytext=(0, -1.5), fontsize="x-small",
                            **text)  # fmt: skip
                ax.annotate(str(number[y, x]), va="top", xytext=(0, -3), fontsize=6, **text)
            step = 1 if annotated else -(-len(x_names) // 8)
            ax.set_xticks(np.arange(len(x_names))[::step], x_names[::step], fontsize="small")
            ax.set_yticks(np.arange(len(y_names))[::step], y_names[::step], fontsize="small")
            ax.tick_params(length=0)
            ax.set_title(plain_label(fill(name, MAX_TITLE)), fontsize="medium")
            ax.spines[:].set_visible(False)
        if drawn:
            self.figure_.supxlabel(self.labels[0], fontsize="medium")
            self.figure_.supylabel(self.labels[1], fontsize="medium")
            self.colorbar_ = self.figure_.colorbar(
                next(iter(self.meshes_.values())), ax=list(self.axes_.values()),
                label=self.labels[2], pad=0.02, aspect=30,
            )  # fmt: skip
            self.colorbar_.outline.set_visible(False)


class EfficiencyDisplay(_MatrixDisplay):
    """Completeness in magnitude and neighbour distance at once, one panel per method.

    Each cell holds the completeness and, smaller, the number of true sources; cells without any
    are hatched.

    Args:
        table: ``efficiency`` of a comparison.

    Attributes:
        figure_: The figure drawn in.
        axes_, meshes_: Axes and coloured cells of each method, by its name.
        colorbar_: The one colour bar.
    """

    labels = (
        OF_SOURCES["neighbour_distance_arcsec"].label,
        OF_SOURCES["magnitude"].label,
        "Completeness",
    )

    def _plot(self, methods: Sequence[str] | None) -> None:
        super()._plot(methods)
        for ax in self.axes_.values():
            ax.set_ylim(len(self._ticks()[1]) - 0.5, -0.5)  # bright on top

    def _cells(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        magnitudes = self.table.rename(columns={"lo": "_", "hi": "__"})
        magnitudes = magnitudes.rename(columns={"magnitude_lo": "lo", "magnitude_hi": "hi"})
        return some_bins(magnitudes), some_bins(self.table)

    def _ticks(self) -> tuple[list[str], list[str]]:
        magnitudes, distances = (bins.to_numpy(float) for bins in self._cells())
        decimals = decimals_of(magnitudes.ravel())
        return (
            [bin_label(low, high) for low, high in distances],
            [bin_label(low, high, decimals) for low, high in magnitudes],
        )

    def _matrix(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        magnitudes, distances = (bins["lo"] for bins in self._cells())
        both = [
            rows.pivot(index="magnitude_lo", columns="lo", values=column)
            .reindex(index=magnitudes, columns=distances)
            .to_numpy()
            for column in ("value", "n")
        ]
        return both[0], both[1]


class CountMatrixDisplay(_MatrixDisplay):
    """BTK's efficiency matrix: of the scenes with so many true sources, in how many were k found.

    Each cell holds the fraction of its column and, smaller, the number of scenes; cells without
    any are left blank. On the diagonal, which is outlined, every source was found.

    Args:
        table: ``count_matrix`` of a comparison.

    Attributes:
        figure_: The figure drawn in.
        axes_, meshes_: Axes and coloured cells of each method, by its name.
        colorbar_: The one colour bar.
    """

    cell_inches = (0.42, 0.38)
    colour_map = "Blues"
    hatch = None
    labels = ("True sources in the scene", "Of them found", "Fraction of the scenes")

    def _plot(self, methods: Sequence[str] | None) -> None:
        from matplotlib.patches import Rectangle

        super()._plot(methods)
        (first, last), (lowest, highest) = self._ranges()
        for ax in self.axes_.values():
            for n in range(max(first, lowest), min(last, highest) + 1):
                corner = (n - first - 0.5, n - lowest - 0.5)
                ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=0.8))

    def _ranges(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the first and last number of true and of found sources of any scene."""
        some = self.table[self.table["scenes"] > 0]
        if some.empty:
            return (0, 0), (0, 0)
        true, found = some["n_true"], some["n_matched"]
        return (int(true.min()), int(true.max())), (int(found.min()), int(found.max()))

    def _ticks(self) -> tuple[list[str], list[str]]:
        true, found = ([str(n) for n in range(low, high + 1)] for low, high in self._ranges())
        return true, found

    def _matrix(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        (first, last), (lowest, highest) = self._ranges()
        number, share = (
            rows.pivot(index="n_matched", columns="n_true", values=column)
            .reindex(index=range(lowest, highest + 1), columns=range(first, last + 1))
            .to_numpy(float)
            for column in ("scenes", "fraction")
        )
        number = np.nan_to_num(number).astype(int)
        return np.where(number > 0, share, np.nan), number
