"""Plots of the tables of a comparison, as objects that a paper's author can restyle.

The manner is scikit-learn's: a display holds numbers that are computed already, `plot` draws them
and returns the display, whose ``figure_`` and ``ax_`` (or ``axes_``) are ordinary matplotlib
objects. Matplotlib is loaded when something is drawn, its settings are left as they are, and a
method has the same colour and marker in every plot of a comparison, whichever of them are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.metrics import COMPLETENESS_BY, PURITY_BY
from btk_punet.evaluation.style import (
    bin_label,
    chosen_methods,
    decimals_of,
    error_lengths,
    method_colours,
    method_markers,
    methods_of,
    panel_grid,
    readable_on,
    without_unknown_ceiling,
)
from btk_punet.evaluation.summary import CEILING
from btk_punet.figures import new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Quantity -> what the axis of a plot is called.
COMPLETENESS_LABELS = {
    "magnitude": "True magnitude [AB mag]",
    "neighbour_distance_arcsec": "Distance to nearest neighbour [arcsec]",
    "size_arcsec": "Half-light radius [arcsec]",
    "alone_snr": "Signal-to-noise ratio if it were alone",
    "limit_snr": "Signal-to-noise ratio among unknown neighbours (information limit)",
    "blendedness": "Blendedness",
}

PURITY_LABELS = {
    "magnitude": "Magnitude in an aperture of 0.5 arcsec radius [AB mag]",
    "neighbour_distance_arcsec": "Distance to nearest other detection [arcsec]",
}

# A matrix with more cells than this in a row has no numbers in its cells: nobody could read them.
MAX_ANNOTATED = 13

_GREY = "0.4"


class FractionDisplay:
    """Completeness or purity in bins of one quantity: a line a method, with 68% intervals.

    Args:
        table: ``completeness_by_*`` or ``purity_by_*`` of `summary_tables`, or what the
            ``aggregate()`` of `Completeness` or `Purity` returns.
        quantity: ``"completeness"`` or ``"purity"``.
        by: What the table is binned by, a column of the truth table such as ``"magnitude"``.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        errorbars_: Matplotlib's container of each method's points and error bars, by its name.
        ceiling_: The dashed steps of the information ceiling, or None.
        legend_: The legend, or None.

    Magnitudes are drawn to scale. The bins of other quantities are of unequal width and may end
    in infinity; they stand side by side, each with its range below it.

    Example:
        >>> display = FractionDisplay(tables["purity_by_magnitude"], "purity", "magnitude")
        >>> display.plot().ax_.set_title("groups")  # doctest: +SKIP
    """

    size_inches = (6.4, 4.4)

    def __init__(self, table: pd.DataFrame, quantity: str, by: str):
        self.table = table
        self.quantity = quantity
        self.by = by

    def plot(self, ax: Axes | None = None, methods: Sequence[str] | None = None) -> FractionDisplay:
        """Draw the lines.

        Args:
            ax: Axes to draw in; a new figure if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a quantity or method that is not known.
        """
        labels = self._labels()
        table = self.table
        if "method" not in table:
            table = table.assign(method="")
        table = without_unknown_ceiling(table)
        everyone = methods_of(table)
        drawn = chosen_methods(methods, everyone)
        colours, markers = method_colours(everyone), method_markers(everyone)
        bins = _some_bins(table[table["method"] != CEILING])
        rows = {
            name: part.set_index(["lo", "hi"]).reindex(pd.MultiIndex.from_frame(bins))
            for name, part in table.groupby("method", sort=False)
        }
        self.ax_ = new_axes(self.size_inches) if ax is None else ax
        self.figure_ = self.ax_.figure
        left, right = self._draw_bins(bins, labels[self.by])
        dark = np.isposinf(bins["lo"].to_numpy())

        # Side by side within the bin, so that intervals of equal values can all be seen.
        step = min(0.13, 0.6 / max(len(drawn), 1))
        self.errorbars_: dict[str, Any] = {}
        for i, name in enumerate(drawn):
            x = (left + right) / 2 + (i - (len(drawn) - 1) / 2) * step * (right - left)
            value = rows[name]["value"].to_numpy()
            lengths = error_lengths(rows[name])
            style: dict[str, Any] = {
                "color": colours[name], "marker": markers[name],
                "markersize": 5, "linewidth": 1.2, "elinewidth": 1.0, "capsize": 2,
            }  # fmt: skip
            # No line leads to the detections that have no magnitude.
            for part, line in ((~dark, "-"), (dark, "none")):
                if part.any():
                    bars = self.ax_.errorbar(
                        x[part],
                        value[part],
                        lengths[:, part],
                        linestyle=line,
                        **style,
                    )
                    self.errorbars_.setdefault(name, bars)
        self.ceiling_ = None
        if CEILING in rows:
            self.ceiling_ = self.ax_.stairs(
                rows[CEILING]["value"].to_numpy(), np.append(left, right[-1:]), baseline=None,
                color="black", linestyle="--", linewidth=1.2, label=CEILING,
            )  # fmt: skip
        self._draw_numbers((left + right) / 2, {name: rows[name]["n"] for name in drawn})
        lowest = np.nanmin([1.0, *(rows[name]["value"].min() for name in drawn)])
        bottom = 0.5 if self.quantity == "purity" and lowest >= 0.5 else 0.0
        self.ax_.set_ylim(bottom - 0.02, 1.02)
        self.ax_.set_ylabel(self.quantity.capitalize())
        handles = {name: bars for name, bars in self.errorbars_.items() if name}
        if self.ceiling_ is not None:
            handles[CEILING] = self.ceiling_
        self.legend_ = self.ax_.legend(handles.values(), handles.keys()) if handles else None
        return self

    def _labels(self) -> dict[str, str]:
        known = {
            "completeness": {by: COMPLETENESS_LABELS[by] for by in COMPLETENESS_BY},
            "purity": {by: PURITY_LABELS[by] for by in PURITY_BY},
        }
        if self.quantity not in known:
            raise InputError(f"quantity must be one of {list(known)}, got {self.quantity!r}.")
        if self.by not in known[self.quantity]:
            raise InputError(
                f"by must be one of {list(known[self.quantity])} for {self.quantity}, "
                f"got {self.by!r}."
            )
        return known[self.quantity]

    def _draw_bins(self, bins: pd.DataFrame, label: str) -> tuple[np.ndarray, np.ndarray]:
        """Lay the bins out along the axis; return where each begins and ends."""
        from matplotlib.ticker import MaxNLocator

        low, high = bins["lo"].to_numpy(float), bins["hi"].to_numpy(float)
        dark = np.isposinf(low)
        closed = np.isfinite(low) & np.isfinite(high)
        if self.by == "magnitude" and closed.any():
            # All that is brighter, or fainter, is drawn as one more bin.
            width = (high[closed] - low[closed]).max()
            low = np.where(np.isneginf(low), high - width, low)
            high = np.where(np.isposinf(high) & ~dark, low + width, high)
        if self.by == "magnitude" and np.isfinite([low[~dark], high[~dark]]).all() and any(~dark):
            # Detections without a positive flux have no magnitude: a place of their own, apart.
            width = (high[~dark] - low[~dark]).max()
            left = np.where(dark, high[~dark].max() + 1.5 * width, low)
            right = np.where(dark, left + width, high)
            locator = MaxNLocator(8, steps=[1, 2, 5, 10])
            ticks = np.asarray(locator.tick_values(left.min(), high[~dark].max()))
            ticks = ticks[(ticks >= left.min()) & (ticks <= high[~dark].max())]
            names = [f"{tick:g}" for tick in ticks]
            if dark.any():
                ticks = np.append(ticks, (left + right)[dark] / 2)
                names.append(bin_label(np.inf, np.inf))
            self.ax_.set_xticks(ticks, names)
        else:
            left = np.arange(len(bins), dtype=float) - 0.5
            right = left + 1
            names = [bin_label(*edges) for edges in zip(low, high, strict=True)]
            crowded = len(names) * (max(map(len, names), default=0) + 1) > 70
            turn: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
            self.ax_.set_xticks((left + right) / 2, names, **(turn if crowded else {}))
        if len(bins):
            margin = 0.3 * (right - left)[0]
            self.ax_.set_xlim(left[0] - margin, right[-1] + margin)
        self.ax_.set_xlabel(label)
        return left, right

    def _draw_numbers(self, centres: np.ndarray, numbers: dict[str, pd.Series]) -> None:
        """Write above the axes how many sources or detections each bin holds."""
        if not numbers:
            return
        counts = {name: n.fillna(0).to_numpy(int) for name, n in numbers.items()}
        same = all((n == next(iter(counts.values()))).all() for n in counts.values())
        lines = {"": next(iter(counts.values()))} if same else counts
        if len(lines) > 4:
            return
        size = "x-small" if len(centres) <= 14 else "xx-small"
        # Tick labels of an axis on top, because titles know how to stay clear of those.
        top = self.ax_.secondary_xaxis("top")
        top.set_xticks(centres, ["\n".join(str(n[i]) for n in lines.values())
                                 for i in range(len(centres))])  # fmt: skip
        top.tick_params(length=0, pad=2, labelsize=size, labelcolor=_GREY)
        top.spines["top"].set_visible(False)
        self.ax_.annotate(
            "\n".join(f"N {name}".strip() for name in lines), (0, 1), xytext=(-3, 2),
            xycoords="axes fraction", textcoords="offset points",
            ha="right", va="bottom", fontsize=size, color=_GREY,
        )  # fmt: skip


class _MatrixDisplay:
    """Panels of coloured, annotated cells, one a method, with one colour bar."""

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
        return self._size(len(methods_of(self.table)))

    def _size(self, n_panels: int) -> tuple[float, float]:
        n_rows, n_columns = panel_grid(n_panels)
        names = self._ticks()
        width = np.clip(len(names[0]) * self.cell_inches[0], 2.2, 5.5)
        height = np.clip(len(names[1]) * self.cell_inches[1], 2.0, 5.5)
        return float(n_columns * (width + 0.2) + 1.9), float(n_rows * (height + 0.4) + 0.7)

    def _plot(self, figure: Figure | SubFigure | None, methods: Sequence[str] | None) -> None:
        import matplotlib as mpl

        drawn = chosen_methods(methods, methods_of(self.table))
        x_names, y_names = self._ticks()
        self.figure_ = new_figure(self._size(len(drawn))) if figure is None else figure
        n_rows, n_columns = panel_grid(len(drawn))
        grid = self.figure_.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for ax in grid.flat[len(drawn) :]:
            ax.set_visible(False)
        self.axes_ = dict(zip(drawn, grid.flat, strict=False))
        self.meshes_: dict[str, Any] = {}
        colour_map = mpl.colormaps[self.colour_map]
        annotated = max(len(x_names), len(y_names)) <= MAX_ANNOTATED
        for i, (name, ax) in enumerate(self.axes_.items()):
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
            ax.tick_params(length=0, labelbottom=i + n_columns >= len(drawn))
            ax.set_title(name, fontsize="medium")
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
    """Completeness in magnitude and neighbour distance at once, a panel a method.

    Each cell holds the completeness and, smaller, the number of true sources; cells without any
    are hatched.

    Args:
        table: ``efficiency`` of `summary_tables`.

    Attributes:
        figure_: The figure drawn in.
        axes_, meshes_: Axes and coloured cells of each method, by its name.
        colorbar_: The one colour bar.
    """

    labels = (
        COMPLETENESS_LABELS["neighbour_distance_arcsec"],
        COMPLETENESS_LABELS["magnitude"],
        "Completeness",
    )

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> EfficiencyDisplay:
        """Draw the panels.

        Args:
            figure: Empty figure, or part of one, to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.
        """
        self._plot(figure, methods)
        for ax in self.axes_.values():
            ax.set_ylim(len(self._ticks()[1]) - 0.5, -0.5)  # bright on top
        return self

    def _cells(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        magnitudes = self.table.rename(columns={"lo": "_", "hi": "__"})
        magnitudes = magnitudes.rename(columns={"magnitude_lo": "lo", "magnitude_hi": "hi"})
        return _some_bins(magnitudes), _some_bins(self.table)

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
        table: ``count_matrix`` of `summary_tables`.

    Attributes:
        figure_: The figure drawn in.
        axes_, meshes_: Axes and coloured cells of each method, by its name.
        colorbar_: The one colour bar.
    """

    cell_inches = (0.42, 0.38)
    colour_map = "Blues"
    hatch = None
    labels = ("True sources in the scene", "Of them found", "Fraction of the scenes")

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> CountMatrixDisplay:
        """Draw the panels.

        Args:
            figure: Empty figure, or part of one, to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.
        """
        from matplotlib.patches import Rectangle

        self._plot(figure, methods)
        (first, last), (lowest, highest) = self._ranges()
        for ax in self.axes_.values():
            for n in range(max(first, lowest), min(last, highest) + 1):
                corner = (n - first - 0.5, n - lowest - 0.5)
                ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=0.8))
        return self

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


def _some_bins(table: pd.DataFrame) -> pd.DataFrame:
    """Return edges of the bins, but for those at either end in which no method has entries."""
    bins = table.groupby(["lo", "hi"], as_index=False)["n"].sum().sort_values(["lo", "hi"])
    (some,) = np.nonzero(bins["n"].to_numpy())
    if len(some):
        bins = bins.iloc[some[0] : some[-1] + 1]
        # The end before the detections without a magnitude is an end, too.
        finite = bins[np.isfinite(bins["lo"]) | np.isneginf(bins["lo"])]
        last = finite.loc[finite["n"] > 0, "lo"].max()
        bins = bins[(bins["lo"] <= last) | np.isposinf(bins["lo"])]
    return bins[["lo", "hi"]].reset_index(drop=True)
