"""What all plots and tables share: colours and markers of methods, names of bins, empty figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.quantities import CEILING
from btk_punet.figures import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# How points with error bars look.
POINTS: dict[str, Any] = {"markersize": 5, "linewidth": 1.2, "elinewidth": 1.0, "capsize": 2}
# One more than there are colours, so that the pairs repeat only after 42 methods.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return the colour of each method of a comparison, by its place among all of them."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(methods)}


def method_markers(methods: Sequence[str]) -> dict[str, str]:
    """Return the marker of each method of a comparison, by its place among all of them."""
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(methods)}


def method_styles(
    known: Sequence[str], methods: Sequence[str] | None, everyone: Sequence[str] = ()
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return the methods to draw, and the colour and the marker of each.

    Args:
        known: Names of the methods that can be drawn.
        methods: Names of those that are wanted; all if None.
        everyone: Names of all methods of the comparison, if there are others, whose colours come
            first.

    Raises:
        InputError: if one that is wanted is not known.
    """
    everyone = list(dict.fromkeys([*everyone, *known]))
    colours, markers = method_colours(everyone), method_markers(everyone)
    drawn = chosen_methods(methods, known)
    return drawn, {name: {"color": colours[name], "marker": markers[name]} for name in drawn}


def plain_label(name: str) -> str:
    """Return a name such that matplotlib writes it as it is, and takes no ``$`` for mathtext."""
    return str(name).replace("$", r"\$")


def methods_of(table: pd.DataFrame) -> list[str]:
    """Return the names of the methods of a table in its order, without the information ceiling."""
    return [name for name in dict.fromkeys(table["method"]) if name != CEILING]


def without_unknown_ceiling(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the information ceiling if that was not computed (its n are 0)."""
    of_ceiling = table["method"] == CEILING
    return table if table.loc[of_ceiling, "n"].any() else table[~of_ceiling]


def some_bins(table: pd.DataFrame) -> pd.DataFrame:
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


def rows_by_method(table: pd.DataFrame, bins: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each method, one per bin; NaN where the method has no row for it."""
    index = pd.MultiIndex.from_frame(bins)
    return {
        name: rows.set_index(["lo", "hi"]).reindex(index)
        for name, rows in table.groupby("method", sort=False)
    }


def all_bins(table: pd.DataFrame) -> pd.DataFrame:
    """Return edges of the bins of all methods, in order."""
    return table[["lo", "hi"]].drop_duplicates().sort_values(["lo", "hi"])


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


def error_lengths(rows: pd.DataFrame, quantity: str = "value") -> np.ndarray:
    """Return the lengths of the error bars below and above the values of a table, shape (2, n).

    Args:
        rows: With columns ``<quantity>``, ``<quantity>_lo`` and ``<quantity>_hi``.
        quantity: What the values are of.
    """
    value, low, high = (
        rows[name].to_numpy(float) for name in (quantity, f"{quantity}_lo", f"{quantity}_hi")
    )
    # The ends may miss the value by rounding, and error bars must not be negative.
    return np.maximum(np.stack([value - low, high - value]), 0.0)


def set_bin_ticks(ax: Axes, bins: pd.DataFrame, by: str) -> None:
    """Name the bins, ``lo`` and ``hi`` of each row, below places 0, 1, 2, ... of an axis."""
    edges = bins[["lo", "hi"]].to_numpy(float)
    decimals = decimals_of(edges.ravel()) if by == "magnitude" else None
    names = [bin_label(low, high, decimals) for low, high in edges]
    ax.set_xticks(np.arange(len(bins)), names, rotation=40, ha="right", rotation_mode="anchor")


def draw_legend(ax: Axes, handles: Mapping[str, Any]) -> Any:
    """Draw a legend that hides no data: beside the axes if their figure makes room for it.

    Args:
        ax: The axes.
        handles: What is drawn, by its name.

    Returns:
        The legend; None if there is nothing to name.
    """
    if not handles:
        return None
    beside: dict[str, Any] = {}
    # In a figure without a layout it would be cut off.
    if ax.figure.get_layout_engine() is not None:
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    return ax.legend(handles.values(), map(plain_label, handles), **beside)


def decimals_of(edges: Iterable[float]) -> int:
    """Return how many decimals, one or more, tell the finite edges of bins exactly."""
    finite = np.array([edge for edge in edges if np.isfinite(edge)])
    return next(d for d in range(1, 10) if d == 9 or np.allclose(finite, finite.round(d), 0, 1e-9))


def chosen_methods(methods: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Return the known methods that are wanted, in the order of the known ones; all if None.

    Raises:
        InputError: if one that is wanted is not known.
    """
    unknown = [name for name in methods or [] if name not in known]
    if unknown:
        raise InputError(f"methods must be among {list(known)}, got {unknown}.")
    return [name for name in known if methods is None or name in methods]


def panel_grid(n_panels: int, n_columns: int = 3) -> tuple[int, int]:
    """Return the numbers of rows and columns of a grid of panels."""
    n_columns = min(n_columns, max(n_panels, 1))
    return max(-(-n_panels // n_columns), 1), n_columns


def panel_axes(
    figure: Figure | SubFigure, names: Sequence[Any], n_columns: int = 3, **shared: Any
) -> dict[Any, Axes]:
    """Return the axes of a new grid of panels by their names; places that are left over are hidden.

    Of panels that share their x, the lowest of each column have tick labels.

    Args:
        figure: What is drawn in.
        names: One for each panel.
        n_columns: Number of columns at most.
        shared: ``sharex``, ``sharey``, as for matplotlib.
    """
    n_rows, n_columns = panel_grid(len(names), n_columns)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, **shared)
    for i, ax in enumerate(grid.flat):
        ax.set_visible(i < len(names))
        if shared.get("sharex"):
            ax.tick_params(axis="x", labelbottom=i + n_columns >= len(names))
    return dict(zip(names, grid.flat, strict=False))


def readable_on(rgba: tuple[float, ...]) -> str:
    """Return black or white, whichever can be read on a colour (luminance of Rec. 709)."""
    return "black" if np.dot(rgba[:3], (0.2126, 0.7152, 0.0722)) > 0.5 else "white"
