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
from btk_punet.evaluation.summary import CEILING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Okabe and Ito (2008), told apart with any colour vision; without its yellow, too pale for lines
# on white, and its black, which is the ceiling's.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# One more than there are colours, so that the pairs repeat only after 42 methods.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Quantity -> what the axis of a plot is called.
COMPLETENESS_LABELS = {
    "magnitude": r"True magnitude $I_\mathrm{E}$",
    "neighbour_distance_arcsec": "Distance to nearest neighbour [arcsec]",
    "size_arcsec": "Half-light radius [arcsec]",
    "alone_snr": "Signal-to-noise ratio if it were alone",
    "limit_snr": "Signal-to-noise ratio among unknown neighbours (information limit)",
    "blendedness": "Blendedness",
}
PURITY_LABELS = {
    "magnitude": r"Aperture magnitude $I_\mathrm{E}$ (radius 0.5 arcsec)",
    "neighbour_distance_arcsec": "Distance to nearest other detection [arcsec]",
}

# A matrix with more cells than this in a row has no numbers in its cells: nobody could read them.
MAX_ANNOTATED = 13
_GREY = "0.4"


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return the colour of each method of a comparison, by its place among all of them."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(methods)}


def method_markers(methods: Sequence[str]) -> dict[str, str]:
    """Return the marker of each method of a comparison, by its place among all of them."""
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(methods)}


def methods_of(table: pd.DataFrame) -> list[str]:
    """Return the names of the methods of a table in its order, without the information ceiling."""
    return [name for name in dict.fromkeys(table["method"]) if name != CEILING]


def bin_label(low: float, high: float, decimals: int | None = None) -> str:
    """Return how a bin is written: ``22.0–22.5``, ``> 2``, ``< 18`` or ``flux ≤ 0``.

    Args:
        low: Lower edge; infinite, as is `high`, for detections without a positive flux.
        high: Upper edge.
        decimals: Number of decimals; as many as needed if None.
    """
    if np.isposinf(low):
        return "flux ≤ 0"
    text = [f"{edge:g}" if decimals is None else f"{edge:.{decimals}f}" for edge in (low, high)]
    if np.isinf(high):
        return f"> {text[0]}"
    return f"< {text[1]}" if np.isinf(low) else f"{text[0]}–{text[1]}"


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
        everyone = methods_of(table)
        drawn = _chosen(methods, everyone)
        colours, markers = method_colours(everyone), method_markers(everyone)
        bins = _some_bins(table[table["method"] != CEILING])
        rows = {
            name: part.set_index(["lo", "hi"]).reindex(pd.MultiIndex.from_frame(bins))
            for name, part in table.groupby("method", sort=False)
        }
        self.ax_ = _new_axes(self.size_inches) if ax is None else ax
        self.figure_ = self.ax_.figure
        left, right = self._draw_bins(bins, labels[self.by])
        dark = np.isposinf(bins["lo"].to_numpy())

        # Side by side within the bin, so that intervals of equal values can all be seen.
        step = min(0.13, 0.6 / max(len(drawn), 1))
        self.errorbars_: dict[str, Any] = {}
        for i, name in enumerate(drawn):
            x = (left + right) / 2 + (i - (len(drawn) - 1) / 2) * step * (right - left)
            value = rows[name]["value"].to_numpy()
            # The ends may miss the value by rounding, and error bars must not be negative.
            below = np.maximum(value - rows[name]["value_lo"].to_numpy(), 0.0)
            above = np.maximum(rows[name]["value_hi"].to_numpy() - value, 0.0)
            style: dict[str, Any] = {
                "color": colours[name], "marker": markers[name],
                "markersize": 5, "linewidth": 1.2, "elinewidth": 1.0, "capsize": 2,
            }  # fmt: skip
            for part, extra in ((~dark, {"label": name}), (dark, {"linestyle": "none"})):
                if part.any():
                    bars = self.ax_.errorbar(
                        x[part], value[part], [below[part], above[part]], **style, **extra
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
        if self.by == "magnitude" and np.isfinite([low[~dark], high[~dark]]).all() and any(~dark):
            # Detections without a positive flux have no magnitude: a place of their own, apart.
            width = (high[~dark] - low[~dark]).max()
            left = np.where(dark, high[~dark].max() + 1.5 * width, low)
            right = np.where(dark, left + width, high)
            ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(left.min(), high[~dark].max())
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
        n_rows, n_columns = _grid(n_panels)
        names = self._ticks()
        width = np.clip(len(names[0]) * self.cell_inches[0], 2.2, 5.5)
        height = np.clip(len(names[1]) * self.cell_inches[1], 2.0, 5.5)
        return float(n_columns * (width + 0.2) + 1.9), float(n_rows * (height + 0.4) + 0.7)

    def _plot(self, figure: Figure | SubFigure | None, methods: Sequence[str] | None) -> None:
        import matplotlib as mpl

        drawn = _chosen(methods, methods_of(self.table))
        x_names, y_names = self._ticks()
        self.figure_ = _new_figure(self._size(len(drawn))) if figure is None else figure
        n_rows, n_columns = _grid(len(drawn))
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
                colour = _readable_on(colour_map(value[y, x]))
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
        magnitudes, distances = self._cells()
        return (
            [bin_label(*edges) for edges in distances.itertuples(index=False)],
            [bin_label(*edges, decimals=1) for edges in magnitudes.itertuples(index=False)],
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


class SceneDisplay:
    """A blend, its true sources, and what each method found in it.

    The image is shown as ``arcsinh(image / (3 sigma))``, bright sources dark. A circle, of the
    matching radius, is a true source that counts: in full where all methods drawn found it,
    dashed where some did, dotted where none did. Dots are sources that do not count (too faint,
    or at the edge). The coloured markers are detections.

    Args:
        image: Blend image of one band, shape (H, W).
        truth: Rows of the scene of the truth table, all methods.
        detections: Rows of the scene of the detection table, all methods.
        sigma: Noise of the background, in the unit of `image`.
        methods: Names of all methods of the comparison, which settle the colours; those of
            `truth` if None.
        radius_pixels: Matching radius [pixel].

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        image_: The image drawn.
        sources_: The circles, by source number.
        detections_: Markers of each method, by its name.
    """

    def __init__(
        self,
        image: np.ndarray,
        truth: pd.DataFrame,
        detections: pd.DataFrame,
        sigma: float,
        methods: Sequence[str] | None = None,
        radius_pixels: float = 3.0,
    ):
        self.image = image
        self.truth = truth
        self.detections = detections
        self.sigma = sigma
        self.methods = methods
        self.radius_pixels = radius_pixels

    @classmethod
    def from_tables(
        cls,
        image: np.ndarray,
        truth: pd.DataFrame,
        detections: pd.DataFrame,
        sigma: float,
        scene: int,
        radius_pixels: float = 3.0,
    ) -> SceneDisplay:
        """Make the display of one scene from whole tables; arguments are those of the class."""
        return cls(
            image,
            truth[truth["scene"] == scene],
            detections[detections["scene"] == scene],
            sigma,
            methods_of(truth),
            radius_pixels,
        )

    def plot(
        self,
        ax: Axes | None = None,
        methods: Sequence[str] | None = None,
        legend: bool = True,
    ) -> SceneDisplay:
        """Draw the scene.

        Args:
            ax: Axes to draw in; a new figure if None.
            methods: Names of the methods to draw; all if None.
            legend: Whether to explain the symbols below the image.

        Returns:
            The display itself.
        """
        from matplotlib.patches import Circle

        everyone = list(methods_of(self.truth) if self.methods is None else self.methods)
        drawn = _chosen(methods, everyone)
        colours, markers = method_colours(everyone), _scene_markers(everyone)
        self.ax_ = _new_axes(self.size_inches) if ax is None else ax
        self.figure_ = self.ax_.figure
        stretched = np.arcsinh(np.ma.masked_invalid(self.image) / (3 * self.sigma))
        # From below the noise to the brightest pixel, or to 15 sigma where all are faint; no
        # pixel is quite black, so that circles can be seen on each.
        brightest = max(float(np.ma.filled(stretched.max(), 0.0)), np.arcsinh(5.0))
        self.image_ = self.ax_.imshow(
            stretched, cmap="gray_r", origin="lower", vmin=-0.6, vmax=1.4 * brightest
        )
        self.sources_: dict[int, Any] = {}
        for number, rows in self.truth[self.truth["method"].isin(drawn)].groupby("source"):
            place = float(rows["x"].iloc[0]), float(rows["y"].iloc[0])
            if rows["counts"].iloc[0]:
                style = _CIRCLES[_found_by(rows["matched"].to_numpy(bool))]
                circle = Circle(place, self.radius_pixels, fill=False, edgecolor="black", **style)
                self.sources_[int(number)] = self.ax_.add_patch(circle)
            else:
                self.ax_.plot(*place, ".", color="black", markersize=3)
        self.detections_: dict[str, Any] = {}
        for name in drawn:
            rows = self.detections[self.detections["method"] == name]
            (self.detections_[name],) = self.ax_.plot(
                rows["x"].to_numpy(float), rows["y"].to_numpy(float),
                linestyle="none", color=colours[name], **markers[name],
            )  # fmt: skip
        height, width = np.shape(self.image)
        self.ax_.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
        self.ax_.set(xlabel="x [pixel]", ylabel="y [pixel]")
        if legend:
            self.ax_.legend(
                handles=self._legend_handles(drawn), loc="upper center",
                bbox_to_anchor=(0.5, 0), borderaxespad=4.5, **_SCENE_LEGEND,
            )  # fmt: skip
        return self

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure [inch]: large enough to tell markers apart."""
        height, width = np.shape(self.image)
        scale = np.clip(width / 30, 5.5, 9.0) / width
        return float(width * scale), float(height * scale + 0.5)

    def _legend_handles(self, drawn: Sequence[str]) -> list[Any]:
        from matplotlib.lines import Line2D

        everyone = list(methods_of(self.truth) if self.methods is None else self.methods)
        colours, markers = method_colours(everyone), _scene_markers(everyone)
        names = (
            {"all": "source found", "none": "source missed"}
            if len(drawn) == 1
            else {"all": "found by all", "some": "found by some", "none": "found by none"}
        )
        handles = [
            Line2D([], [], color="black", label=label, **_CIRCLES[key])
            for key, label in names.items()
        ]
        handles.append(
            Line2D([], [], color="black", marker=".", markersize=3, linestyle="none",
                   label="does not count")
        )  # fmt: skip
        return handles + [
            Line2D([], [], linestyle="none", color=colours[n], label=n, **markers[n]) for n in drawn
        ]


def gallery(
    displays: Sequence[SceneDisplay],
    titles: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    n_columns: int = 3,
    figure: Figure | None = None,
) -> Figure:
    """Draw several scenes side by side, with one legend.

    Args:
        displays: The scenes, one or more.
        titles: A title a scene.
        methods: Names of the methods to draw; all if None.
        n_columns: Number of scenes in a row.
        figure: Empty figure to draw in; a new one if None.

    Returns:
        The figure.

    Raises:
        InputError: without a scene, or if there is not one title a scene.
    """
    if not displays:
        raise InputError("gallery needs one scene or more, got none.")
    if titles is not None and len(titles) != len(displays):
        raise InputError(f"Expected {len(displays)} titles, one a scene, got {len(titles)}.")
    n_rows, n_columns = _grid(len(displays), n_columns)
    if figure is None:
        figure = _new_figure((3.1 * n_columns, 3.2 * n_rows + 0.9))
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in grid.flat[len(displays) :]:
        ax.set_visible(False)
    for i, (display, ax) in enumerate(zip(displays, grid.flat, strict=False)):
        display.plot(ax, methods, legend=False)
        ax.label_outer()
        if titles is not None:
            ax.set_title(titles[i], fontsize="medium")
    drawn = list(displays[0].detections_)
    figure.legend(
        handles=displays[0]._legend_handles(drawn), loc="outside lower center", **_SCENE_LEGEND
    )
    return figure


_CIRCLES: dict[str, dict[str, Any]] = {
    "all": {"linestyle": "-", "linewidth": 1.0},
    "some": {"linestyle": "--", "linewidth": 1.2},
    "none": {"linestyle": ":", "linewidth": 1.6},
}
_SCENE_LEGEND: dict[str, Any] = {"ncols": 4, "fontsize": "small", "frameon": False}


def _found_by(matched: np.ndarray) -> str:
    if matched.all():
        return "all"
    return "some" if matched.any() else "none"


def _scene_markers(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return open markers that grow from method to method, so that they can lie on each other."""
    return {
        name: {"marker": marker, "markersize": 4 + 2 * (i % 4), "fillstyle": "none",
               "markeredgewidth": 1.3}
        for i, (name, marker) in enumerate(method_markers(methods).items())
    }  # fmt: skip


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


def _chosen(methods: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    unknown = [name for name in methods or [] if name not in known]
    if unknown:
        raise InputError(f"methods must be among {list(known)}, got {unknown}.")
    return [name for name in known if methods is None or name in methods]


def _grid(n_panels: int, n_columns: int = 3) -> tuple[int, int]:
    n_columns = min(n_columns, max(n_panels, 1))
    return max(-(-n_panels // n_columns), 1), n_columns


def _readable_on(rgba: tuple[float, ...]) -> str:
    """Return black or white, whichever can be read on a colour (luminance of Rec. 709)."""
    return "black" if np.dot(rgba[:3], (0.2126, 0.7152, 0.0722)) > 0.5 else "white"


def _new_figure(size_inches: tuple[float, float]) -> Figure:
    # Through pyplot, because a plot without axes of the caller's is one that is to be looked at.
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size_inches, layout="constrained")


def _new_axes(size_inches: tuple[float, float]) -> Axes:
    return _new_figure(size_inches).add_subplot()
